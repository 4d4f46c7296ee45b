//! The operator's orders: daemons and services that are drained or used again, containers
//! that are retired, rollouts that are given up.

use std::time::Instant;

use super::super::{AdminState, GivenUp, Refusal, Retirement};
use super::{
    Action, Container, DaemonName, Generation, LaunchId, Ledger, RetireReason, Service, ServiceId,
    ServiceName, State,
};

// === impl Ledger ===

impl Ledger {
    /// The state that the operator has set a daemon to; `None` when there is no such daemon.
    #[must_use]
    pub fn daemon_state(&self, daemon: &DaemonName) -> Option<AdminState> {
        self.daemons.id(daemon).map(|daemon| self.daemons[daemon].admin)
    }

    /// The state that the operator has set a service to; `None` when there is no such service,
    /// or it was removed.
    #[must_use]
    pub fn service_state(&self, service: &ServiceName) -> Option<AdminState> {
        self.known(service).filter(|service| !service.leaving).map(|service| service.admin)
    }

    /// The result of an order to retire a container.
    #[must_use]
    pub fn retirement(&self, launch: LaunchId) -> Retirement {
        let Some(container) = self.containers.get(&launch) else { return Retirement::Unknown };
        match container.state {
            State::Idle | State::Unknown | State::Checking => Retirement::AtOnce,
            State::Retiring | State::Removed => Retirement::UnderWay,
            _ if container.retire_as.is_some() => Retirement::UnderWay,
            State::Launching | State::Probing => Retirement::AtOnce,
            State::Leased => Retirement::AfterLease,
        }
    }

    /// The generation that a service is being rolled out to, if it is.
    #[must_use]
    pub fn rollout(&self, service: &ServiceName) -> Option<Generation> {
        self.known(service)?.rollout.as_ref().map(|rollout| rollout.to)
    }

    fn known(&self, service: &ServiceName) -> Option<&Service> {
        self.services.id(service).map(|service| &self.services[service])
    }

    /// Whether the whole pool is being drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    pub(super) fn roll_back_ordered(&mut self, now: Instant, name: &ServiceName) {
        if let Some(id) = self.services.id(name) {
            self.roll_back(now, id, GivenUp::Operator, "the operator has ordered it".into());
        }
    }

    pub(super) fn retire_ordered(&mut self, now: Instant, launch: LaunchId) {
        match self.containers.get(&launch).map(|container| container.state) {
            Some(State::Idle | State::Unknown | State::Checking) => {
                self.retire(now, launch, RetireReason::Operator);
            }
            Some(State::Launching | State::Probing | State::Leased) => {
                self.retire_later(launch, RetireReason::Operator);
            }
            Some(State::Retiring | State::Removed) | None => {}
        }
    }

    pub(super) fn service_state_set(
        &mut self,
        now: Instant,
        name: &ServiceName,
        state: AdminState,
    ) {
        let Some(id) = self.services.id(name) else { return };
        let service = &mut self.services[id];
        if service.leaving || std::mem::replace(&mut service.admin, state) == state {
            return;
        }
        if !state.is_ready() {
            self.refuse_all(id, &Refusal::Operator { state });
            let all = self.of_service(id, |_| true);
            all.into_iter().for_each(|launch| self.drain_one(now, launch));
        }
        self.resized(now, id);
    }

    /// The service or the daemon of a container is not used any more. A leased container is
    /// retired at the end of its lease, a launch once it is started, unless both are used again
    /// by then.
    pub(super) fn drain_one(&mut self, now: Instant, launch: LaunchId) {
        match self.containers[launch].state {
            State::Idle | State::Unknown | State::Checking => {
                self.retire(now, launch, RetireReason::Drain);
            }
            State::Probing => self.retire_later(launch, RetireReason::Drain),
            _ => {}
        }
    }

    /// A container is not to be leased any more. The end of its launch, check or lease retires
    /// it; the pool does not wait for its readiness.
    pub(super) fn retire_later(&mut self, launch: LaunchId, reason: RetireReason) {
        let container = &mut self.containers[launch];
        container.retire_as.get_or_insert(reason);
        if container.state == State::Probing {
            self.actions.push(Action::Interrupt { launch });
        }
    }

    /// Whether the operator has the service or the daemon of a container drained.
    pub(super) fn operator_drains(&self, launch: LaunchId) -> bool {
        let Container { service, daemon, .. } = self.containers[launch];
        !self.services[service].admin.is_ready() || !self.daemons[daemon].admin.is_ready()
    }

    /// Whether the operator has every daemon drained that there is.
    pub(super) fn operator_drains_all(&self) -> bool {
        self.daemons.len() > 0 && self.daemons.values().all(|daemon| !daemon.admin.is_ready())
    }

    /// How many leased containers of a service do not come back, because the operator has their
    /// daemons drained. Looks at all daemons, and at the containers on the drained ones.
    pub(super) fn leased_on_drained(&self, id: ServiceId) -> u32 {
        let drained = self.daemons.values().filter(|daemon| !daemon.admin.is_ready());
        let there = drained.flat_map(|daemon| &daemon.containers);
        let containers = there.map(|launch| &self.containers[*launch]);
        let leased = containers.filter(|c| c.service == id && c.state == State::Leased);
        u32::try_from(leased.count()).unwrap_or(u32::MAX)
    }
}
