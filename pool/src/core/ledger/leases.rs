//! Waiters and leases.

use std::time::Instant;

use super::super::{Outcome, Refusal, StartKind};
use super::{
    Action, Daemon, LaunchId, Ledger, Proof, RetireReason, ServiceName, State, Timer, Vouched,
    WaiterId,
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
        let Some(index) = self.services.get_index_of(name) else {
            let (service, refusal) = (name.clone(), Refusal::UnknownService);
            self.actions.push(Action::Refuse { waiter, service, refusal });
            return;
        };
        self.used(now, index);
        let Some((_, service)) = self.services.get_index(index) else { return };
        let refusal = if self.draining || service.leaving {
            Some(Refusal::Draining)
        } else if !service.admin.is_ready() {
            Some(Refusal::Operator { state: service.admin })
        } else if let Some(next) = service.next() {
            self.grant(now, waiter, next, false);
            self.arrived(now, index, true);
            return;
        } else if let Some(reason) = service.refusing() {
            Some(Refusal::Failing { reason: reason.clone() })
        } else {
            self.hopeless(index).map(|reason| Refusal::NoDaemon { reason })
        };
        let mut place = 0;
        let refusal = refusal.or_else(|| {
            // One for whom there is or will be a launch does not wait for others;
            // the daemons are asked only where that matters.
            let (_, service) = self.services.get_index(index)?;
            let mut limit = service.policy.queue_length;
            if service.queue.len() >= limit {
                limit = limit.saturating_add(service.launchable(self.room_for(index)));
            }
            let (_, service) = self.services.get_index_mut(index)?;
            let Some(queued) = service.queue.push(now, waiter, deadline, limit) else {
                return Some(Refusal::QueueFull);
            };
            service.totals.waited += 1;
            place = queued;
            None
        });
        match refusal {
            Some(refusal) => self.refuse(index, waiter, refusal),
            None => {
                self.actions.push(Action::Queued { waiter, place });
                self.waiting.insert(waiter, index);
                self.timers.insert((deadline, Timer::Waiter(waiter)));
                self.touch(now, index);
                self.arrived(now, index, false);
            }
        }
    }

    pub(super) fn abandoned(&mut self, now: Instant, waiter: WaiterId) {
        // What was launched for it stays wanted by nobody, and becomes surplus
        // stock: launches are not aborted.
        let Some(index) = self.waiting.remove(&waiter) else {
            return;
        };
        let Some((_, service)) = self.services.get_index_mut(index) else {
            return;
        };
        service.totals.abandoned += 1;
        if let Some(deadline) = service.queue.remove(waiter) {
            self.timers.remove(&(deadline, Timer::Waiter(waiter)));
            self.touch(now, index);
        }
    }

    pub(super) fn timed_out(&mut self, now: Instant, waiter: WaiterId) {
        let Some(index) = self.waiting.remove(&waiter) else {
            return;
        };
        let Some((_, service)) = self.services.get_index_mut(index) else {
            return;
        };
        service.queue.remove(waiter);
        let reason = service.last_error().cloned();
        self.refuse(index, waiter, Refusal::TimedOut { reason });
        self.touch(now, index);
    }

    pub(super) fn returned(&mut self, now: Instant, launch: LaunchId, outcome: Outcome) {
        let Some(container) = self.containers.get_mut(&launch) else {
            return;
        };
        if container.state != State::Leased {
            return;
        }
        let condemned = container.condemned;
        if outcome == Outcome::Unused {
            container.uses -= 1;
            return match condemned.or_else(|| self.unwanted(now, launch)) {
                Some(reason) => self.retire(now, launch, reason),
                // It has shown nothing.
                None if self.out_of_contact(launch) => self.doubt(now, launch),
                None => self.put_in_stock(now, launch, Proof::Itself),
            };
        }
        let (index, young, born) = (container.service, container.young(now), container.born);
        let (generation, uses) = (container.generation, container.uses);
        self.used(now, index);
        if let Some((_, service)) = self.services.get_index_mut(index) {
            service.lease_ended(generation, outcome);
        }
        if outcome != Outcome::Dud {
            self.served(now, (index, generation));
        }
        let Some((_, service)) = self.services.get_index(index) else { return };
        let verdict = if let Some(reason) = condemned {
            Some(reason)
        } else if outcome == Outcome::Ended {
            Some(RetireReason::Died)
        } else if outcome != Outcome::Clean {
            Some(RetireReason::Failed)
        } else if uses > service.policy.reuse {
            Some(RetireReason::Spent)
        } else if !service.reuses(generation) || self.gives_way(launch) {
            Some(RetireReason::Generation)
        } else {
            None
        };
        if let Some(age) = young.filter(|_| outcome == Outcome::Dud) {
            let what = "failed its client before either had sent anything";
            self.died_young(now, (index, generation), born, age, what);
        }
        match verdict.or_else(|| self.unwanted(now, launch)) {
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
        match (container.condemned, proof, container.vouched) {
            (Some(reason), ..) => self.retire(now, launch, reason),
            (None, Some(proof), _) => self.put_in_stock(now, launch, proof),
            // The check may have needed the engine, which was not there then.
            (None, None, Vouched::Shown) => self.put_in_stock(now, launch, Proof::Itself),
            (None, None, Vouched::Asked) => match self.unwanted(now, launch) {
                Some(reason) => self.retire(now, launch, reason),
                None => self.transit(now, launch, State::Unknown),
            },
            (None, None, _) => self.retire(now, launch, RetireReason::Check),
        }
    }

    pub(super) fn serve(&mut self, now: Instant, index: usize) {
        while let Some((_, service)) = self.services.get_index_mut(index)
            && let Some(next) = service.next()
            && let Some((waiter, deadline)) = service.queue.pop_oldest()
        {
            self.waiting.remove(&waiter);
            self.timers.remove(&(deadline, Timer::Waiter(waiter)));
            self.grant(now, waiter, next, true);
        }
    }

    fn grant(&mut self, now: Instant, waiter: WaiterId, launch: LaunchId, waited: bool) {
        let Some(container) = self.containers.get(&launch) else { return };
        let (index, generation) = (container.service, container.generation);
        let mut ready = 0;
        if let Some((_, service)) = self.services.get_index_mut(index) {
            ready = service.stock.len();
            service.lease_given(generation);
        }
        self.transit(now, launch, State::Leased);
        let Some(container) = self.containers.get_mut(&launch) else { return };
        let start = match (container.uses, waited) {
            (0, true) => StartKind::Cold,
            (0, false) => StartKind::Warm,
            _ => StartKind::Reused,
        };
        container.uses += 1;
        let (uses, daemon) = (container.uses, container.daemon.clone());
        let young = container.young(now).is_some();
        if let Some((name, service)) = self.services.get_index_mut(index) {
            debug_assert!(uses <= service.policy.reuse + 1, "I5: {name}: {launch:?}: {uses}");
            *service.totals.leases.entry(start).or_default() += 1;
        }
        if !young {
            self.served(now, (index, generation));
        }
        self.actions.push(Action::Grant { waiter, launch, daemon, start, uses, ready });
    }

    pub(super) fn refuse(&mut self, index: usize, waiter: WaiterId, refusal: Refusal) {
        let Some((name, service)) = self.services.get_index_mut(index) else { return };
        *service.totals.refused.entry(refusal.kind()).or_default() += 1;
        self.actions.push(Action::Refuse { waiter, service: name.clone(), refusal });
    }

    /// Refuses everybody who waits for a service.
    pub(super) fn refuse_all(&mut self, now: Instant, index: usize, refusal: &Refusal) {
        while let Some((_, service)) = self.services.get_index_mut(index)
            && let Some((waiter, deadline)) = service.queue.pop_oldest()
        {
            self.waiting.remove(&waiter);
            self.timers.remove(&(deadline, Timer::Waiter(waiter)));
            self.refuse(index, waiter, refusal.clone());
        }
        self.touch(now, index);
    }

    /// How many containers of a service the daemons that can launch it would take.
    fn room_for(&self, index: usize) -> u32 {
        let Some((_, service)) = self.services.get_index(index) else { return 0 };
        let lane = (index, service.current());
        let able = self.daemons.values().filter(|daemon| daemon.can_launch(lane));
        able.map(Daemon::room).fold(0, u32::saturating_add)
    }
}
