//! Services: added, changed, removed.

use std::time::Instant;

use super::super::{AdminState, GivenUp, Policy, Refusal};
use super::service::Service;
use super::trouble::Trouble;
use super::{Action, Generation, Lane, LaunchId, Ledger, RetireReason, ServiceName, State, Timer};

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
        service.admin = AdminState::Ready;
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
