//! The ledger: every container, every waiter, and what is to be done next.

mod canary;
mod demand;
mod fleet;
mod gone;
mod hedge;
mod launches;
mod learning;
mod leases;
mod losses;
mod records;
mod rolling;
mod rollout;
mod service;
mod services;
mod spread;
mod trouble;
mod view;

#[cfg(any(test, debug_assertions, feature = "testing"))]
mod audit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use indexmap::IndexMap;

use super::placement::Placement;
use super::{
    Action, ContainerKey, DaemonName, Event, Fault, Generation, LaunchId, Proof, RetireReason,
    ServiceName, State, WaiterId, sizing,
};
use records::{Contact, Container, Daemon, Timer, Vouched};
use service::{Service, Window};
use spread::{Hold, Spread};
pub use view::{DaemonView, RolloutView, ServiceView, Snapshot, Totals};

/// What is launched: a service, by its index, and a version of its spec.
type Lane = (usize, Generation);

/// The state of the whole pool.
///
/// A plain value: it reads no clock, starts no task and takes no lock. After
/// each event *wanted* is compared with *have* and the difference is launched.
#[derive(Debug, Default)]
pub struct Ledger {
    services: IndexMap<ServiceName, Service>,
    daemons: BTreeMap<DaemonName, Daemon>,
    containers: BTreeMap<LaunchId, Container>,
    /// Containers that the last list of another daemon than theirs has shown, and that daemon:
    /// the same engine under two names.
    elsewhere: BTreeMap<LaunchId, DaemonName>,
    /// The daemons with room for a launch.
    placement: Placement,
    /// What lacks containers.
    hungry: BTreeSet<Lane>,
    /// That for which no daemon was open when one was looked for last. It
    /// is not looked at until one opens: to look costs what there are daemons,
    /// and what none can launch would be looked at on every event.
    stuck: BTreeSet<Lane>,
    /// Lanes for which daemons may come soon.
    awaiting: BTreeMap<Lane, Hold>,
    spread: Spread,
    /// The services whose waiters may have lost their last hope in this event.
    doubtful: BTreeSet<usize>,
    /// Those on their way to another generation.
    rolling: BTreeSet<usize>,
    /// Where each waiter waits.
    waiting: BTreeMap<WaiterId, usize>,
    timers: BTreeSet<(Instant, Timer)>,
    launches: u64,
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

    /// The same. Ledgers that share daemons and have different numbers act at different times
    /// on what all of them see at the same time.
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
            Event::ServiceRemoved { service } => self.service_removed(now, &service),
            Event::Lease { waiter, service, deadline } => {
                self.lease(now, waiter, &service, deadline);
            }
            Event::Abandoned { waiter } => self.abandoned(now, waiter),
            Event::Returned { launch, outcome } => self.returned(now, launch, outcome),
            Event::Checked { launch, proof } => self.checked(now, launch, proof),
            Event::Started { launch } => self.started(now, launch),
            Event::Ready { launch } => self.ready(now, launch),
            Event::LaunchFailed { launch, fault, reason } => {
                self.launch_failed(now, launch, fault, reason);
            }
            Event::Died { launch } => self.ended(now, launch, RetireReason::Died),
            Event::Signalled { launch } => self.meddled(now, launch),
            Event::Taken { launch } => {
                self.meddled(now, launch);
                self.ended(now, launch, RetireReason::Died);
            }
            Event::OutOfMemory { launch } => self.ended(now, launch, RetireReason::OutOfMemory),
            Event::Removed { daemon, key } => self.removed(now, &daemon, &key),
            Event::DaemonJoined { daemon, terms } => self.daemon_joined(now, &daemon, terms),
            Event::DaemonResized { daemon, terms } => self.daemon_resized(&daemon, terms),
            Event::DaemonUp { daemon, launches } => self.daemon_up(&daemon, launches),
            Event::DaemonDown { daemon, reason } => self.daemon_down(now, &daemon, reason),
            Event::DaemonLeft { daemon } => self.daemon_left(now, &daemon),
            Event::Prepared { daemon, service, generation, result } => {
                self.prepared(&daemon, &service, generation, result);
            }
            Event::Listed { daemon, began, owned, others } => {
                self.listed(now, &daemon, began, &owned, others);
            }
            Event::Tick => {}
            Event::Drain => self.drain(now),
        }
        // The event may have set a deadline that has passed.
        self.tick(now);
        self.roll(now);
        self.give_up(now);
        self.converge(now);
        self.look_at_spread(now);
        #[cfg(debug_assertions)]
        self.assert_sound();
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn tick(&mut self, now: Instant) {
        while let Some((at, timer)) = self.timers.first().cloned()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Waiter(waiter) => self.timed_out(now, waiter),
                Timer::Age(launch) => self.retire(now, launch, RetireReason::Age),
                Timer::Stale(launch) => self.doubt(now, launch),
                Timer::Late(launch) => self.late(now, launch),
                Timer::Surplus(service) => self.shrink(now, service),
                Timer::Demand(service) => self.review(now, service),
                Timer::Lane((service, generation)) => {
                    let known = self.services.get_index_mut(service);
                    if let Some(trouble) = known.and_then(|(_, s)| s.trouble(generation)) {
                        trouble.retry_at = None;
                    }
                    self.spread.changed = true;
                    self.touch(now, service);
                }
                Timer::Stock((service, generation)) => {
                    let known = self.services.get_index_mut(service);
                    if let Some(trouble) = known.and_then(|(_, s)| s.trouble(generation)) {
                        trouble.losses.retry_at = None;
                    }
                    self.spread.changed = true;
                    self.touch(now, service);
                }
                Timer::Daemon(name) => {
                    if let Some(daemon) = self.daemons.get_mut(&name) {
                        daemon.retry_at = None;
                    }
                    self.replace(&name);
                }
                Timer::Hold(lane) => _ = self.awaiting.remove(&lane),
                Timer::Spread => self.spread(now),
            }
        }
    }

    /// Launches what is wanted and missing, as far as daemons have room: first
    /// for those who wait, the longest first; then for the emptiest stock.
    fn converge(&mut self, now: Instant) {
        let mut candidates: Vec<_> = self.hungry.difference(&self.stuck).copied().collect();
        while let Some(at) = (0..candidates.len())
            .min_by_key(|at| candidates.get(*at).and_then(|lane| self.need(*lane)))
        {
            let lane = candidates.swap_remove(at);
            // The last one may have been for both lanes of a service.
            if !self.hungry.contains(&lane) {
                continue;
            }
            let daemon = self.placement.pick(usize::MAX, |name| {
                self.daemons.get(name).is_some_and(|daemon| daemon.can_launch(lane))
            });
            let Some(daemon) = daemon.cloned() else {
                self.stuck.insert(lane);
                self.make_room(now, lane);
                continue;
            };
            if self.holds(now, lane, &daemon) {
                continue;
            }
            if let Some(launch) = self.launch(now, lane, daemon) {
                self.expect(now, launch, lane.0);
            }
            if self.hungry.contains(&lane) {
                candidates.push(lane);
            }
        }
    }

    /// How urgent the next launch of a lane is; the least is the most urgent.
    fn need(&self, (service, generation): Lane) -> Option<(Option<u64>, u64)> {
        let (_, service) = self.services.get_index(service)?;
        if generation != service.current() {
            // What is on trial is one container, which serves whoever waits once it
            // is ready. Behind others it might never have its turn.
            return Some((None, 0));
        }
        let coming = sizing::on_their_way(&service.counts);
        let unserved = service.queue.len() > coming;
        let oldest = service.queue.oldest().filter(|_| unserved).map_or(u64::MAX, |w| w.0);
        let ready = u64::from(coming + service.counts[State::Idle]);
        let fill = (ready << 32) / u64::from(service.policy.warm.max(1));
        Some((Some(oldest), fill))
    }

    fn launch(
        &mut self,
        now: Instant,
        (index, generation): Lane,
        daemon: DaemonName,
    ) -> Option<LaunchId> {
        let (name, service) = self.services.get_index_mut(index)?;
        let wanted = service.launched(generation);
        let paced = service.trouble(generation).is_some_and(|t| t.losses.retry_at.is_some());
        self.launches += 1;
        service.totals.launched += 1;
        let launch = LaunchId(self.launches);
        debug_assert!(service.counts.total() < service.policy.max, "I2: {name} has its maximum");
        let (service, on) = (name.clone(), daemon.clone());
        let (mut capacity, mut alone) = (0, None);
        if let Some(daemon) = self.daemons.get_mut(&daemon) {
            daemon.ordered += 1;
            alone = (daemon.counts[State::Launching] == 0).then_some(daemon.ordered);
            capacity = daemon.terms.capacity;
        }
        let action = Action::Launch { launch, daemon: on, service, generation, capacity };
        let container = Container::new(index, daemon, generation, now);
        self.containers.insert(launch, Container { wanted, alone, ..container });
        if !paced {
            self.pace(now, (index, generation));
        }
        self.transit(now, launch, State::Launching);
        self.actions.push(action);
        Some(launch)
    }

    /// The one place where a container changes its state, with all that hangs
    /// on it: counters, stock, age timer, placement, and what is wanted.
    fn transit(&mut self, now: Instant, launch: LaunchId, to: State) {
        let Some(container) = self.containers.get_mut(&launch) else {
            return;
        };
        let from = std::mem::replace(&mut container.state, to);
        debug_assert!(
            from.may_become(to) || (from == State::Removed && to == State::Launching),
            "{launch:?} cannot go from {from} to {to}"
        );
        let generation = container.generation;
        let stocked = container.stocked(launch);
        let over = !to.is_launch();
        let (late, hedge) = (over && container.late, over && container.hedge);
        container.late &= !late;
        container.hedge &= !hedge;
        let vouched = container.vouched;
        let returned = from == State::Checking && vouched == Vouched::Listed;
        let (index, name, age) = (container.service, container.daemon.clone(), container.expires);
        if let Some((_, service)) = self.services.get_index_mut(index) {
            if from == State::Idle {
                service.stock.remove(stocked);
            }
            if to == State::Idle {
                service.stock.add(stocked);
            }
            if to == State::Idle
                && (from == State::Leased || returned)
                && let Some(learning) = &mut service.learning
            {
                learning.demand.came_back();
            }
            service.hedges.late -= u32::from(late);
            service.hedges.under_way -= u32::from(hedge);
            service.counts.shift(from, to);
            if let Some(rollout) = service.rollout.as_mut().filter(|r| r.to == generation) {
                rollout.counts.shift(from, to);
            }
            // It may have been the last one that somebody waited for.
            let taken = matches!(to, State::Leased | State::Retiring | State::Unknown);
            if taken && service.queue.len() > 0 {
                self.doubtful.insert(index);
            }
        }
        if let Some(daemon) = self.daemons.get_mut(&name) {
            daemon.counts.shift(from, to);
            match to {
                State::Launching => _ = daemon.containers.insert(launch),
                State::Removed => _ = daemon.containers.remove(&launch),
                _ => {}
            }
        }
        if let Some(age) = age {
            if from == State::Idle {
                self.timers.remove(&(age, Timer::Age(launch)));
            }
            if to == State::Idle {
                self.timers.insert((age, Timer::Age(launch)));
            }
        }
        if from == State::Idle && vouched != Vouched::Listed {
            self.vouch(launch, Vouched::Listed);
        }
        self.spread.changed = true;
        if !to.is_launch() {
            self.move_ended(launch, to != State::Retiring);
        }
        if to == State::Removed {
            self.containers.remove(&launch);
            if let Some(other) = self.elsewhere.remove(&launch) {
                if let Some(other) = self.daemons.get_mut(&other) {
                    other.others = other.others.saturating_sub(1);
                }
                self.replace(&other);
            }
        }
        self.actions.push(Action::Moved { launch, from, to });
        self.touch(now, index);
        self.replace(&name);
    }

    fn retire(&mut self, now: Instant, launch: LaunchId, reason: RetireReason) {
        let Some(container) = self.containers.get(&launch) else {
            return;
        };
        let daemon = container.daemon.clone();
        let in_stock = matches!(container.state, State::Idle | State::Unknown);
        let ended = matches!(reason, RetireReason::Died | RetireReason::OutOfMemory);
        let mut ended_in_stock = None;
        if let Some((name, service)) = self.services.get_index_mut(container.service) {
            *service.totals.retired.entry(reason).or_default() += 1;
            ended_in_stock = (in_stock && ended).then(|| name.clone());
        }
        self.transit(now, launch, State::Retiring);
        let key = ContainerKey::Launch(launch);
        self.actions.push(Action::Retire { daemon, key, reason, ended_in_stock });
    }

    /// Compares wanted with have for one service, after either changed.
    fn touch(&mut self, now: Instant, index: usize) {
        let Some((_, service)) = self.services.get_index_mut(index) else {
            return;
        };
        for generation in service.lanes() {
            let lane = (index, generation);
            if !self.draining && service.deficit(generation) > 0 {
                self.hungry.insert(lane);
            } else {
                self.hungry.remove(&lane);
            }
        }
        service.note_wanted(Some(now));
        let (stock, warm) = (service.stock.len(), service.stock_wanted());
        match &mut service.window {
            Some(window) if stock > warm => window.low = window.low.min(stock),
            Some(window) => {
                self.timers.remove(&(window.ends, Timer::Surplus(index)));
                service.window = None;
            }
            None if stock > warm && !self.draining => {
                let ends = now + service.policy.surplus_after;
                self.timers.insert((ends, Timer::Surplus(index)));
                service.window = Some(Window { ends, low: stock });
            }
            None => {}
        }
    }

    /// Retires what the stock had above `warm` all through the window that ends now.
    fn shrink(&mut self, now: Instant, index: usize) {
        let Some((_, service)) = self.services.get_index_mut(index) else {
            return;
        };
        let Some(window) = service.window.take() else {
            return;
        };
        for _ in 0..window.low.saturating_sub(service.stock_wanted()) {
            let worst = self.services.get_index(index).and_then(|(_, s)| s.surplus());
            if let Some(worst) = worst {
                self.retire(now, worst, RetireReason::Surplus);
            }
        }
        self.touch(now, index);
    }

    /// Puts a daemon where it belongs in the placement order, after its load changed.
    fn replace(&mut self, name: &DaemonName) {
        let load = self.daemons.get(name).and_then(|daemon| {
            let load = daemon.open(self.draining);
            if load.is_some() {
                self.stuck.retain(|lane| !daemon.can_launch(*lane));
            }
            load
        });
        self.spread.changed |= self.placement.set(name, load);
    }
}
