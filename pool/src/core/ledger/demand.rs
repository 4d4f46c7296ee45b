//! Stocks that size themselves: what the ledger tells `core::demand`, and does about it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::Policy;
use super::super::demand::Demand;
use super::services::Service;
use super::{Generation, Ledger, Timer};

/// What is learnt of a service whose stock sizes itself.
#[derive(Debug, Default)]
pub(super) struct Learning {
    demand: Demand,
    /// Since when each container is wanted that no launch was ordered for, the longest
    /// first. `None` where that says nothing of how long one takes: many at once were.
    wanted: VecDeque<Option<Instant>>,
    /// When the demand is looked at though nobody came.
    review: Option<Instant>,
}

// === impl Service ===

impl Service {
    /// Is run by another policy. A stock that sizes itself begins with what it has.
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
        if self.learning.is_none() {
            return;
        }
        let lacking = usize::try_from(self.deficit(self.current())).unwrap_or(usize::MAX);
        if let Some(learning) = &mut self.learning {
            // Behind many that were wanted at once the wait of one says nothing.
            let since = since.filter(|_| learning.wanted.back() != Some(&None));
            learning.wanted.resize(lacking, since);
        }
    }

    /// A launch is ordered: since when it was wanted.
    pub(super) fn launched(&mut self, generation: Generation) -> Option<Instant> {
        let current = generation == self.current();
        self.learning.as_mut().filter(|_| current)?.wanted.pop_front().flatten()
    }

    /// A launch ended well, so long after it was wanted and ordered.
    pub(super) fn ready_after(&mut self, wanted: Option<Duration>, ordered: Duration) {
        if let Some(Learning { demand, .. }) = &mut self.learning {
            // Until better is known, what waiting for others would have added is left out.
            if let Some(lead) = wanted.or((!demand.knows_lead()).then_some(ordered)) {
                demand.launched(lead);
            }
        }
    }

    /// A container that was leased is in stock again.
    pub(super) fn came_back(&mut self) {
        if let Some(learning) = &mut self.learning {
            learning.demand.came_back();
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// Somebody wants a container of a service, and found one or waits for one.
    pub(super) fn arrived(&mut self, now: Instant, index: usize, found: bool) {
        if let Some((_, service)) = self.services.get_index_mut(index)
            && let (Some(auto), Some(learning)) = (&service.policy.auto, &mut service.learning)
        {
            // No stock helps where there may be no more containers.
            if found || service.counts.total() < service.policy.max {
                learning.demand.met(found, auto);
            }
            if learning.demand.arrived(now) {
                self.review(now, index);
            }
        }
    }

    /// Compares the stock of a service with its demand.
    pub(super) fn review(&mut self, now: Instant, index: usize) {
        if self.draining {
            return;
        }
        let Some((_, service)) = self.services.get_index_mut(index) else { return };
        if let (Some(auto), Some(learning)) = (&service.policy.auto, &mut service.learning)
            && !service.leaving
        {
            let (warm, hold) = (service.policy.warm, service.policy.surplus_after);
            service.policy.warm = learning.demand.wanted(now, auto, warm, hold);
            if warm != service.policy.warm {
                return self.resized(now, index);
            }
        }
        self.look_later(now, index);
    }

    /// What is wanted of a service has changed, though nothing has happened to it.
    pub(super) fn resized(&mut self, now: Instant, index: usize) {
        self.look_later(now, index);
        if let Some((_, service)) = self.services.get_index_mut(index) {
            service.note_wanted(None);
        }
        self.touch(now, index);
    }

    /// Sets the timer for the next look, which a stock at its least does without.
    fn look_later(&mut self, now: Instant, index: usize) {
        let Some((_, service)) = self.services.get_index_mut(index) else { return };
        let above = service.policy.auto.is_some_and(|auto| service.policy.warm > auto.min);
        let Some(learning) = &mut service.learning else { return };
        if let Some(at) = learning.review.take() {
            self.timers.remove(&(at, Timer::Demand(index)));
        }
        if above && !service.leaving && !self.draining {
            let at = now + learning.demand.look_after();
            self.timers.insert((at, Timer::Demand(index)));
            learning.review = Some(at);
        }
        if service.policy.auto.is_none() {
            service.learning = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Auto;
    use super::*;

    #[test]
    fn until_better_is_known_launches_tell_how_long_they_took_themselves() {
        let auto = Auto { misses: 1000, min: 1, max: 64 };
        let policy = Policy { auto: Some(auto), ..Policy::default() };
        let mut service = Service::new(policy, Generation::FIRST);
        let mut now = tokio::time::Instant::now().into_std();
        let mut looks_after = |wanted: Option<u64>, ordered| {
            service.ready_after(wanted.map(Duration::from_secs), Duration::from_secs(ordered));
            let demand = &mut service.learning.as_mut().unwrap().demand;
            demand.arrived(now);
            now += Duration::from_secs(600);
            demand.look_after()
        };
        assert_eq!(looks_after(None, 4), Duration::from_secs(4));
        // From then on, only what says how long one is waited for.
        (0..9).for_each(|_| assert_eq!(looks_after(None, 64), Duration::from_secs(4)));
    }
}
