//! Launches, deaths and removals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Refusal;
use super::{
    Action, Container, ContainerKey, DaemonId, DaemonName, Fault, LaunchId, Ledger, Liveness,
    Proof, RetireReason, SpecKey, State, Timer,
};
use crate::backoff::Backoff;

// === impl Ledger ===

impl Ledger {
    pub(super) fn started(&mut self, now: Instant, launch: LaunchId) {
        let Some(container) = self.containers.get_mut(&launch) else {
            return;
        };
        if container.state != State::Launching {
            return;
        }
        container.seen = Some(now);
        let service = container.service;
        let is_unwanted = container.retire_as.is_some() || self.services[service].leaving;
        let daemon = &mut self.daemons[container.daemon];
        daemon.failures = 0;
        let (in_flight, time) = (daemon.counts[State::Launching], now - container.born);
        let alone = container.alone == Some(daemon.ordered);
        daemon.limit.took(service, time, alone, in_flight);
        if daemon.degraded.take().is_some() {
            self.actions.push(Action::Recovered { daemon: daemon.name.clone() });
        }
        self.transit(now, launch, State::Probing);
        if self.operator_drains(launch) {
            self.retire_later(launch, RetireReason::Drain);
        } else if self.draining || is_unwanted {
            self.actions.push(Action::Interrupt { launch });
        }
    }

    pub(super) fn ready(&mut self, now: Instant, launch: LaunchId) {
        let Some(container) = self.containers.get_mut(&launch) else { return };
        if container.state != State::Probing {
            return;
        }
        let service = &mut self.services[container.service];
        if let Some(streak) = service.failures_of(container.generation) {
            streak.failures = 0;
        }
        container.expires = service.policy.lifetime(launch).map(|age| now + age);
        if let Some(learning) = &mut service.learning {
            let wanted = container.wanted.map(|at| now - at);
            learning.ready_after(wanted, now - container.born);
        }
        service.hedges.took(now - container.born);
        let (spec, retire_as) = ((container.service, container.generation), container.retire_as);
        match retire_as {
            Some(reason) => self.retire(now, launch, reason),
            None => {
                let moved = self.spread.moving == Some(launch);
                self.prove(spec);
                self.put_in_stock(now, launch, Proof::Address);
                if moved {
                    self.take_place(now, launch);
                }
            }
        }
    }

    pub(super) fn launch_failed(
        &mut self,
        now: Instant,
        launch: LaunchId,
        fault: Fault,
        reason: Arc<str>,
    ) {
        let Some(container) = self.containers.get(&launch) else {
            return;
        };
        if !matches!(container.state, State::Launching | State::Probing) {
            return;
        }
        let Container { service: id, daemon, generation, born, retire_as, .. } = *container;
        let is_blameless = self.failure_is_blameless(launch);
        if fault == Fault::Daemon
            && !self.operator_drains(launch)
            && container.state == State::Launching
        {
            let daemon = &mut self.daemons[daemon];
            daemon.limit.failed(daemon.counts[State::Launching]);
        }
        let fault = match retire_as {
            // The service is at fault even where the launch was interrupted then.
            Some(RetireReason::OutOfMemory) if fault == Fault::Unwanted => Fault::Service,
            _ => fault,
        };
        let reason = match retire_as {
            Some(RetireReason::OutOfMemory) => {
                "the kernel killed a process of the container for memory before it was ready: \
                 raise `limits.memory`"
                    .into()
            }
            _ => reason,
        };
        if !is_blameless {
            let service = &mut self.services[id];
            if !matches!(fault, Fault::Full | Fault::Unwanted) {
                service.totals.launch_failures += 1;
                if let Some(streak) = service.failures_of(generation) {
                    streak.last_error = Some(reason.clone());
                }
            }
            match fault {
                // Nobody waits for a container that is moved: the move is tried again later.
                Fault::Service if self.spread.moving == Some(launch) => {}
                Fault::Service => self.blame_service(now, (id, generation), born, false),
                // Somebody removes containers there: that is nobody's failure, but launches
                // need a pause.
                Fault::Unwanted
                    if matches!(
                        retire_as,
                        None | Some(RetireReason::Died | RetireReason::Missing)
                    ) =>
                {
                    self.blame_daemon(now, daemon, born, None);
                }
                Fault::Unwanted => {}
                Fault::Full => self.blame_daemon(now, daemon, born, None),
                Fault::Daemon | Fault::Unprepared => {
                    self.blame_daemon(now, daemon, born, Some(&reason));
                }
            }
        }
        self.retire(now, launch, retire_as.unwrap_or(RetireReason::Launch));
    }

    /// Whether nobody is at fault when a launch fails: its container is not wanted any more.
    fn failure_is_blameless(&self, launch: LaunchId) -> bool {
        let container = &self.containers[launch];
        self.draining
            || self.services[container.service].leaving
            || self.operator_drains(launch)
            || matches!(
                container.retire_as,
                Some(RetireReason::Generation | RetireReason::Drain | RetireReason::Operator)
            )
    }

    /// Somebody has signalled, paused or removed a container.
    pub(super) fn interfered(&mut self, now: Instant, launch: LaunchId) {
        if let Some(container) = self.containers.get_mut(&launch) {
            container.interfered_at = Some(now);
        }
    }

    /// A container's process ended, or it must not be used again.
    pub(super) fn ended(&mut self, now: Instant, launch: LaunchId, reason: RetireReason) {
        let Some(container) = self.containers.get_mut(&launch) else {
            return;
        };
        match container.state {
            State::Idle | State::Unknown => {
                // A container that ends without contact, or before the first list that follows,
                // was ended by its daemon; a missing one was removed.
                let by_itself = container.state == State::Idle
                    && container.liveness == Liveness::Listed
                    && container.is_left_alone(now)
                    && reason != RetireReason::Missing;
                let (spec, born) = ((container.service, container.generation), container.born);
                let (early_age, unused) = (container.early_age(now), container.uses == 0);
                let on = container.daemon;
                match early_age {
                    Some(age) if by_itself && unused => {
                        self.failed_early(now, spec, born, age, "ended before anybody had it");
                    }
                    // Somebody may end every container: launches need a pause.
                    Some(_) if !by_itself => self.blame_daemon(now, on, born, None),
                    _ if by_itself => self.lost(now, launch),
                    _ => {}
                }
                self.retire(now, launch, reason);
            }
            // The lease or the check goes on to its end; the connection notices
            // the death of the container itself.
            State::Leased | State::Checking => container.retire_as = Some(reason),
            State::Probing => {
                container.retire_as = Some(reason);
                self.actions.push(Action::Interrupt { launch });
            }
            State::Launching => container.retire_as = Some(reason),
            State::Retiring | State::Removed => {}
        }
    }

    pub(super) fn removed(&mut self, now: Instant, daemon: &DaemonName, key: &ContainerKey) {
        let Some(id) = self.daemons.id(daemon) else { return };
        let daemon = &mut self.daemons[id];
        daemon.recent_removals.note(now, key.clone());
        if !daemon.strays.remove(key)
            && let ContainerKey::Launch(launch) = key
            && self.containers.get(launch).is_some_and(|c| c.state == State::Retiring)
        {
            self.transit(now, *launch, State::Removed);
        }
        self.forget_daemon(id);
    }

    /// A container was ready and failed all the same, of itself and soon.
    pub(super) fn failed_early(
        &mut self,
        now: Instant,
        spec: SpecKey,
        born: Instant,
        age: Duration,
        what: &str,
    ) {
        if let Some(streak) = self.services[spec.0].failures_of(spec.1) {
            let age = age.as_secs_f32();
            let reason = format!("a container that was ready {what}, {age:.1}s after its start");
            streak.last_error = Some(reason.into());
        }
        self.blame_service(now, spec, born, true);
    }

    /// Lengthens the pause of a service's generation. Failures of launches that
    /// were ordered before the last failure was known are one with it.
    fn blame_service(&mut self, now: Instant, spec: SpecKey, born: Instant, early_death: bool) {
        let (id, generation) = spec;
        let service = &mut self.services[id];
        let backoff = service.policy.backoff;
        let Some(streak) = service.failures_of(generation) else { return };
        if streak.failed_at.is_some_and(|at| born < at) {
            return;
        }
        if early_death {
            streak.failed_early += 1;
        } else {
            streak.failures += 1;
        }
        streak.failed_at = Some(now);
        if let Some(at) = streak.retry_at.take() {
            self.timers.remove(&(at, Timer::BackOff(spec)));
        }
        let at = now + backoff.after(streak.total());
        streak.retry_at = Some(at);
        self.timers.insert((at, Timer::BackOff(spec)));
        // A generation that is rolled out is rolled back instead.
        if service.rollout.as_ref().is_none_or(|rollout| rollout.to != generation)
            && let Some(reason) = service.failing().cloned()
        {
            self.refuse_all(id, &Refusal::Failing { reason });
        }
    }

    /// Lengthens a daemon's pause. With a reason it is degraded until a container
    /// is started on it again.
    fn blame_daemon(
        &mut self,
        now: Instant,
        id: DaemonId,
        born: Instant,
        reason: Option<&Arc<str>>,
    ) {
        let daemon = &mut self.daemons[id];
        if daemon.failed_at.is_some_and(|at| born < at) {
            return;
        }
        daemon.failures += 1;
        daemon.failed_at = Some(now);
        if let Some(reason) = reason.cloned()
            && daemon.degraded.replace(reason.clone()).is_none()
        {
            self.actions.push(Action::Degraded { daemon: daemon.name.clone(), reason });
        }
        if let Some(at) = daemon.retry_at.take() {
            self.timers.remove(&(at, Timer::Daemon(id)));
        }
        let at = now + Backoff::DAEMON.after(daemon.failures);
        daemon.retry_at = Some(at);
        self.timers.insert((at, Timer::Daemon(id)));
    }
}
