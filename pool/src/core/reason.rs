//! Why a container was retired, a launch failed, a connection got nothing.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::AdminState;

/// Why a container was retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RetireReason {
    /// The container had its last lease.
    Spent,
    /// Its lease ended badly.
    Failed,
    /// The launch failed, or the container did not get ready.
    Launch,
    /// The container failed the check after a lease.
    Check,
    /// The container ended, was paused or was removed.
    Died,
    /// The kernel killed one of its processes for memory.
    OutOfMemory,
    /// The container was older than `max_age`.
    Age,
    /// The stock was larger than wanted for long enough.
    Surplus,
    /// The generation of the container was replaced by another, or rolled back.
    Generation,
    /// A complete list did not show it.
    Missing,
    /// The pool, its service or its daemon was drained.
    Drain,
    /// The operator has ordered it.
    Operator,
    /// The container is of an earlier boot, or of a call whose reply was lost.
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
    /// Likewise, and what the daemon was prepared with is gone: the daemon has to
    /// be prepared for the service anew.
    Unprepared,
    /// Nobody: others who share the daemon's capacity were faster. The launch is
    /// tried again when there is room.
    Full,
    /// Nobody: the launch was not wanted any more, or somebody removed the container
    /// before it was ready.
    Unwanted,
}

/// Why a connection got no container.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The queue of the service has no place left.
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
        /// The reasons of some of the daemons.
        reason: Arc<str>,
    },
    /// The pool is being drained.
    #[error("draining")]
    Draining,
    /// The operator has the service drained.
    #[error("the operator has set this service to {state}")]
    Operator {
        /// The state that the service was set to.
        state: AdminState,
    },
    /// There is no such service.
    #[error("there is no such service")]
    UnknownService,
}

struct Because<'a>(&'a Option<Arc<str>>);

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
            Self::Generation => "generation",
            Self::Missing => "missing",
            Self::Drain => "drain",
            Self::Operator => "operator",
            Self::Stray => "stray",
        })
    }
}

// === impl Refusal ===

impl Refusal {
    /// Its label in counters.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TimedOut { .. } => "timed_out",
            Self::Failing { .. } => "failing",
            Self::NoDaemon { .. } => "no_daemon",
            Self::Draining => "draining",
            Self::Operator { .. } => "operator",
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
