//! The spread of a stock over the daemons: as if each container had been launched on the
//! daemon that is the least utilised.
//!
//! Two mechanisms bring it about. The first launches wait a moment for daemons that are
//! about to be usable ([`HOLD`]), so that the first daemon that answers does not get the
//! whole stock. And a container that is misplaced all the same (a daemon was away, or has
//! joined) is moved while no leases are asked for: one more is launched on the emptier daemon,
//! and when that is ready one on the fullest is retired. A move pays when the emptier daemon
//! is less utilised than the other would be without one. Each such move reduces the sum of
//! the loads at which containers were added, so that moves come to an end. A difference of
//! one container is not worth a launch, for the next connection corrects it at no cost: moves
//! begin at a larger difference ([`TOLERANCE`]), and then go on until none pays.

use std::time::{Duration, Instant};

use super::super::placement::Place;
use super::super::sizing;
use super::daemon::Daemon;
use super::service::Service;
use super::{
    Contact, Container, DaemonId, DaemonName, LaunchId, Ledger, Liveness, RetireReason, ServiceId,
    SpecKey, State, Timer,
};
use crate::backoff::fraction;

/// How long launches for the stock wait for daemons that have yet to answer.
const HOLD: Duration = Duration::from_secs(2);
/// How long a service has to be unused before its stock may be moved; and the time
/// between two moves.
const QUIET: Duration = Duration::from_secs(5);
/// The most that is added at random to the pause where others change the loads, too. Several
/// pools on the same daemons see at the same time that a move pays; if four acted on it at the
/// same time, they would turn the difference round, and turn it back for ever.
const APART: Duration = QUIET;
/// How often the pause doubles at most while moves fail: to 11 minutes, or 21 beside others.
const DOUBLINGS: u32 = 7;
/// The first move of a service has to pay even with so many more containers on the emptier
/// daemon.
const TOLERANCE: u32 = 1;
/// The same for each move where others change the loads, too: other instances, or connections
/// to other services.
const BESIDE_OTHERS: u32 = 2;

/// Launches of a spec that wait for daemons which may come soon.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// When they stop waiting, if any waits.
    pub(super) until: Option<Instant>,
    /// A daemon that may come. While it may, the others are not looked at, so that an event
    /// does not cost a look at every daemon.
    expected: Option<DaemonName>,
}

/// The state of the spread of the stocks.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// A daemon's load or its fitness for a spec has changed since the stocks were looked at.
    pub(super) changed: bool,
    /// When they are looked at.
    pub(super) due: Option<Instant>,
    /// The launch of the move under way: one at a time.
    pub(super) moving: Option<LaunchId>,
    /// Moves that failed in a row.
    failed: u32,
    /// The service whose container was moved last.
    last: ServiceId,
    /// When a lease of any service was asked for or ended last.
    used: Option<Instant>,
    /// The number that no other pool has, see [`APART`].
    salt: u64,
    /// How often `due` was set.
    looks: u64,
}

// === impl Spread ===

impl Spread {
    pub(super) fn salted(salt: u64) -> Self {
        Self { salt, ..Self::default() }
    }
}

// === impl Daemon ===

impl Daemon {
    /// Whether it is about to be able to launch a spec, as far as is known.
    fn may_come(&self, spec: SpecKey) -> bool {
        let unknown = match &self.contact {
            Contact::Joining => true,
            Contact::Up { listed } => !listed || !self.prepared.contains_key(&spec),
            Contact::Down(..) => false,
        };
        unknown && self.in_service()
    }

    /// Where one more container would be in the order of placement, if there were so many
    /// more; `None` where there would be no room for it.
    fn place_beside(&self, more: u32) -> Option<Place> {
        let mut load = self.load();
        load.used = load.used.saturating_add(more);
        load.has_room().then(|| load.place())
    }

    /// Where one of its containers was put in the order of placement, if it were the last.
    fn place_of_last(&self) -> Place {
        let mut load = self.load();
        // Containers that are being removed do not count: else moves go on for as long as
        // removals take, and are undone when those are confirmed.
        load.used = load.used.saturating_sub(1 + self.counts[State::Retiring]);
        load.place()
    }
}

// === impl Service ===

impl Service {
    /// Whether one of its stock may be moved now: the stock is complete, with room for one more.
    fn may_be_moved(&self) -> bool {
        let idle =
            self.stock.len() == self.stock_wanted() && sizing::on_their_way(&self.counts) == 0;
        idle && self.counts.total() < self.policy.max
            && self.rollout.is_none()
            && self.streak.retry_at.is_none()
            && self.streak.losses.retry_at.is_none()
            && self.in_service()
    }
}

// === impl Ledger ===

impl Ledger {
    /// Daemons may come soon that cannot launch a spec yet.
    pub(super) fn await_daemons(&mut self, spec: SpecKey) {
        self.awaiting.entry(spec).or_default();
    }

    /// A daemon may come soon.
    pub(super) fn await_daemon(&mut self) {
        let specs = self.services.iter().map(|(id, service)| (id, service.current()));
        let specs: Vec<_> = specs.collect();
        specs.into_iter().for_each(|spec| self.await_daemons(spec));
    }

    /// Whether a launch on a daemon waits for others that may come, which would be as good.
    pub(super) fn holds(&mut self, now: Instant, spec: SpecKey, on: DaemonId) -> bool {
        let Some(hold) = self.awaiting.get_mut(&spec) else { return false };
        let service = &self.services[spec.0];
        let unserved = service.queue.len() > sizing::on_their_way(&service.counts);
        if unserved || spec.1 != service.current() {
            return false;
        }
        let tier = self.daemons[on].capacity.tier;
        let comes = |daemon: &Daemon| daemon.capacity.tier <= tier && daemon.may_come(spec);
        let known = hold.expected.as_ref();
        let expected = known.and_then(|name| self.daemons.id(name));
        if !expected.is_some_and(|id| comes(&self.daemons[id])) {
            // The search goes on behind the last one, and then from the first.
            let next = self.daemons.round_from(known).find(|(_, daemon)| comes(daemon));
            let Some(next) = next.map(|(_, daemon)| daemon.name.clone()) else {
                self.release(spec);
                return false;
            };
            hold.expected = Some(next);
        }
        if hold.until.is_none() {
            let at = now + HOLD;
            self.timers.insert((at, Timer::Hold(spec)));
            hold.until = Some(at);
        }
        true
    }

    /// Nothing of a spec is held any more.
    pub(super) fn release(&mut self, spec: SpecKey) {
        if let Some(Hold { until: Some(at), .. }) = self.awaiting.remove(&spec) {
            self.timers.remove(&(at, Timer::Hold(spec)));
        }
    }

    /// A lease of a service was asked for, or ended.
    pub(super) fn used(&mut self, now: Instant, id: ServiceId) {
        self.spread.used = Some(now);
        let service = &mut self.services[id];
        service.used = Some(now);
        // The next connection corrects a difference of one at no cost.
        service.spreading = false;
    }

    /// Sets the time to look at the stocks, after something has changed.
    pub(super) fn look_at_spread(&mut self, now: Instant) {
        let idle = self.spread.due.is_none() && self.spread.moving.is_none();
        // Where there is one daemon there is nothing to be spread.
        if !self.spread.changed || !idle || self.draining || self.daemons.len() < 2 {
            return;
        }
        let mut pause = QUIET;
        if self.daemons.values().any(|daemon| daemon.others > 0) {
            // Salt and counter may be small, and salts close to each other.
            let chance = fraction(self.spread.salt.rotate_left(32) ^ self.spread.looks);
            pause += APART.mul_f64(chance);
        }
        self.spread.looks += 1;
        let at = now + pause * 2_u32.pow(self.spread.failed.min(DOUBLINGS));
        self.timers.insert((at, Timer::Spread));
        self.spread.due = Some(at);
    }

    /// Begins to move a container, if that pays.
    pub(super) fn spread(&mut self, now: Instant) {
        self.spread.due = None;
        // While leases go on, another look follows.
        let busy = self.spread.used.is_some_and(|at| now - at < QUIET);
        self.spread.changed = busy;
        if self.draining {
            return;
        }
        // Services with moves begun, then each in its turn.
        let (next, wrapped): (Vec<_>, Vec<_>) =
            self.service_ids().into_iter().partition(|id| *id > self.spread.last);
        let begun = |id: &ServiceId| self.services[*id].spreading;
        let in_turn = next.into_iter().chain(wrapped);
        let (first, then): (Vec<_>, Vec<_>) = in_turn.partition(begun);
        for id in first.into_iter().chain(then) {
            let service = &mut self.services[id];
            let used = service.used.is_some_and(|at| now - at < QUIET);
            service.spreading &= !used;
            if used || !service.may_be_moved() {
                continue;
            }
            let spec = (id, service.current());
            let tolerance = match service.spreading {
                _ if busy => BESIDE_OTHERS,
                true => 0,
                false => TOLERANCE,
            };
            if let Some(to) = self.better_place(id, tolerance) {
                let launch = self.launch(now, spec, to);
                self.spread.last = id;
                self.spread.moving = Some(launch);
                return;
            }
            self.services[id].spreading &= busy;
        }
    }

    /// The daemon on which one of the stock of a service is better placed.
    fn better_place(&self, id: ServiceId, tolerance: u32) -> Option<DaemonId> {
        let spec = (id, self.services[id].current());
        let (from, _) = self.worst_placed(id)?;
        let is_better = |to: &Daemon| {
            let more = if from.others + to.others > 0 { BESIDE_OTHERS } else { tolerance };
            to.can_launch(spec) && to.place_beside(more).is_some_and(|to| to < from.place_of_last())
        };
        self.placement.pick_below(from.place_of_last(), |to| is_better(&self.daemons[to]))
    }

    /// The worst placed container in the stock of a service, of those that their daemon lists,
    /// and that daemon.
    fn worst_placed(&self, id: ServiceId) -> Option<(&Daemon, LaunchId)> {
        let stock = &self.services[id].stock;
        let placed = stock.worst_first().filter_map(|launch| {
            let container = &self.containers[launch];
            let daemon = &self.daemons[container.daemon];
            let removable = daemon.is_up() && container.liveness == Liveness::Listed;
            removable.then_some((daemon, launch))
        });
        placed.reduce(
            |worst, next| {
                if next.0.place_of_last() > worst.0.place_of_last() { next } else { worst }
            },
        )
    }

    /// The launch of a move has ended, `well` or not.
    pub(super) fn move_ended(&mut self, launch: LaunchId, well: bool) {
        if self.spread.moving == Some(launch) {
            self.spread.moving = None;
            self.spread.failed = if well { 0 } else { self.spread.failed.saturating_add(1) };
            self.services[self.spread.last].spreading = well;
        }
    }

    /// A container that was launched to take the place of another is in stock: the worst
    /// placed one is retired, which may be the new one if loads have changed meanwhile.
    pub(super) fn take_place(&mut self, now: Instant, launch: LaunchId) {
        let Container { service: id, state, .. } = self.containers[launch];
        let service = &self.services[id];
        if state == State::Idle
            && service.stock.len() > service.stock_wanted()
            && let Some((_, worst)) = self.worst_placed(id)
        {
            self.retire(now, worst, RetireReason::Surplus);
        }
    }
}
