//! Services: what is known of each; added, changed, removed.

use std::sync::Arc;
use std::time::Instant;

use super::super::queue::Queue;
use super::super::stock::Stock;
use super::super::{Counts, GivenUp, Outcome, Policy, Refusal, Stage, sizing};
use super::demand::Learning;
use super::hedge::Hedges;
use super::losses::Losses;
use super::rollout::Rollout;
use super::{
    Action, Generation, Lane, LaunchId, Ledger, RetireReason, ServiceName, State, Timer, Totals,
};

#[derive(Debug)]
pub(super) struct Service {
    pub(super) policy: Policy,
    /// The generation that is launched; during a rollout, the one to fall back on.
    pub(super) generation: Generation,
    /// On its way to another generation.
    pub(super) rollout: Option<Rollout>,
    /// The last generation that was rolled back, and why.
    pub(super) rolled_back: Option<(Generation, Arc<str>)>,
    /// It was removed: it is drained.
    pub(super) leaving: bool,
    pub(super) counts: Counts,
    pub(super) stock: Stock,
    pub(super) queue: Queue,
    pub(super) trouble: Trouble,
    pub(super) window: Option<Window>,
    /// What is learnt where the stock sizes itself; `policy.warm` follows it.
    pub(super) learning: Option<Learning>,
    pub(super) hedges: Hedges,
    /// When a lease was asked for or ended last.
    pub(super) used: Option<Instant>,
    /// Its stock was moved, and is not known to be spread since.
    pub(super) spreading: bool,
    pub(super) totals: Totals,
}

/// How launches of a generation go wrong by its own fault.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Launches that failed in a row; those ordered before the last failure was
    /// known count as one with it.
    pub(super) failures: u32,
    /// Containers that died young since one has served, or has lived to be leased.
    pub(super) early_deaths: u32,
    pub(super) failed_at: Option<Instant>,
    /// Nothing is launched until then.
    pub(super) retry_at: Option<Instant>,
    pub(super) last_error: Option<Arc<str>>,
    pub(super) losses: Losses,
}

/// A time in which the stock is above `warm`.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) ends: Instant,
    /// The smallest stock in it so far.
    pub(super) low: u32,
}

// === impl Service ===

impl Service {
    pub(super) fn new(policy: Policy, generation: Generation) -> Self {
        let learning = policy.auto.map(|_| Learning::default());
        Self {
            policy,
            generation,
            learning,
            rollout: None,
            rolled_back: None,
            leaving: false,
            counts: Counts::default(),
            stock: Stock::default(),
            queue: Queue::default(),
            trouble: Trouble::default(),
            window: None,
            hedges: Hedges::default(),
            used: None,
            spreading: false,
            totals: Totals::default(),
        }
    }

    /// The generation that waiters and stock are launched of.
    pub(super) fn current(&self) -> Generation {
        match &self.rollout {
            Some(rollout) if rollout.taking_over() => rollout.to,
            _ => self.generation,
        }
    }

    /// The generations that may be launched: one, or both until the new one takes over.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Generation> + use<> {
        let beside = self.rollout.as_ref().filter(|rollout| !rollout.taking_over());
        std::iter::once(self.current()).chain(beside.map(|rollout| rollout.to))
    }

    /// Whether a container of a generation is used again after a lease.
    pub(super) fn reuses(&self, generation: Generation) -> bool {
        generation == self.current()
            || self.canary().is_some_and(|rollout| rollout.to == generation)
    }

    /// The rollout, while it is a canary.
    pub(super) fn canary(&self) -> Option<&Rollout> {
        self.rollout.as_ref().filter(|rollout| rollout.stage == Stage::Canary)
    }

    /// The container that is leased next: of a canary, when it is its turn.
    pub(super) fn next(&self) -> Option<LaunchId> {
        let in_turn = |rollout: &&Rollout| !rollout.canary.due(&self.policy);
        let older = self.canary().filter(in_turn).and_then(|r| self.stock.older_than(r.to));
        older.or_else(|| self.stock.best())
    }

    /// A lease of a container of a generation was given.
    pub(super) fn lease_given(&mut self, generation: Generation) {
        if let Some(rollout) = self.rollout.as_mut().filter(|r| r.stage == Stage::Canary) {
            rollout.canary.given(&self.policy, rollout.to == generation);
        }
    }

    /// One ended.
    pub(super) fn lease_ended(&mut self, generation: Generation, outcome: Outcome) {
        if let Some(rollout) = self.rollout.as_mut().filter(|r| r.stage == Stage::Canary) {
            rollout.canary.ended(rollout.to == generation, outcome);
        }
    }

    /// What goes when the stock is too large: of a canary, if that has too many.
    pub(super) fn surplus(&self) -> Option<LaunchId> {
        let large =
            |rollout: &&Rollout| rollout.counts[State::Idle] > rollout.stock_wanted(&self.policy);
        match self.canary().filter(large) {
            Some(rollout) => self.stock.worst_from(rollout.to),
            None => self.stock.worst(),
        }
    }

    /// How many ready containers are kept: those of a canary are beside the others.
    pub(super) fn stock_wanted(&self) -> u32 {
        let beside = self.canary().map_or(0, |rollout| rollout.stock_wanted(&self.policy));
        self.policy.warm.saturating_add(beside).min(self.policy.max)
    }

    /// Whether containers of a generation may be in stock.
    pub(super) fn keeps(&self, generation: Generation) -> bool {
        !self.leaving
            && (generation == self.generation
                || self.rollout.as_ref().is_some_and(|rollout| rollout.to == generation))
    }

    /// How launches of a generation go wrong; `None` for one that is launched no more.
    pub(super) fn trouble(&mut self, generation: Generation) -> Option<&mut Trouble> {
        match &mut self.rollout {
            Some(rollout) if rollout.to == generation => Some(&mut rollout.trouble),
            _ if self.generation == generation => Some(&mut self.trouble),
            _ => None,
        }
    }

    fn current_trouble(&self) -> &Trouble {
        match &self.rollout {
            Some(rollout) if rollout.taking_over() => &rollout.trouble,
            _ => &self.trouble,
        }
    }

    /// How many launches of a generation lack.
    pub(super) fn deficit(&self, generation: Generation) -> u32 {
        let trouble = match &self.rollout {
            _ if self.leaving => return 0,
            Some(rollout) if rollout.to == generation => return rollout.deficit(self),
            Some(rollout) if rollout.taking_over() => return 0,
            _ if self.generation == generation => &self.trouble,
            _ => return 0,
        };
        if trouble.retry_at.is_some() {
            return 0;
        }
        let struggling = trouble.total() > 0;
        let canary = self.canary().map(|rollout| rollout.counts).unwrap_or_default();
        let room = self.policy.max.saturating_sub(self.counts.total());
        let others = self.counts.without(&canary);
        let warm = trouble.stock_wanted(self.policy.warm);
        sizing::deficit(&self.policy, warm, &others, self.queue.len(), struggling).min(room)
    }

    /// How many waiters there is or will be a container for without any other
    /// connection ending, when the daemons that can launch it have so much room.
    pub(super) fn launchable(&self, room: u32) -> u32 {
        let more = self.policy.max.saturating_sub(self.counts.total()).min(room);
        sizing::on_their_way(&self.counts).saturating_add(more)
    }

    /// Its launches have failed so often that nobody should wait for one.
    pub(super) fn failing(&self) -> Option<&Arc<str>> {
        let trouble = self.current_trouble();
        trouble.last_error.as_ref().filter(|_| trouble.total() >= self.policy.failing_after)
    }

    /// The same, while nothing is launched.
    pub(super) fn refusing(&self) -> Option<&Arc<str>> {
        self.failing().filter(|_| self.current_trouble().retry_at.is_some())
    }

    /// What went wrong last with what is launched now.
    pub(super) fn last_error(&self) -> Option<&Arc<str>> {
        self.current_trouble().last_error.as_ref()
    }
}

// === impl Trouble ===

impl Trouble {
    pub(super) const fn total(&self) -> u32 {
        self.failures + self.early_deaths
    }

    /// How many ready containers may be launched for, of those that are to be kept.
    pub(super) fn stock_wanted(&self, kept: u32) -> u32 {
        if self.losses.retry_at.is_some() { 0 } else { kept }
    }
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn service_added(
        &mut self,
        now: Instant,
        name: ServiceName,
        policy: Policy,
        generation: Generation,
    ) {
        let index = match self.services.get_full_mut(&name) {
            // Was removed, and may not be gone yet.
            Some((index, _, service)) => {
                service.adopt(policy);
                service.leaving = false;
                service.rolled_back = None;
                // With its pause, which is known by it.
                let before = service.generation;
                self.forget_lane((index, before));
                if let Some((_, service)) = self.services.get_index_mut(index) {
                    service.generation = generation;
                }
                index
            }
            None => self.services.insert_full(name, Service::new(policy, generation)).0,
        };
        self.await_daemons((index, generation));
        self.resized(now, index);
    }

    pub(super) fn service_changed(
        &mut self,
        now: Instant,
        name: &ServiceName,
        policy: Policy,
        generation: Generation,
    ) {
        let Some((index, _, service)) = self.services.get_full_mut(name) else { return };
        if service.leaving {
            return;
        }
        service.adopt(policy);
        let going = service.rollout.as_ref().map(|rollout| rollout.to);
        if going != Some(generation) {
            if going.is_some() {
                let reason = "another one was asked for".into();
                self.roll_back(now, index, GivenUp::Replaced, reason);
            }
            self.roll_out(index, generation);
        }
        // What was good enough before may be too much used now.
        let unwanted = |launch| Some((launch, self.unwanted(now, launch)?));
        let idle = self.of_service(index, |state| state == State::Idle);
        let unwanted: Vec<_> = idle.into_iter().filter_map(unwanted).collect();
        unwanted.into_iter().for_each(|(launch, reason)| self.retire(now, launch, reason));
        // With less reuse there may be less to hope for.
        self.doubtful.insert(index);
        self.spread.changed = true;
        self.resized(now, index);
    }

    pub(super) fn service_removed(&mut self, now: Instant, name: &ServiceName) {
        let Some((index, _, service)) = self.services.get_full_mut(name) else { return };
        service.leaving = true;
        let to = service.rollout.as_ref().map(|rollout| rollout.to);
        for generation in to.into_iter().chain([service.generation]) {
            self.forget_lane((index, generation));
        }
        if let Some((_, service)) = self.services.get_index_mut(index) {
            service.rollout = None;
        }
        self.rolling.remove(&index);
        self.refuse_all(now, index, &Refusal::Draining);
        for launch in self.of_service(index, |_| true) {
            match self.containers.get(&launch).map(|container| container.state) {
                Some(State::Idle | State::Unknown) => self.retire(now, launch, RetireReason::Drain),
                Some(State::Probing) => self.actions.push(Action::Interrupt { launch }),
                _ => {}
            }
        }
    }

    /// Drops all that was known of launches of a generation.
    pub(super) fn forget_lane(&mut self, lane: Lane) {
        self.hungry.remove(&lane);
        self.stuck.remove(&lane);
        self.release(lane);
        for daemon in self.daemons.values_mut() {
            daemon.prepared.remove(&lane);
            daemon.refusals.remove(&lane);
        }
        let service = self.services.get_index_mut(lane.0);
        let trouble = service.and_then(|(_, service)| service.trouble(lane.1));
        let Trouble { retry_at, losses, .. } = trouble.map(std::mem::take).unwrap_or_default();
        if let Some(at) = retry_at {
            self.timers.remove(&(at, Timer::Lane(lane)));
        }
        if let Some(at) = losses.retry_at {
            self.timers.remove(&(at, Timer::Stock(lane)));
        }
    }

    /// The containers of a service that are in such a state. Costs what there
    /// are containers.
    pub(super) fn of_service(&self, index: usize, wanted: impl Fn(State) -> bool) -> Vec<LaunchId> {
        let all = self.containers.iter();
        all.filter(|(_, c)| c.service == index && wanted(c.state)).map(|(id, _)| *id).collect()
    }
}
