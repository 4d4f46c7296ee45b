//! Services: added, changed, removed.

use std::time::Instant;

use super::super::{AdminState, GivenUp, Policy, Refusal};
use super::failure_streak::FailureStreak;
use super::service::Service;
use super::{
    Action, Generation, LaunchId, Ledger, RetireReason, ServiceId, ServiceName, SpecKey, State,
    Timer,
};

// === impl Ledger ===

impl Ledger {
    pub(super) fn service_added(
        &mut self,
        now: Instant,
        name: ServiceName,
        policy: Policy,
        generation: Generation,
    ) {
        let id = match self.services.id(&name) {
            // Was removed, and may not be gone yet.
            Some(id) => {
                let service = &mut self.services[id];
                service.adopt(policy);
                service.leaving = false;
                service.rolled_back = None;
                // Also ends its pause: the timer is keyed by the generation.
                let before = service.generation;
                self.forget_spec((id, before));
                self.services[id].generation = generation;
                id
            }
            None => self.services.add(name.clone(), Service::new(name, policy, generation)),
        };
        self.await_daemons((id, generation));
        self.resized(now, id);
    }

    pub(super) fn service_changed(
        &mut self,
        now: Instant,
        name: &ServiceName,
        policy: Policy,
        generation: Generation,
    ) {
        let Some(id) = self.services.id(name) else { return };
        let service = &mut self.services[id];
        if service.leaving {
            return;
        }
        service.adopt(policy);
        let going = service.rollout.as_ref().map(|rollout| rollout.to);
        if going != Some(generation) {
            if going.is_some() {
                let reason = "another one was asked for".into();
                self.roll_back(now, id, GivenUp::Replaced, reason);
            }
            self.roll_out(id, generation);
        }
        // A lower `reuse` may make containers in stock spent.
        let reason_of = |launch| Some((launch, self.retire_reason_now(now, launch)?));
        let idle = self.of_service(id, |state| state == State::Idle);
        let to_retire: Vec<_> = idle.into_iter().filter_map(reason_of).collect();
        to_retire.into_iter().for_each(|(launch, reason)| self.retire(now, launch, reason));
        self.spread.changed = true;
        self.resized(now, id);
    }

    pub(super) fn service_removed(&mut self, now: Instant, name: &ServiceName) {
        let Some(id) = self.services.id(name) else { return };
        let service = &mut self.services[id];
        service.leaving = true;
        service.admin = AdminState::Ready;
        let to = service.rollout.as_ref().map(|rollout| rollout.to);
        for generation in to.into_iter().chain([service.generation]) {
            self.forget_spec((id, generation));
        }
        self.services[id].rollout = None;
        self.refuse_all(id, &Refusal::Draining);
        for launch in self.of_service(id, |_| true) {
            match self.containers[launch].state {
                State::Idle | State::Unknown => self.retire(now, launch, RetireReason::Drain),
                State::Probing => self.actions.push(Action::Interrupt { launch }),
                _ => {}
            }
        }
    }

    /// Drops all that was known of launches of a generation.
    pub(super) fn forget_spec(&mut self, spec: SpecKey) {
        self.release(spec);
        // These fields neither open nor close a daemon for launches.
        for daemon in self.daemons.all_derived_mut() {
            daemon.prepared.remove(&spec);
            daemon.refusals.remove(&spec);
        }
        let streak = self.services[spec.0].failures_of(spec.1);
        let FailureStreak { retry_at, losses, .. } = streak.map(std::mem::take).unwrap_or_default();
        if let Some(at) = retry_at {
            self.timers.remove(&(at, Timer::BackOff(spec)));
        }
        if let Some(at) = losses.retry_at {
            self.timers.remove(&(at, Timer::Stock(spec)));
        }
    }

    /// All services, in the order they were added.
    pub(super) fn service_ids(&self) -> Vec<ServiceId> {
        self.services.iter().map(|(id, _)| id).collect()
    }

    /// The containers of a service whose state is wanted. Looks at every
    /// container.
    pub(super) fn of_service(
        &self,
        id: ServiceId,
        wanted: impl Fn(State) -> bool,
    ) -> Vec<LaunchId> {
        let all = self.containers.iter();
        all.filter(|(_, c)| c.service == id && wanted(c.state)).map(|(id, _)| *id).collect()
    }
}
