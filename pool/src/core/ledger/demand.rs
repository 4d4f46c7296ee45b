//! Stocks that size themselves: the ledger's calls of `core::demand`, and their effects.

use std::time::Instant;

use super::{Action, Ledger, ServiceId, Timer};

// === impl Ledger ===

impl Ledger {
    /// Somebody wants a container of a service, and found one or waits for one.
    pub(super) fn arrived(&mut self, now: Instant, id: ServiceId, found: bool) {
        let service = &mut self.services[id];
        if let (Some(auto), Some(learning)) = (&service.policy.auto, &mut service.learning) {
            // At `max` a larger stock would not have helped.
            if found || service.counts.total() < service.policy.max {
                learning.demand.met(found, auto);
            }
            if learning.demand.arrived(now) {
                // Notes what lacks for this arrival, before a larger stock lacks more.
                self.services[id].note_wanted(Some(now));
                self.review(now, id);
            }
        }
    }

    /// Compares the stock of a service with its demand.
    pub(super) fn review(&mut self, now: Instant, id: ServiceId) {
        if self.draining {
            return;
        }
        let service = &mut self.services[id];
        if let (Some(auto), Some(learning)) = (&service.policy.auto, &mut service.learning)
            && !service.leaving
        {
            let (warm, hold) = (service.policy.warm, service.policy.surplus_after);
            service.policy.warm = learning.demand.wanted(now, auto, warm, hold);
            if warm != service.policy.warm {
                let (service, warm) = (service.name.clone(), service.policy.warm);
                self.actions.push(Action::Resized { service, warm });
                return self.resized(now, id);
            }
        }
        self.look_later(now, id);
    }

    /// The number of containers that a service wants has changed without an arrival.
    pub(super) fn resized(&mut self, now: Instant, id: ServiceId) {
        self.look_later(now, id);
        self.services[id].note_wanted(None);
    }

    /// Sets the timer for the next review, unless the stock is at its minimum.
    fn look_later(&mut self, now: Instant, id: ServiceId) {
        let service = &mut self.services[id];
        let above = service.policy.auto.is_some_and(|auto| service.policy.warm > auto.min);
        let Some(learning) = &mut service.learning else { return };
        if let Some(at) = learning.review.take() {
            self.timers.remove(&(at, Timer::Demand(id)));
        }
        if above && !service.leaving && !self.draining {
            let at = now + learning.demand.look_after();
            self.timers.insert((at, Timer::Demand(id)));
            learning.review = Some(at);
        }
        if service.policy.auto.is_none() {
            service.learning = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::{Auto, Capacity, Event, Generation, Launches, Policy, WaiterId};
    use super::*;

    #[test]
    fn an_arrival_that_enlarges_the_stock_teaches_how_long_its_container_takes() {
        let (service, daemon) = ("s".into(), "d".into());
        let auto = Auto { misses: 1000, min: 0, max: 64 };
        let policy = Policy { auto: Some(auto), warm: 0, max: 200, ..Policy::default() };
        let (generation, mut now) = (Generation::FIRST, tokio::time::Instant::now().into_std());
        let mut ledger = Ledger::new();
        let capacity = Capacity { containers: 200, tier: 0 };
        for event in [
            Event::ServiceAdded { service, policy, generation },
            Event::DaemonJoined { daemon, capacity },
            Event::DaemonUp { daemon: "d".into(), launches: Launches::Fixed(1) },
            Event::Listed { daemon: "d".into(), began: now, owned: Vec::new(), others: 0 },
            Event::Prepared { daemon: "d".into(), service: "s".into(), generation, result: Ok(()) },
        ] {
            ledger.handle(now, event);
        }
        let id = ledger.services.id(&"s".into()).unwrap();
        // One launch at a time: every further client waits for a container without a launch.
        for waiter in 1..100 {
            now += Duration::from_millis(700);
            let (deadline, service) = (now + Duration::from_secs(600), "s".into());
            let waiter = WaiterId(waiter);
            let actions = ledger.handle(now, Event::Lease { waiter, service, deadline });
            if actions.iter().any(|action| matches!(action, Action::Resized { .. })) {
                let wanted = ledger.services[id].learning.as_ref().unwrap().wanted_since();
                assert!(wanted.contains(&Some(now)), "{waiter:?}: {wanted:?}");
                assert!(wanted.ends_with(&[None]), "the larger stock is wanted by nobody");
                return;
            }
        }
        unreachable!("the stock was never enlarged");
    }
}
