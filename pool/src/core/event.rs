//! What the ledger is told.

use std::sync::Arc;
use std::time::Instant;

use super::{
    AdminState, Capacity, ContainerKey, DaemonName, Fault, Generation, LaunchId, Launches, Policy,
    ServiceName, WaiterId,
};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A service is to be run.
    ServiceAdded {
        /// Its name.
        service: ServiceName,
        /// How it is run.
        policy: Policy,
        /// What is launched; never one that it had before.
        generation: Generation,
    },
    /// How a service is run has changed, or what.
    ServiceChanged {
        /// Which.
        service: ServiceName,
        /// How it is run from now on.
        policy: Policy,
        /// What is to be launched: the generation that it has, which ends a
        /// rollout of another, or a newer one, which is rolled out.
        generation: Generation,
    },
    /// The operator wants the rollout of a service given up.
    RollBack {
        /// Which.
        service: ServiceName,
    },
    /// A service is not to be run any more: it is drained.
    ServiceRemoved {
        /// Which.
        service: ServiceName,
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
    /// A container that came back from a lease, or whose daemon is unreachable, was checked.
    Checked {
        /// Which.
        launch: LaunchId,
        /// What has shown that it can serve; `None` when nothing has.
        proof: Option<Proof>,
    },
    /// The operator wants a container retired.
    Retire {
        /// Which.
        launch: LaunchId,
    },
    /// A container's process ended.
    Died {
        /// Which.
        launch: LaunchId,
    },
    /// Somebody had a signal sent to a container's process: it does not end by itself.
    Signalled {
        /// Which.
        launch: LaunchId,
    },
    /// Somebody has paused or removed a container.
    Taken {
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
    /// A daemon was discovered, came back, or is at another place now. What was
    /// known of it has to be learned anew, once contact is made.
    DaemonJoined {
        /// Which.
        daemon: DaemonName,
        /// What may be launched on it.
        capacity: Capacity,
    },
    /// What may be launched on a daemon changed.
    DaemonResized {
        /// Which.
        daemon: DaemonName,
        /// From now on.
        capacity: Capacity,
    },
    /// Contact with a daemon was made.
    DaemonUp {
        /// Which.
        daemon: DaemonName,
        /// How many it may have in flight.
        launches: Launches,
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
    /// The operator has said whether a daemon is to be used.
    DaemonStateSet {
        /// Which.
        daemon: DaemonName,
        /// From now on.
        state: AdminState,
    },
    /// The operator has said whether a service is to be used.
    ServiceStateSet {
        /// Which.
        service: ServiceName,
        /// From now on.
        state: AdminState,
    },
    /// A daemon was asked to get ready for a service.
    Prepared {
        /// Which daemon.
        daemon: DaemonName,
        /// Which service.
        service: ServiceName,
        /// Which version of its spec.
        generation: Generation,
        /// Whether it can launch it, or why not.
        result: Result<(), Arc<str>>,
    },
    /// A daemon gave a complete list of this instance's containers.
    Listed {
        /// Which daemon.
        daemon: DaemonName,
        /// When the list was asked for.
        began: Instant,
        /// What it shows of this instance.
        owned: Vec<Owned>,
        /// How many containers of others it shows, who share the daemon's capacity.
        others: u32,
    },
    /// Time went by; see [`super::Ledger::next_deadline`].
    Tick,
    /// No new leases: retire the stock, let the running leases end.
    Drain,
}

/// What has shown that a container can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It has, and it is certain that it was this one.
    Itself,
    /// Whoever is at its address has: it, as far as its daemon's last word goes.
    Address,
}

/// How a lease went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides ended it in good order.
    Clean,
    /// The same, and the container's process has ended well with it: it is not used again.
    Ended,
    /// Anything else; the container is not used again.
    Failed,
    /// The container failed of itself: before it had sent a byte, and before
    /// its client had. It is not used again, and if it was within the crash loop window, its service
    /// backs off. Where the client has sent something, it may have been what
    /// killed the container, and must not slow the service down for others.
    FailedUnprovoked,
    /// The connection left before it was told of the container.
    Unused,
}

/// A container of this instance, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Which one: `Launch` when this boot made it.
    pub key: ContainerKey,
    /// Whether it runs. Created, exited, dead, and paused ones do not.
    pub running: bool,
}
