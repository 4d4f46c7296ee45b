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
