//! Waiters and leases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Outcome, Refusal, StartKind, sizing};
use super::{
    Action, Contact, Daemon, Lane, LaunchId, Ledger, Proof, RetireReason, ServiceName, State,
    Timer, Vouched, WaiterId,
};

/// Of so many daemons it is said why they cannot launch a service.
const REASONS: usize = 3;

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
            self.actions.push(Action::Refuse { waiter, refusal: Refusal::UnknownService });
            return;
        };
        self.used(now, index);
        let Some((_, service)) = self.services.get_index(index) else { return };
        let refusal = if self.draining || service.leaving {
            Some(Refusal::Draining)
        } else if let Some(next) = service.next() {
            self.grant(now, waiter, next, false);
            self.arrived(now, index, true);
            return;
        } else if let Some(reason) = service.refusing() {
            Some(Refusal::Failing { reason: reason.clone() })
        } else {
            self.hopeless(index).map(|reason| Refusal::NoDaemon { reason })
        };
        let refusal = refusal.or_else(|| {
            // One for whom there is or will be a launch does not wait for others;
            // the daemons are asked only where that matters.
            let (_, service) = self.services.get_index(index)?;
            let mut limit = service.policy.queue_length;
            if service.queue.len() >= limit {
                limit = limit.saturating_add(service.launchable(self.room_for(index)));
            }
            let (_, service) = self.services.get_index_mut(index)?;
            let queued = service.queue.push(waiter, deadline, limit);
            (!queued).then_some(Refusal::QueueFull)
        });
        match refusal {
            Some(refusal) => self.refuse(index, waiter, refusal),
            None => {
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
                None => self.shelve(now, launch, Proof::Itself),
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
            (None, Some(proof), _) => self.shelve(now, launch, proof),
            // The check may have needed the engine, which was not there then.
            (None, None, Vouched::Shown) => self.shelve(now, launch, Proof::Itself),
            (None, None, Vouched::Asked) => match self.unwanted(now, launch) {
                Some(reason) => self.retire(now, launch, reason),
                None => self.transit(now, launch, State::Unknown),
            },
            (None, None, _) => self.retire(now, launch, RetireReason::Check),
        }
    }

    /// Puts a container that can serve into stock, unless it is unwanted, and
    /// serves whoever waits longest.
    pub(super) fn shelve(&mut self, now: Instant, launch: LaunchId, proof: Proof) {
        if let Some(reason) = self.unwanted(now, launch) {
            return self.retire(now, launch, reason);
        }
        let Some(container) = self.containers.get(&launch) else { return };
        let index = container.service;
        let vouched = match self.proved_until(now, launch, proof) {
            None => Vouched::Listed,
            Some(until) if until > now => Vouched::Until(until),
            Some(_) if container.state == State::Unknown => return,
            Some(_) => return self.transit(now, launch, State::Unknown),
        };
        self.transit(now, launch, State::Idle);
        self.vouch(launch, vouched);
        self.serve(now, index);
    }

    /// Until when a container that has proved itself is leased; `None` while its daemon
    /// lists it.
    fn proved_until(&self, now: Instant, launch: LaunchId, proof: Proof) -> Option<Instant> {
        let container = self.containers.get(&launch)?;
        let contact = self.daemons.get(&container.daemon).map(|daemon| &daemon.contact);
        let service = self.services.get_index(container.service);
        let proved = service.map_or(Duration::ZERO, |(_, s)| s.policy.proved_for(launch));
        match (contact, proof) {
            (Some(Contact::Up), _) => None,
            // The address may have gone over to another by now.
            (Some(Contact::Down(_, since)), Proof::Address) => Some(*since + proved),
            (_, Proof::Address) => Some(now),
            (_, Proof::Itself) => Some(now + proved),
        }
    }

    /// Whether the daemon of a container is unreachable, or was not reached yet.
    fn out_of_contact(&self, launch: LaunchId) -> bool {
        let daemon = self.containers.get(&launch).and_then(|c| self.daemons.get(&c.daemon));
        daemon.is_none_or(|daemon| daemon.contact != Contact::Up)
    }

    /// Why a container must not go to stock, if so.
    pub(super) fn unwanted(&self, now: Instant, launch: LaunchId) -> Option<RetireReason> {
        let container = self.containers.get(&launch)?;
        let (_, service) = self.services.get_index(container.service)?;
        let daemon = self.daemons.get(&container.daemon);
        if self.draining || service.leaving || daemon.is_none_or(|daemon| daemon.leaving) {
            Some(RetireReason::Drain)
        } else if !service.keeps(container.generation) {
            Some(RetireReason::Generation)
        } else if container.expired(now) {
            Some(RetireReason::Age)
        } else if container.uses > service.policy.reuse {
            Some(RetireReason::Spent)
        } else {
            None
        }
    }

    fn serve(&mut self, now: Instant, index: usize) {
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
        if let Some((_, service)) = self.services.get_index_mut(index) {
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
        self.actions.push(Action::Grant { waiter, launch, daemon, start, uses });
    }

    pub(super) fn refuse(&mut self, index: usize, waiter: WaiterId, refusal: Refusal) {
        if let Some((_, service)) = self.services.get_index_mut(index) {
            *service.totals.refused.entry(refusal.kind()).or_default() += 1;
        }
        self.actions.push(Action::Refuse { waiter, refusal });
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

    /// Refuses those who wait for what cannot come.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some(index) = self.doubtful.pop_first() {
            let waits = self.services.get_index(index).is_some_and(|(_, s)| s.queue.len() > 0);
            if waits && let Some(reason) = self.hopeless(index) {
                self.refuse_all(now, index, &Refusal::NoDaemon { reason });
            }
        }
    }

    /// Why there will be no container for a waiter of a service, when that is
    /// certain: none is on its way or to be used again, and no daemon can launch one.
    pub(super) fn hopeless(&self, index: usize) -> Option<Arc<str>> {
        let (_, service) = self.services.get_index(index)?;
        let returning = if service.policy.reuse > 0 { service.counts[State::Leased] } else { 0 };
        if sizing::on_their_way(&service.counts) + returning > 0 {
            return None;
        }
        let mut lanes = service.lanes().map(|generation| (index, generation));
        let reason = self.unlaunchable(lanes.next()?)?;
        // What is on trial may serve them, too.
        lanes.all(|lane| self.unlaunchable(lane).is_some()).then_some(reason)
    }

    /// Why no daemon can launch what is in a lane, when that is certain.
    pub(super) fn unlaunchable(&self, lane: Lane) -> Option<Arc<str>> {
        let mut reasons = Vec::new();
        for (name, daemon) in &self.daemons {
            let (reason, answered) = daemon.unfit_for(lane)?;
            // Those that answer first: what they say is about the service.
            reasons.push((!answered, name, reason));
        }
        reasons.sort();
        let said =
            reasons.iter().take(REASONS).map(|(_, name, reason)| format!("{name}: {reason}"));
        let mut said: Vec<_> = said.collect();
        match reasons.len() {
            0 => said.push("there is no daemon".to_owned()),
            n if n > REASONS => said.push(format!("and {} more", n - REASONS)),
            _ => {}
        }
        Some(said.join("; ").into())
    }
}
