//! The record of one service.

use std::sync::Arc;
use std::time::Instant;

use super::super::queue::Queue;
use super::super::stock::Stock;
use super::super::{AdminState, Counts, Outcome, Policy, Stage, sizing};
use super::failure_streak::FailureStreak;
use super::hedge::Hedges;
use super::learning::Learning;
use super::rollout::Rollout;
use super::totals::Totals;
use super::{Generation, LaunchId, ServiceName, State};

#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: ServiceName,
    pub(super) policy: Policy,
    /// The generation that is launched; during a rollout, the one to fall back on.
    pub(super) generation: Generation,
    /// The rollout under way, if any.
    pub(super) rollout: Option<Rollout>,
    /// The last generation that was rolled back, and why.
    pub(super) rolled_back: Option<(Generation, Arc<str>)>,
    /// The service was removed: it is drained.
    pub(super) leaving: bool,
    /// Whether the operator lets it be used.
    pub(super) admin: AdminState,
    pub(super) counts: Counts,
    pub(super) stock: Stock,
    pub(super) queue: Queue,
    pub(super) streak: FailureStreak,
    pub(super) window: Option<Window>,
    /// The learnt demand, if the stock sizes itself; `policy.warm` follows it.
    pub(super) learning: Option<Learning>,
    pub(super) hedges: Hedges,
    /// When a lease was asked for or ended last.
    pub(super) used: Option<Instant>,
    /// Its stock was moved, and may not be spread yet.
    pub(super) spreading: bool,
    pub(super) totals: Totals,
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
    pub(super) fn new(name: ServiceName, policy: Policy, generation: Generation) -> Self {
        let learning = policy.auto.map(|_| Learning::default());
        Self {
            name,
            policy,
            generation,
            learning,
            rollout: None,
            rolled_back: None,
            leaving: false,
            admin: AdminState::Ready,
            counts: Counts::default(),
            stock: Stock::default(),
            queue: Queue::default(),
            streak: FailureStreak::default(),
            window: None,
            hedges: Hedges::default(),
            used: None,
            spreading: false,
            totals: Totals::default(),
        }
    }

    /// Whether its containers may be launched and leased, as far as configuration and operator
    /// say.
    pub(super) fn in_service(&self) -> bool {
        !self.leaving && self.admin.is_ready()
    }

    /// The generation that is launched for waiters and stock.
    pub(super) fn current(&self) -> Generation {
        match &self.rollout {
            Some(rollout) if rollout.taking_over() => rollout.to,
            _ => self.generation,
        }
    }

    /// The generations that may be launched: one, or both until the new one takes over.
    pub(super) fn launched_generations(&self) -> impl Iterator<Item = Generation> + Clone + use<> {
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

    /// The container that is leased next: one of a canary when its turn has come.
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

    /// A lease of a container has ended.
    pub(super) fn lease_ended(&mut self, generation: Generation, outcome: Outcome) {
        if let Some(rollout) = self.rollout.as_mut().filter(|r| r.stage == Stage::Canary) {
            rollout.canary.ended(rollout.to == generation, outcome);
        }
    }

    /// The container to retire when the stock is too large: a canary's, if it has too many.
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
    pub(super) fn wants_generation(&self, generation: Generation) -> bool {
        !self.leaving
            && (generation == self.generation
                || self.rollout.as_ref().is_some_and(|rollout| rollout.to == generation))
    }

    /// The failures of a generation in a row; `None` if it is not launched any more.
    pub(super) fn failures_of(&mut self, generation: Generation) -> Option<&mut FailureStreak> {
        match &mut self.rollout {
            Some(rollout) if rollout.to == generation => Some(&mut rollout.streak),
            _ if self.generation == generation => Some(&mut self.streak),
            _ => None,
        }
    }

    fn current_failures(&self) -> &FailureStreak {
        match &self.rollout {
            Some(rollout) if rollout.taking_over() => &rollout.streak,
            _ => &self.streak,
        }
    }

    /// How many launches of a generation lack.
    pub(super) fn deficit(&self, generation: Generation) -> u32 {
        let streak = match &self.rollout {
            _ if !self.in_service() => return 0,
            Some(rollout) if rollout.to == generation => {
                return rollout.deficit(&self.policy, &self.counts, self.queue.len());
            }
            Some(rollout) if rollout.taking_over() => return 0,
            _ if self.generation == generation => &self.streak,
            _ => return 0,
        };
        if streak.retry_at.is_some() {
            return 0;
        }
        let struggling = streak.total() > 0;
        let canary = self.canary().map(|rollout| rollout.counts).unwrap_or_default();
        let room = self.policy.max.saturating_sub(self.counts.total());
        let others = self.counts.without(&canary);
        let warm = streak.stock_wanted(self.policy.warm);
        sizing::deficit(&self.policy, warm, &others, self.queue.len(), struggling).min(room)
    }

    /// How many waiters get a container without another connection ending, when the
    /// daemons that can launch the service have so much room.
    pub(super) fn launchable(&self, room: u32) -> u32 {
        let more = self.policy.max.saturating_sub(self.counts.total()).min(room);
        sizing::on_their_way(&self.counts).saturating_add(more)
    }

    /// The last error, if launches fail so often that nobody should wait for one.
    pub(super) fn failing(&self) -> Option<&Arc<str>> {
        let streak = self.current_failures();
        streak.last_error.as_ref().filter(|_| streak.total() >= self.policy.failing_after)
    }

    /// The same, while nothing is launched.
    pub(super) fn refusing(&self) -> Option<&Arc<str>> {
        self.failing().filter(|_| self.current_failures().retry_at.is_some())
    }

    /// The last failure of the current generation.
    pub(super) fn last_error(&self) -> Option<&Arc<str>> {
        self.current_failures().last_error.as_ref()
    }

    /// Takes over another policy. A stock that sizes itself keeps its size, within bounds.
    pub(super) fn adopt(&mut self, policy: Policy) {
        let warm = match (&policy.auto, &self.learning) {
            (Some(auto), Some(_)) => self.policy.warm.clamp(auto.min, auto.max),
            _ => policy.warm,
        };
        if policy.auto.is_some() {
            self.learning.get_or_insert_default();
        }
        self.policy = Policy { warm, ..policy };
    }

    /// Takes note of how many containers lack; of those that have just begun to, `since`.
    pub(super) fn note_wanted(&mut self, since: Option<Instant>) {
        let lacking = if self.learning.is_some() { self.deficit(self.current()) } else { 0 };
        if let Some(learning) = &mut self.learning {
            learning.note_wanted(lacking, since);
        }
    }

    /// A launch is ordered. Returns since when it was wanted, as far as that is learnt from.
    pub(super) fn launched(&mut self, generation: Generation) -> Option<Instant> {
        let current = generation == self.current();
        self.learning.as_mut().filter(|_| current)?.launched()
    }
}
