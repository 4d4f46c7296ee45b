//! The ledger: every container, every waiter, and what is to be done next.

mod arena;
mod canary;
mod container;
mod daemon;
mod demand;
mod drain;
mod failure_streak;
mod fleet;
mod hedge;
mod inventory;
mod launches;
mod learning;
mod leases;
mod losses;
mod operator;
mod recent_removals;
mod rolling;
mod rollout;
mod service;
mod services;
mod settle;
mod spread;
mod timer;
mod totals;
mod view;

#[cfg(any(test, debug_assertions, feature = "testing"))]
mod audit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::id::{DaemonId, ServiceId};
use super::placement::Placement;
use super::{
    Action, ContainerKey, DaemonName, Event, Fault, Generation, LaunchId, Proof, RetireReason,
    ServiceName, State, WaiterId,
};
use arena::{Arena, NamedArena};
use container::{Container, Liveness, Standing};
use daemon::{Contact, Daemon};
pub use inventory::ContainerView;
use service::Service;
use spread::{Hold, Spread};
use timer::Timer;
pub use totals::Totals;
pub use view::{DaemonView, RolloutView, ServiceView, Snapshot};

/// A service and a generation of it: the spec that containers are launched by.
type SpecKey = (ServiceId, Generation);

/// The state of the whole pool.
///
/// A plain value: it reads no clock, starts no task and takes no lock. An event changes services,
/// daemons and containers; then what is derived from those is brought up to date, *wanted* is
/// compared with *have*, and the difference is launched.
#[derive(Debug, Default)]
pub struct Ledger {
    services: NamedArena<ServiceName, ServiceId, Service>,
    daemons: NamedArena<DaemonName, DaemonId, Daemon>,
    containers: Arena<LaunchId, Container>,
    /// Containers that the last list of another daemon than theirs has shown, and that daemon:
    /// the same engine under two names.
    elsewhere: BTreeMap<LaunchId, DaemonId>,
    /// The daemons with room for a launch.
    placement: Placement,
    /// Spec keys that lack containers. This set is derived, as are `placement`, `unplaceable`,
    /// `recheck_waiters` and `rolling_out`: see `ledger/settle.rs`.
    short: BTreeSet<SpecKey>,
    /// Spec keys that no daemon could take at the last attempt. They are skipped until a daemon
    /// gets room, because each attempt costs a look at every daemon.
    unplaceable: BTreeSet<SpecKey>,
    /// Spec keys for which daemons may come soon.
    awaiting: BTreeMap<SpecKey, Hold>,
    spread: Spread,
    /// Services with waiters, which may have nothing left to wait for: looked at in `settle`.
    recheck_waiters: BTreeSet<ServiceId>,
    /// Services with a rollout under way.
    rolling_out: BTreeSet<ServiceId>,
    /// The service of each waiter.
    waiting: BTreeMap<WaiterId, ServiceId>,
    timers: BTreeSet<(Instant, Timer)>,
    launches: u64,
    /// Derived state was brought up to date, and its consequences were not ordered yet.
    unsettled: bool,
    draining: bool,
    actions: Vec<Action>,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger with no service and no daemon.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty ledger. Ledgers that share daemons and have different salts act at different
    /// times on what all of them see at the same time.
    #[must_use]
    pub fn salted(salt: u64) -> Self {
        Self { spread: Spread::salted(salt), ..Self::default() }
    }

    /// Takes note of an event and says what is to be done about it.
    ///
    /// Events about containers that are not there any more are normal (a reply
    /// crossed a removal) and change nothing. `now` must not go backwards.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        // Deadlines that have passed come before the event: a process that stood still must
        // not lease a container that expired meanwhile.
        self.tick(now);
        match event {
            Event::ServiceAdded { service, policy, generation } => {
                self.service_added(now, service, policy, generation);
            }
            Event::ServiceChanged { service, policy, generation } => {
                self.service_changed(now, &service, policy, generation);
            }
            Event::RollBack { service } => self.roll_back_ordered(now, &service),
            Event::ServiceRemoved { service } => self.service_removed(now, &service),
            Event::Lease { waiter, service, deadline } => {
                self.lease(now, waiter, &service, deadline);
            }
            Event::Abandoned { waiter } => self.abandoned(waiter),
            Event::Returned { launch, outcome } => self.returned(now, launch, outcome),
            Event::Checked { launch, proof } => self.checked(now, launch, proof),
            Event::Started { launch } => self.started(now, launch),
            Event::Ready { launch } => self.ready(now, launch),
            Event::LaunchFailed { launch, fault, reason } => {
                self.launch_failed(now, launch, fault, reason);
            }
            Event::Retire { launch } => self.retire_ordered(now, launch),
            Event::Died { launch } => self.ended(now, launch, RetireReason::Died),
            Event::Signalled { launch } => self.interfered(now, launch),
            Event::Taken { launch } => {
                self.interfered(now, launch);
                self.ended(now, launch, RetireReason::Died);
            }
            Event::OutOfMemory { launch } => self.ended(now, launch, RetireReason::OutOfMemory),
            Event::Removed { daemon, key } => self.removed(now, &daemon, &key),
            Event::DaemonJoined { daemon, capacity } => self.daemon_joined(now, &daemon, capacity),
            Event::DaemonResized { daemon, capacity } => self.daemon_resized(&daemon, capacity),
            Event::DaemonUp { daemon, launches } => self.daemon_up(now, &daemon, launches),
            Event::DaemonDown { daemon, reason } => self.daemon_down(now, &daemon, reason),
            Event::DaemonLeft { daemon } => self.daemon_left(now, &daemon),
            Event::DaemonStateSet { daemon, state } => self.daemon_state_set(now, &daemon, state),
            Event::ServiceStateSet { service, state } => {
                self.service_state_set(now, &service, state);
            }
            Event::Prepared { daemon, service, generation, result } => {
                self.prepared(&daemon, &service, generation, result);
            }
            Event::Listed { daemon, began, owned, others } => {
                self.listed(now, &daemon, began, &owned, others);
            }
            Event::Tick => {}
            Event::Drain => self.drain(now),
        }
        self.settle(now);
        #[cfg(debug_assertions)]
        self.assert_sound();
        self.take_ordered()
    }

    /// The actions that were ordered before the ledger panicked in an event.
    pub(crate) fn take_ordered(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Handles each deadline that has passed, after derived state is up to date.
    fn tick(&mut self, now: Instant) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            self.refresh(now);
            match timer {
                Timer::Waiter(waiter) => self.timed_out(waiter),
                Timer::Age(launch) => self.retire(now, launch, RetireReason::Age),
                Timer::Stale(launch) => self.recheck(now, launch),
                Timer::Late(launch) => self.late(now, launch),
                Timer::Surplus(service) => self.shrink(now, service),
                Timer::Demand(service) => self.review(now, service),
                Timer::BackOff((service, generation)) => {
                    if let Some(streak) = self.services[service].failures_of(generation) {
                        streak.retry_at = None;
                    }
                    self.spread.changed = true;
                }
                Timer::Stock((service, generation)) => {
                    if let Some(streak) = self.services[service].failures_of(generation) {
                        streak.losses.retry_at = None;
                    }
                    self.spread.changed = true;
                }
                Timer::Daemon(daemon) => self.daemons[daemon].retry_at = None,
                Timer::Hold(spec) => {
                    self.awaiting.remove(&spec);
                    self.services.touch(spec.0);
                }
                Timer::Spread => self.spread(now),
            }
        }
    }
}
