//! Rollouts: one generation of a service takes the place of another.
//!
//! First one container of the new generation is launched, on trial, while the old
//! generation serves. Once one gets ready, and the canary, if there is one, has had its
//! leases, only the new generation is launched. The old stock is retired as the new stock
//! gets ready, leased containers at the end of their lease. The stock keeps its size
//! meanwhile where there is room for one container more; else it has one less. A new
//! generation that fails too often in a row, or that no daemon can launch, is rolled back.

use std::sync::Arc;
use std::time::Instant;

use super::super::{GivenUp, Stage, sizing};
use super::canary::Verdict;
use super::rollout::Rollout;
use super::service::Service;
use super::{Action, Generation, LaunchId, Ledger, RetireReason, ServiceId, SpecKey, State};

/// The next step of a rollout.
enum Step {
    Retire(LaunchId),
    RollBack(GivenUp, Arc<str>),
    TakeOver,
    Complete,
    Wait,
}

// === impl Ledger ===

impl Ledger {
    /// Begins to roll a generation out, unless it is the current one.
    pub(super) fn roll_out(&mut self, id: ServiceId, to: Generation) {
        let service = &mut self.services[id];
        if service.generation != to {
            service.rollout = Some(Rollout::new(to));
            service.rolled_back = None;
        }
    }

    /// A container of a generation got ready.
    pub(super) fn prove(&mut self, (id, generation): SpecKey) {
        let service = &self.services[id];
        if let Some(rollout) = &service.rollout
            && rollout.to == generation
            && rollout.stage == Stage::Trial
        {
            let canary = service.policy.canary > 0;
            self.advance(id, if canary { Stage::Canary } else { Stage::TakingOver });
        }
    }

    fn advance(&mut self, id: ServiceId, stage: Stage) {
        let service = &mut self.services[id];
        let Some(rollout) = &mut service.rollout else { return };
        rollout.stage = stage;
        let (name, generation) = (service.name.clone(), rollout.to);
        self.actions.push(Action::Advanced { service: name, generation, stage });
    }

    /// Takes the next steps of rollouts.
    pub(super) fn roll(&mut self, now: Instant) {
        let mut last = None;
        while let Some(id) = self.rolling_out.iter().find(|id| Some(**id) > last).copied() {
            match self.next_step(id) {
                Step::Retire(launch) => self.retire(now, launch, RetireReason::Generation),
                Step::RollBack(why, reason) => self.roll_back(now, id, why, reason),
                Step::TakeOver => self.advance(id, Stage::TakingOver),
                Step::Complete => self.complete(now, id),
                Step::Wait => {
                    last = Some(id);
                    let specs = self.unplaceable.iter().filter(|spec| spec.0 == id);
                    let specs: Vec<_> = specs.copied().collect();
                    specs.into_iter().for_each(|spec| self.make_room(now, spec));
                }
            }
        }
    }

    fn next_step(&self, id: ServiceId) -> Step {
        let service = &self.services[id];
        let Some(rollout) = &service.rollout else { return Step::Wait };
        // The rollout goes on from here when the operator lets the service be used again.
        if !service.in_service() {
            return Step::Wait;
        }
        let Rollout { to, streak, counts, .. } = rollout;
        let taking_over = rollout.taking_over();
        if streak.total() >= service.policy.failing_after {
            let reason = streak.last_error.clone();
            let reason = reason.unwrap_or_else(|| "its containers fail".into());
            return Step::RollBack(GivenUp::Failed, reason);
        }
        if !taking_over && let Some(reason) = self.refused((id, *to)) {
            return Step::RollBack(GivenUp::Refused, reason);
        }
        if rollout.stage == Stage::Canary {
            match rollout.canary.verdict() {
                Verdict::RollBack(reason) => return Step::RollBack(GivenUp::Failed, reason),
                Verdict::GoOn => return Step::TakeOver,
                // The old generation cannot be compared with or fallen back on.
                Verdict::Wait if service.policy.canary == 0 => return Step::TakeOver,
                Verdict::Wait if self.only_hope(id, service, *to) => return Step::TakeOver,
                Verdict::Wait => {}
            }
        }
        let (stock, old) = (service.stock.len(), service.stock.older_than(*to));
        if let Some(launch) = old
            && taking_over
            && stock > service.policy.warm
        {
            return Step::Retire(launch);
        }
        // Without room beside the old stock, a container of that makes some.
        if let Some(launch) = old
            && stock > 1
            && rollout.lacks(&service.policy, &service.counts, service.queue.len()) > 0
            && streak.retry_at.is_none()
            && service.counts.total() >= service.policy.max
            && !self.place_is_coming(id)
        {
            return Step::Retire(launch);
        }
        let underway = [State::Launching, State::Probing, State::Idle, State::Checking];
        if taking_over && underway.iter().all(|state| service.counts[*state] == counts[*state]) {
            return Step::Complete;
        }
        Step::Wait
    }

    /// Whether a canary is all that can be launched.
    fn only_hope(&self, id: ServiceId, service: &Service, to: Generation) -> bool {
        service.failing().is_some()
            || (self.unlaunchable((id, service.generation)).is_some()
                && self.unlaunchable((id, to)).is_none())
    }

    /// Why no daemon that answers can launch a spec, once each of them has said so
    /// twice: a registry may be away for a moment. Also `None` when no daemon answers.
    fn refused(&self, spec: SpecKey) -> Option<Arc<str>> {
        let reason = self.unlaunchable(spec)?;
        let mut answered = self.daemons.values().filter_map(|daemon| {
            let (_, answered) = daemon.unfit_for(spec)?;
            answered.then(|| daemon.refusals.get(&spec).copied().unwrap_or_default())
        });
        let first = answered.next()?;
        (first > 1 && answered.all(|refusals| refusals > 1)).then_some(reason)
    }

    /// Whether a place for a service's rollout is on its way or being filled: one is made
    /// at a time. Removals on daemons without contact do not count.
    fn place_is_coming(&self, id: ServiceId) -> bool {
        let rollout = self.services[id].rollout.as_ref();
        if rollout.is_some_and(|rollout| sizing::launching(&rollout.counts) > 0) {
            return true;
        }
        let mut containers = self.containers.values();
        containers.any(|c| {
            let is_retired = c.service == id && c.state == State::Retiring;
            is_retired && self.daemons[c.daemon].is_up()
        })
    }

    /// Whether a container that came back from a lease is to be retired, because the
    /// new generation has no room beside it.
    pub(super) fn makes_room_for_rollout(&self, launch: LaunchId) -> bool {
        let container = &self.containers[launch];
        let id = container.service;
        let service = &self.services[id];
        let Some(rollout) = service.rollout.as_ref().filter(|rollout| !rollout.taking_over())
        else {
            return false;
        };
        let spec = (id, rollout.to);
        let daemon = &self.daemons[container.daemon];
        let here = daemon.is_up() && daemon.can_launch(spec) && daemon.room() == 0;
        let full = service.counts.total() >= service.policy.max;
        rollout.streak.retry_at.is_none()
            && rollout.lacks(&service.policy, &service.counts, service.queue.len()) > 0
            && (full || (here && self.unplaceable.contains(&spec)))
            && !self.place_is_coming(id)
    }

    /// The new generation has taken the old one's place. Containers of the old one
    /// are leased, being removed, or without contact.
    fn complete(&mut self, now: Instant, id: ServiceId) {
        let service = &mut self.services[id];
        let Some(Rollout { to, streak, .. }) = service.rollout.take() else { return };
        let (name, before) = (service.name.clone(), service.generation);
        self.forget_spec((id, before));
        let service = &mut self.services[id];
        service.generation = to;
        service.streak = streak;
        for launch in self.of_service(id, |state| state == State::Unknown) {
            if let Some(reason) = self.retire_reason_now(now, launch) {
                self.retire(now, launch, reason);
            }
        }
        self.actions.push(Action::SwitchedOver { service: name, generation: to });
    }

    /// The new generation is given up, and its containers are retired.
    pub(super) fn roll_back(
        &mut self,
        now: Instant,
        id: ServiceId,
        why: GivenUp,
        reason: Arc<str>,
    ) {
        let rollout = self.services[id].rollout.as_ref();
        let Some(to) = rollout.map(|rollout| rollout.to) else { return };
        self.forget_spec((id, to));
        let service = &mut self.services[id];
        service.rollout = None;
        service.rolled_back = Some((to, reason.clone()));
        let (service, generation) = (service.name.clone(), to);
        self.actions.push(Action::RolledBack { service, generation, why, reason });
        for launch in self.of_service(id, |_| true) {
            let container = &self.containers[launch];
            if container.generation != to {
                continue;
            }
            match container.state {
                State::Idle | State::Unknown => {
                    self.retire(now, launch, RetireReason::Generation);
                }
                State::Retiring | State::Removed => {}
                _ => self.retire_later(launch, RetireReason::Generation),
            }
        }
    }

    /// No daemon has room for a launch of a rollout: a full daemon that could
    /// launch it gives up one container of the old stock of the service.
    pub(super) fn make_room(&mut self, now: Instant, spec: SpecKey) {
        let (id, generation) = spec;
        let service = &self.services[id];
        let rolling = service.rollout.as_ref().is_some_and(|rollout| rollout.to == generation);
        if !rolling || service.stock.len() < 2 || self.place_is_coming(id) {
            return;
        }
        let old = |launch: &LaunchId| {
            let c = &self.containers[*launch];
            c.service == id && c.state == State::Idle && c.generation < generation
        };
        let gives = self
            .daemons
            .by_name()
            .map(|(_, daemon)| daemon)
            .filter(|daemon| daemon.is_up() && daemon.can_launch(spec) && daemon.room() == 0);
        let found = gives.flat_map(|daemon| daemon.containers.iter().copied()).find(old);
        if let Some(launch) = found {
            self.retire(now, launch, RetireReason::Generation);
        }
    }
}
