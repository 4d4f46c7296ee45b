//! The events for the ledger.

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
        /// Its generation; never one that it had before.
        generation: Generation,
    },
    /// The policy or the generation of a service has changed.
    ServiceChanged {
        /// The service.
        service: ServiceName,
        /// How it is run from now on.
        policy: Policy,
        /// The generation to launch: the one that it has, which ends a
        /// rollout of another, or a newer one, which is rolled out.
        generation: Generation,
    },
    /// The operator wants the rollout of a service given up.
    RollBack {
        /// The service.
        service: ServiceName,
    },
    /// A service is not to be run any more: it is drained.
    ServiceRemoved {
        /// The service.
        service: ServiceName,
    },
    /// A connection wants a container.
    Lease {
        /// Chosen by the caller, ascending, used once.
        waiter: WaiterId,
        /// The service.
        service: ServiceName,
        /// When it gives up.
        deadline: Instant,
    },
    /// A connection gave up before it was answered.
    Abandoned {
        /// The waiter.
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
        /// The launch.
        launch: LaunchId,
    },
    /// A container proved that it can serve.
    Ready {
        /// The launch.
        launch: LaunchId,
    },
    /// A launch failed, or its outcome is unknown.
    LaunchFailed {
        /// The launch.
        launch: LaunchId,
        /// Who is to back off.
        fault: Fault,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A container that came back from a lease, or whose daemon is unreachable, was checked.
    Checked {
        /// The launch.
        launch: LaunchId,
        /// The proof that it can serve; `None` when there is none.
        proof: Option<Proof>,
    },
    /// The operator wants a container retired.
    Retire {
        /// The launch.
        launch: LaunchId,
    },
    /// A container's process ended.
    Died {
        /// The launch.
        launch: LaunchId,
    },
    /// Somebody had a signal sent to a container's process: if it ends now, then not by itself.
    Signalled {
        /// The launch.
        launch: LaunchId,
    },
    /// Somebody has paused or removed a container.
    Taken {
        /// The launch.
        launch: LaunchId,
    },
    /// The kernel killed a process of a container for memory.
    OutOfMemory {
        /// The launch.
        launch: LaunchId,
    },
    /// A container is gone and stays gone.
    Removed {
        /// The daemon it was on.
        daemon: DaemonName,
        /// The container.
        key: ContainerKey,
    },
    /// A daemon was discovered, came back, or has another endpoint now. Its
    /// state has to be learned anew, once contact is made.
    DaemonJoined {
        /// The daemon.
        daemon: DaemonName,
        /// The capacity of the daemon.
        capacity: Capacity,
    },
    /// The capacity of a daemon changed.
    DaemonResized {
        /// The daemon.
        daemon: DaemonName,
        /// Its capacity from now on.
        capacity: Capacity,
    },
    /// Contact with a daemon was made.
    DaemonUp {
        /// The daemon.
        daemon: DaemonName,
        /// How many it may have in flight.
        launches: Launches,
    },
    /// Contact with a daemon was lost, or never made.
    DaemonDown {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A daemon is no longer in the fleet: it is drained.
    DaemonLeft {
        /// The daemon.
        daemon: DaemonName,
    },
    /// The operator has said whether a daemon is to be used.
    DaemonStateSet {
        /// The daemon.
        daemon: DaemonName,
        /// Its state from now on.
        state: AdminState,
    },
    /// The operator has said whether a service is to be used.
    ServiceStateSet {
        /// The service.
        service: ServiceName,
        /// Its state from now on.
        state: AdminState,
    },
    /// A daemon was asked to get ready for a service.
    Prepared {
        /// The daemon.
        daemon: DaemonName,
        /// The service.
        service: ServiceName,
        /// The version of its spec.
        generation: Generation,
        /// Whether it can launch it, or why not.
        result: Result<(), Arc<str>>,
    },
    /// A daemon gave a complete list of this instance's containers.
    Listed {
        /// The daemon.
        daemon: DaemonName,
        /// When the list was asked for.
        began: Instant,
        /// The containers of this instance on it.
        owned: Vec<Owned>,
        /// How many containers of others it shows, who share the daemon's capacity.
        others: u32,
    },
    /// Time went by; see [`super::Ledger::next_deadline`].
    Tick,
    /// No new leases: retire the stock, let the running leases end.
    Drain,
}

/// The kind of proof that a container can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The container has answered for certain.
    Itself,
    /// Its address has answered, which was its own when its daemon was heard last.
    Address,
}

/// How a lease went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides ended it in good order.
    Clean,
    /// The same, and the container's process has ended well too: the container is not reused.
    Ended,
    /// Anything else; the container is not used again.
    Failed,
    /// The container failed of itself: before it or its client had sent a byte. The container
    /// is not used again, and if it was within the crash loop window, its service backs off.
    /// Where the client has sent something, that may have killed the container, and must not
    /// slow the service down for others.
    FailedUnprovoked,
    /// The connection left before it was told of the container.
    Unused,
}

/// A container of this instance, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its key: `Launch` when this boot made it.
    pub key: ContainerKey,
    /// Whether it runs. Created, exited, dead, and paused ones do not.
    pub running: bool,
}
