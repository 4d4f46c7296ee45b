//! The kinds of events in a pool.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{
    AdminState, DaemonName, Fault, Generation, GivenUp, LaunchId, Outcome, Refusal, RetireReason,
    ServiceName, Stage, StartKind, State,
};
use crate::options::Change;
use crate::runtime::{LaunchFindings, PostMortem, Target};

/// An occurrence in a pool.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A container is to be launched. Later events of it bear its launch alone.
    LaunchOrdered {
        /// Its id.
        launch: LaunchId,
        /// The service that it is of.
        service: ServiceName,
        /// The version of the service's spec.
        generation: Generation,
        /// The daemon that launches it.
        daemon: DaemonName,
    },
    /// A container changed its state.
    StateChanged {
        /// The container's launch.
        launch: LaunchId,
        /// Its state before; `Removed` for a new container.
        from: State,
        /// Its state now.
        to: State,
    },
    /// A container proved that it can serve.
    LaunchReady {
        /// The container's launch.
        launch: LaunchId,
        /// The service that it is of.
        service: ServiceName,
        /// The daemon that it is on.
        daemon: DaemonName,
        /// The time since its launch was begun.
        took: Duration,
    },
    /// A launch failed.
    LaunchFailed {
        /// The launch.
        launch: LaunchId,
        /// The service that it was of.
        service: ServiceName,
        /// The daemon that it was on.
        daemon: DaemonName,
        /// Who is at fault.
        fault: Fault,
        /// Why, for people: all of it in one text.
        reason: Arc<str>,
        /// The same in parts.
        findings: Arc<LaunchFindings>,
    },
    /// A launch was given up, because its container is not wanted or not there any more.
    LaunchInterrupted {
        /// The launch.
        launch: LaunchId,
        /// The service that it was of.
        service: ServiceName,
        /// The daemon that it was on.
        daemon: DaemonName,
    },
    /// Somebody removed a container before it was ready.
    RemovedBeforeReady {
        /// The container's launch.
        launch: LaunchId,
        /// The service that it was of.
        service: ServiceName,
        /// The daemon that it was on.
        daemon: DaemonName,
        /// The engine's id of it, where that is known.
        container: Option<Arc<str>>,
    },
    /// The check of a container failed: it cannot serve again, or does not show that it can.
    CheckFailed {
        /// The container's launch.
        launch: LaunchId,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A container ended while it was in stock.
    EndedInStock {
        /// The container, and the daemon that it was on.
        target: Target,
        /// The service that it was of.
        service: ServiceName,
        /// How it ended, for people.
        reason: Arc<str>,
        /// Its post-mortem; `None` when its daemon cannot tell.
        post_mortem: Option<Arc<PostMortem>>,
        /// How many others of the service ended so before it and were not reported, because
        /// they came faster than one in a second.
        untold: u32,
    },
    /// The operator has ordered a container to be retired. Its removal begins when its launch or
    /// its lease has ended.
    RetireOrdered {
        /// The container's launch.
        launch: LaunchId,
    },
    /// The removal of a container begins.
    Retiring {
        /// The container, and the daemon that it is on.
        target: Target,
        /// Why it is removed.
        reason: RetireReason,
    },
    /// A daemon answers, and has not removed a container yet.
    RemovalPending {
        /// The container, and the daemon that it is on.
        target: Target,
    },
    /// The removal of a container has failed several times. It is tried again for ever.
    RemovalFailing {
        /// The container, and the daemon that it is on.
        target: Target,
        /// The last failure, for people.
        reason: Arc<str>,
    },
    /// The removal of a container is confirmed: it stays gone.
    Removed {
        /// The container, and the daemon that it was on.
        target: Target,
        /// Why it was removed.
        reason: RetireReason,
        /// The attempts since contact with the daemon was made last; while the engine goes on
        /// removing it, at most six are counted.
        attempts: u32,
    },
    /// A connection was given a container.
    Granted {
        /// The container's launch.
        launch: LaunchId,
        /// How the lease was served.
        start: StartKind,
        /// Which lease of the container it is; 1 is the first.
        uses: u32,
    },
    /// A container was granted to a connection that is not there: a mistake of the pool.
    GrantedToNobody {
        /// The container's launch.
        launch: LaunchId,
    },
    /// A connection was given no container.
    Refused {
        /// The service that it wanted one of.
        service: ServiceName,
        /// Why there was none.
        refusal: Refusal,
    },
    /// A lease ended.
    Returned {
        /// The container's launch.
        launch: LaunchId,
        /// How the lease went.
        outcome: Outcome,
    },
    /// A daemon joined the fleet.
    DaemonJoined {
        /// The daemon.
        daemon: DaemonName,
        /// The most containers that it may hold.
        capacity: u32,
    },
    /// The capacity or the tier of a daemon changed.
    DaemonResized {
        /// The daemon.
        daemon: DaemonName,
        /// The most containers that it may hold.
        capacity: u32,
        /// Launches go to the lowest tier that has room.
        tier: u32,
    },
    /// A daemon left the fleet: it is drained.
    DaemonLeft {
        /// The daemon.
        daemon: DaemonName,
    },
    /// A daemon that left the fleet holds nothing any more.
    DaemonDrained {
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
    /// The last daemon left the fleet.
    FleetEmpty,
    /// A daemon answers.
    ContactMade {
        /// The daemon.
        daemon: DaemonName,
        /// The version of its engine.
        version: Arc<str>,
        /// The processors of its machine.
        cpus: u32,
    },
    /// A daemon does not answer any more.
    ContactLost {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
        /// The operator has the daemon in maintenance, so that this is no surprise.
        expected: bool,
    },
    /// An attempt at contact with a daemon failed.
    ContactFailed {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
        /// How many attempts in a row failed, with this one.
        attempts: u32,
        /// An earlier attempt has failed since there was contact last.
        again: bool,
        /// The operator has the daemon in maintenance, so that this is no surprise.
        expected: bool,
    },
    /// A daemon's stream of events broke.
    StreamBroke {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A daemon's stream of events could not be opened. Lists show what happens there.
    StreamFailed {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
        /// How many attempts in a row failed, with this one.
        attempts: u32,
        /// The operator has the daemon in maintenance, so that this is no surprise.
        expected: bool,
    },
    /// A daemon gave no list of its containers.
    ListFailed {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
        /// How many attempts in a row failed, with this one.
        attempts: u32,
    },
    /// A daemon gave a list of its containers, for the first time since contact was made.
    Listed {
        /// The daemon.
        daemon: DaemonName,
        /// The containers of this instance, whichever run made them.
        owned: usize,
        /// The containers of others who share the daemon's capacity.
        others: u32,
    },
    /// A daemon can launch a service now.
    ServicePrepared {
        /// The daemon.
        daemon: DaemonName,
        /// The service.
        service: ServiceName,
        /// The version of its spec.
        generation: Generation,
    },
    /// A daemon cannot run a service.
    ServiceUnfit {
        /// The daemon.
        daemon: DaemonName,
        /// The service.
        service: ServiceName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// Launches on a daemon fail by its fault: one at a time tries it.
    Degraded {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A container was started on a daemon that was degraded.
    Recovered {
        /// The daemon.
        daemon: DaemonName,
    },
    /// A stock that sizes itself is to be of another size.
    StockResized {
        /// The service.
        service: ServiceName,
        /// How many ready containers are kept from now on.
        warm: u32,
    },
    /// Containers of a service keep ending in stock: until one serves, they are launched for the
    /// stock one by one.
    Paced {
        /// The service.
        service: ServiceName,
        /// The version of its spec.
        generation: Generation,
        /// The longest pause between two launches.
        pause: Duration,
    },
    /// A reload changed a service.
    ServiceChanged {
        /// The service.
        service: ServiceName,
        /// The kind of the change.
        change: Change,
    },
    /// The operator has ordered new containers for a service: a rollout of the same spec begins.
    RollOrdered {
        /// The service.
        service: ServiceName,
        /// The new generation of the same spec.
        generation: Generation,
    },
    /// A rollout went a step further.
    RolloutAdvanced {
        /// The service.
        service: ServiceName,
        /// The new version of its spec.
        generation: Generation,
        /// How far the rollout is.
        stage: Stage,
    },
    /// A new version of a service has taken the place of the one before.
    SwitchedOver {
        /// The service.
        service: ServiceName,
        /// The new version of its spec.
        generation: Generation,
    },
    /// A new version of a service was given up; the one before goes on.
    RolledBack {
        /// The service.
        service: ServiceName,
        /// The version of its spec that was given up.
        generation: Generation,
        /// Why.
        why: GivenUp,
        /// The same in words, for people.
        reason: Arc<str>,
    },
}
