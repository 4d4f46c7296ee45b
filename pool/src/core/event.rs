//! What the ledger is told, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::{ContainerKey, DaemonName, Generation, LaunchId, Policy, ServiceName, State, WaiterId};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A service is to be run.
    ServiceAdded {
        /// Its name.
        service: ServiceName,
        /// How it is run.
        policy: Policy,
    },
    /// A connection wants a container.
    Lease {
        /// Chosen by the caller, ascending, used once.
        waiter: WaiterId,
        /// Of which service.
        service: ServiceName,
        /// When it gives up.
        deadline: Instant,
    },
    /// A connection gave up before it was answered.
    Abandoned {
        /// Which.
        waiter: WaiterId,
    },
    /// A lease ended.
    Returned {
        /// The container that was leased.
        launch: LaunchId,
        /// How it went.
        outcome: Outcome,
    },
    /// A container was created and started.
    Started {
        /// Which.
        launch: LaunchId,
    },
    /// A container proved that it can serve.
    Ready {
        /// Which.
        launch: LaunchId,
    },
    /// A launch failed, or its outcome is unknown.
    LaunchFailed {
        /// Which.
        launch: LaunchId,
        /// Who is to back off.
        fault: Fault,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A container that came back from a lease was checked.
    Checked {
        /// Which.
        launch: LaunchId,
        /// Whether it can serve again.
        fit: bool,
    },
    /// A container's process ended, or someone else removed it.
    Died {
        /// Which.
        launch: LaunchId,
    },
    /// The kernel killed a process of a container for memory.
    OutOfMemory {
        /// Which.
        launch: LaunchId,
    },
    /// A container is gone and stays gone.
    Removed {
        /// The daemon it was on.
        daemon: DaemonName,
        /// Which.
        key: ContainerKey,
    },
    /// A daemon was discovered, or its capacity changed.
    DaemonJoined {
        /// Which.
        daemon: DaemonName,
        /// The most containers it may hold.
        capacity: u32,
    },
    /// Contact with a daemon was made.
    DaemonUp {
        /// Which.
        daemon: DaemonName,
        /// The most launches it may have in flight.
        max_launches: u32,
    },
    /// Contact with a daemon was lost, or never made.
    DaemonDown {
        /// Which.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A daemon is no longer in the fleet: it is drained.
    DaemonLeft {
        /// Which.
        daemon: DaemonName,
    },
    /// A daemon was asked to get ready for a service.
    Prepared {
        /// Which daemon.
        daemon: DaemonName,
        /// Which service.
        service: ServiceName,
        /// Whether it can launch it, or why not.
        result: Result<(), Arc<str>>,
    },
    /// A daemon gave a complete list of this instance's containers.
    Listed {
        /// Which daemon.
        daemon: DaemonName,
        /// When the list was asked for.
        began: Instant,
        /// What it shows.
        owned: Vec<Owned>,
    },
    /// Time went by; see [`super::Ledger::next_deadline`].
    Tick,
    /// No new leases: retire the stock, let the running leases end.
    Drain,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Launch a container. Answered by `Started` and `Ready`, or `LaunchFailed`.
    Launch {
        /// Its id.
        launch: LaunchId,
        /// Where.
        daemon: DaemonName,
        /// Of which service.
        service: ServiceName,
        /// Which version of its spec.
        generation: Generation,
    },
    /// Stop waiting for a launch to get ready. Answered by `LaunchFailed`.
    Interrupt {
        /// Which.
        launch: LaunchId,
    },
    /// Find out whether a container can serve again. Answered by `Checked`.
    Check {
        /// Which.
        launch: LaunchId,
    },
    /// Remove a container, however long it takes. Answered by `Removed`.
    Retire {
        /// The daemon it is on.
        daemon: DaemonName,
        /// Which.
        key: ContainerKey,
        /// Why.
        reason: RetireReason,
    },
    /// A waiter gets a container.
    Grant {
        /// Who.
        waiter: WaiterId,
        /// What.
        launch: LaunchId,
        /// The daemon it is on.
        daemon: DaemonName,
        /// How the lease was served.
        start: StartKind,
        /// Which lease of this container it is; 1 is the first.
        uses: u32,
    },
    /// A waiter gets nothing.
    Refuse {
        /// Who.
        waiter: WaiterId,
        /// Why.
        refusal: Refusal,
    },
    /// A container changed its state; nothing to be done but to tell it.
    Moved {
        /// Which.
        launch: LaunchId,
        /// From where; `Removed` for a new one.
        from: State,
        /// To where.
        to: State,
    },
}

/// How a lease went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides ended it in good order.
    Clean,
    /// Anything else; the container is not used again.
    Failed,
    /// The container failed of itself: before it had sent a byte, and before
    /// its client had. It is not used again, and if it was young, its service
    /// backs off. Where the client has sent something, it may have been what
    /// killed the container, and must not slow the service down for others.
    Dud,
    /// The connection left before it was told of the container.
    Unused,
}

/// How a lease was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartKind {
    /// From stock, fresh.
    Warm,
    /// A container that was leased before.
    Reused,
    /// The stock was empty: waited for a fresh container.
    Cold,
}

/// Why a container was retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RetireReason {
    /// It had its last lease.
    Spent,
    /// Its lease ended badly.
    Failed,
    /// It could not be launched, or did not get ready.
    Launch,
    /// It failed the check after a lease.
    Check,
    /// It ended by itself.
    Died,
    /// The kernel killed one of its processes for memory.
    OutOfMemory,
    /// It was older than `max_age`.
    Age,
    /// The stock was larger than wanted for long enough.
    Surplus,
    /// A complete list did not show it.
    Missing,
    /// The pool or its daemon was drained.
    Drain,
    /// Ours, but of an earlier boot or of a call whose reply was lost.
    Stray,
}

/// Who is at fault for a failed launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The service: its image, command or settings. The service backs off.
    Service,
    /// The daemon: unreachable, slow, broken or out of ports, addresses or disk.
    /// The daemon backs off; others are tried.
    Daemon,
}

/// Why a connection got no container.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// As many connections as allowed wait already.
    #[error("the queue is full")]
    QueueFull,
    /// No container became free in time.
    #[error("no container became free in time{}", Because(.reason))]
    TimedOut {
        /// The last thing that went wrong with launches of the service, if any did.
        reason: Option<Arc<str>>,
    },
    /// The service's containers keep failing.
    #[error("containers of this service keep failing: {reason}")]
    Failing {
        /// The last failure.
        reason: Arc<str>,
    },
    /// No daemon can launch the service now.
    #[error("no daemon can launch this service: {reason}")]
    NoDaemon {
        /// Why not, of one of them.
        reason: Arc<str>,
    },
    /// The pool is being drained.
    #[error("draining")]
    Draining,
    /// There is no such service.
    #[error("there is no such service")]
    UnknownService,
}

/// A container of this instance, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Which one: `Launch` when this boot made it.
    pub key: ContainerKey,
    /// Whether it runs. Created, exited, dead, and paused ones do not.
    pub running: bool,
}

struct Because<'a>(&'a Option<Arc<str>>);

// === impl StartKind ===

impl fmt::Display for StartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warm => "warm",
            Self::Reused => "reused",
            Self::Cold => "cold",
        })
    }
}

// === impl RetireReason ===

impl fmt::Display for RetireReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spent => "spent",
            Self::Failed => "failed",
            Self::Launch => "launch",
            Self::Check => "check",
            Self::Died => "died",
            Self::OutOfMemory => "oom",
            Self::Age => "age",
            Self::Surplus => "surplus",
            Self::Missing => "missing",
            Self::Drain => "drain",
            Self::Stray => "stray",
        })
    }
}

// === impl Refusal ===

impl Refusal {
    /// One word for counters.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TimedOut { .. } => "timed_out",
            Self::Failing { .. } => "failing",
            Self::NoDaemon { .. } => "no_daemon",
            Self::Draining => "draining",
            Self::UnknownService => "unknown_service",
        }
    }
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
