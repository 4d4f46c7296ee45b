//! Waiters and leases.

use std::time::Instant;

use super::super::{Outcome, Refusal, StartKind};
use super::{
    Action, Container, Daemon, LaunchId, Ledger, Liveness, Proof, RetireReason, ServiceId,
    ServiceName, State, Timer, WaiterId,
};

// === impl Ledger ===

impl Ledger {
    pub(super) fn lease(
        &mut self,
        now: Instant,
        waiter: WaiterId,
        name: &ServiceName,
        deadline: Instant,
    ) {
        let Some(id) = self.services.id(name) else {
            let (service, refusal) = (name.clone(), Refusal::UnknownService);
            self.actions.push(Action::Refuse { waiter, service, refusal });
            return;
        };
        self.used(now, id);
        let service = &self.services[id];
        let refusal = if self.draining || service.leaving {
            Some(Refusal::Draining)
        } else if !service.admin.is_ready() {
            Some(Refusal::Operator { state: service.admin })
        } else if let Some(next) = service.next() {
            self.grant(now, waiter, next, false);
            self.arrived(now, id, true);
            return;
        } else if let Some(reason) = service.refusing() {
            Some(Refusal::Failing { reason: reason.clone() })
        } else {
            self.hopeless(id).map(|reason| Refusal::NoDaemon { reason })
        };
        let mut place = 0;
        let refusal = refusal.or_else(|| {
            // Clients for whom there is or will be a launch do not count against
            // the limit; the daemons are asked only where that matters.
            let service = &self.services[id];
            let mut limit = service.policy.queue_length;
            if service.queue.len() >= limit {
                limit = limit.saturating_add(service.launchable(self.room_for(id)));
            }
            let service = &mut self.services[id];
            let Some(queued) = service.queue.push(now, waiter, deadline, limit) else {
                return Some(Refusal::QueueFull);
            };
            service.totals.waited += 1;
            place = queued;
            None
        });
        match refusal {
            Some(refusal) => self.refuse(id, waiter, refusal),
            None => {
                self.actions.push(Action::Queued { waiter, place });
                self.waiting.insert(waiter, id);
                self.timers.insert((deadline, Timer::Waiter(waiter)));
                self.arrived(now, id, false);
            }
        }
    }

    pub(super) fn abandoned(&mut self, waiter: WaiterId) {
        // A container launched for it becomes surplus stock: launches are not
        // aborted.
        let Some(id) = self.waiting.remove(&waiter) else { return };
        let service = &mut self.services[id];
        service.totals.abandoned += 1;
        if let Some(deadline) = service.queue.remove(waiter) {
            self.timers.remove(&(deadline, Timer::Waiter(waiter)));
        }
    }

    pub(super) fn timed_out(&mut self, waiter: WaiterId) {
        let Some(id) = self.waiting.remove(&waiter) else { return };
        let service = &mut self.services[id];
        service.queue.remove(waiter);
        let reason = service.last_error().cloned();
        self.refuse(id, waiter, Refusal::TimedOut { reason });
    }

    pub(super) fn returned(&mut self, now: Instant, launch: LaunchId, outcome: Outcome) {
        let Some(container) = self.containers.get_mut(&launch) else {
            return;
        };
        if container.state != State::Leased {
            return;
        }
        let retire_as = container.retire_as;
        if outcome == Outcome::Unused {
            container.uses -= 1;
            return match retire_as.or_else(|| self.retire_reason_now(now, launch)) {
                Some(reason) => self.retire(now, launch, reason),
                // An unused lease is no proof.
                None if self.out_of_contact(launch) => self.recheck(now, launch),
                None => self.put_in_stock(now, launch, Proof::Itself),
            };
        }
        let Container { service: id, generation, uses, born, .. } = *container;
        let early_age = container.early_age(now).filter(|_| container.is_left_alone(now));
        self.used(now, id);
        self.services[id].lease_ended(generation, outcome);
        if outcome != Outcome::FailedUnprovoked {
            self.served(now, (id, generation));
        }
        let service = &self.services[id];
        let verdict = if let Some(reason) = retire_as {
            Some(reason)
        } else if outcome == Outcome::Ended {
            Some(RetireReason::Died)
        } else if outcome != Outcome::Clean {
            Some(RetireReason::Failed)
        } else if uses > service.policy.reuse {
            Some(RetireReason::Spent)
        } else if !service.reuses(generation) || self.makes_room_for_rollout(launch) {
            Some(RetireReason::Generation)
        } else {
            None
        };
        if let Some(age) = early_age.filter(|_| outcome == Outcome::FailedUnprovoked) {
            let what = "failed its client before either had sent anything";
            self.failed_early(now, (id, generation), born, age, what);
        }
        match verdict.or_else(|| self.retire_reason_now(now, launch)) {
            Some(reason) => self.retire(now, launch, reason),
            None => {
                self.transit(now, launch, State::Checking);
                self.actions.push(Action::Check { launch });
            }
        }
    }

    pub(super) fn checked(&mut self, now: Instant, launch: LaunchId, proof: Option<Proof>) {
        let Some(container) = self.containers.get(&launch) else {
            return;
        };
        if container.state != State::Checking {
            return;
        }
        match (container.retire_as, proof, container.liveness) {
            (Some(reason), ..) => self.retire(now, launch, reason),
            (None, Some(proof), _) => self.put_in_stock(now, launch, proof),
            // The check may have failed for want of contact with the engine.
            (None, None, Liveness::Relisted) => self.put_in_stock(now, launch, Proof::Itself),
            (None, None, Liveness::Unproven) => match self.retire_reason_now(now, launch) {
                Some(reason) => self.retire(now, launch, reason),
                None => self.transit(now, launch, State::Unknown),
            },
            (None, None, _) => self.retire(now, launch, RetireReason::Check),
        }
    }

    pub(super) fn serve(&mut self, now: Instant, id: ServiceId) {
        while let Some(next) = self.services[id].next()
            && let Some((waiter, deadline)) = self.services[id].queue.pop_oldest()
        {
            self.waiting.remove(&waiter);
            self.timers.remove(&(deadline, Timer::Waiter(waiter)));
            self.grant(now, waiter, next, true);
        }
    }

    fn grant(&mut self, now: Instant, waiter: WaiterId, launch: LaunchId, waited: bool) {
        let Container { service: id, generation, .. } = self.containers[launch];
        let service = &mut self.services[id];
        let ready = service.stock.len();
        service.lease_given(generation);
        self.transit(now, launch, State::Leased);
        let container = &mut self.containers[launch];
        let start = match (container.uses, waited) {
            (0, true) => StartKind::Cold,
            (0, false) => StartKind::Warm,
            _ => StartKind::Reused,
        };
        container.uses += 1;
        let uses = container.uses;
        let daemon = self.daemons[container.daemon].name.clone();
        let is_early = container.early_age(now).is_some();
        let service = &mut self.services[id];
        let most = service.policy.reuse + 1;
        debug_assert!(uses <= most, "I5: {}: {launch:?}: {uses}", service.name);
        *service.totals.leases.entry(start).or_default() += 1;
        if !is_early {
            self.served(now, (id, generation));
        }
        self.actions.push(Action::Grant { waiter, launch, daemon, start, uses, ready });
    }

    pub(super) fn refuse(&mut self, id: ServiceId, waiter: WaiterId, refusal: Refusal) {
        let service = &mut self.services[id];
        *service.totals.refused.entry(refusal.kind()).or_default() += 1;
        self.actions.push(Action::Refuse { waiter, service: service.name.clone(), refusal });
    }

    /// Refuses everybody who waits for a service.
    pub(super) fn refuse_all(&mut self, id: ServiceId, refusal: &Refusal) {
        while let Some((waiter, deadline)) = self.services[id].queue.pop_oldest() {
            self.waiting.remove(&waiter);
            self.timers.remove(&(deadline, Timer::Waiter(waiter)));
            self.refuse(id, waiter, refusal.clone());
        }
    }

    /// How many containers of a service the daemons that can launch it would take.
    fn room_for(&self, id: ServiceId) -> u32 {
        let spec = (id, self.services[id].current());
        let able = self.daemons.values().filter(|daemon| daemon.can_launch(spec));
        able.map(Daemon::room).fold(0, u32::saturating_add)
    }
}
