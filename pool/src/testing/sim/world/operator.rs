//! Random orders of the operator: daemons and services that are drained or used again,
//! containers that are retired, rollouts that are given up.

use super::{Checked, Phase, World};
use crate::core::{AdminState, DaemonName, Event, Retirement, ServiceName};

// === impl World ===

impl World {
    /// A random order of the operator.
    pub(super) fn operate(&mut self) -> Checked {
        if self.rng.percent(30) {
            return self.retire_one();
        }
        if self.rng.percent(15) {
            return self.roll_back_one();
        }
        let state = match self.rng.below(6) {
            0 => AdminState::Drain,
            1 => AdminState::Maint,
            _ => AdminState::Ready,
        };
        if self.rng.percent(70) {
            let names = self.daemon_names();
            let Some(name) = self.rng.pick(&names).cloned() else { return Ok(()) };
            self.set_daemon(name, state)
        } else {
            let Some(service) = self.pick_service() else { return Ok(()) };
            self.set_service(service, state)
        }
    }

    /// The operator has a container retired: it is not used again (I5), and the answer says when
    /// it goes.
    fn retire_one(&mut self) -> Checked {
        let ids: Vec<_> = self.containers.keys().copied().collect();
        let Some(launch) = self.rng.pick(&ids).copied() else { return Ok(()) };
        let retirement = self.ledger.retirement(launch);
        let Some(container) = self.containers.get_mut(&launch) else { return Ok(()) };
        container.tainted = true;
        let fits = match retirement {
            Retirement::AtOnce => !matches!(container.phase, Phase::Leased | Phase::Retiring),
            Retirement::AfterLease => container.phase == Phase::Leased,
            Retirement::UnderWay => container.phase != Phase::Stock,
            Retirement::Unknown => false,
        };
        if !fits {
            return Err(format!("{launch:?} is {:?}: {retirement:?}", container.phase));
        }
        let in_stock = matches!(container.phase, Phase::Stock | Phase::Checking);
        self.tell(Event::Retire { launch })?;
        let phase = self.containers.get(&launch).map(|container| container.phase);
        match phase {
            Some(phase) if in_stock && phase != Phase::Retiring => {
                Err(format!("{launch:?} is {phase:?} though the operator had it retired"))
            }
            _ => Ok(()),
        }
    }

    /// The operator has a rollout given up.
    fn roll_back_one(&mut self) -> Checked {
        let Some(service) = self.pick_service() else { return Ok(()) };
        let trying = self.services.get(&service).and_then(|served| served.trying);
        if self.ledger.rollout(&service) != trying {
            return Err(format!("I9: {service} is not on its way to {trying:?}"));
        }
        self.tell(Event::RollBack { service: service.clone() })?;
        match self.ledger.rollout(&service) {
            Some(to) => Err(format!("I9: {service} is on its way to {to} against the order")),
            None => Ok(()),
        }
    }

    /// The operator lets everything be used again.
    pub(super) fn use_all(&mut self) -> Checked {
        for name in self.daemon_names() {
            self.set_daemon(name, AdminState::Ready)?;
        }
        let services: Vec<_> = self.services.keys().cloned().collect();
        services.into_iter().try_for_each(|name| self.set_service(name, AdminState::Ready))
    }

    fn set_daemon(&mut self, daemon: DaemonName, state: AdminState) -> Checked {
        // The ledger ignores daemons that it does not know.
        if self.ledger.daemon_state(&daemon).is_some()
            && let Some(engine) = self.daemons.get_mut(&daemon)
        {
            engine.admin = state;
        }
        self.tell(Event::DaemonStateSet { daemon, state })
    }

    fn set_service(&mut self, service: ServiceName, state: AdminState) -> Checked {
        if let Some(served) = self.services.get_mut(&service).filter(|served| !served.removed) {
            served.admin = state;
        }
        self.tell(Event::ServiceStateSet { service, state })
    }

    /// I11: whether the operator has a daemon or a service drained.
    pub(super) fn is_drained(&self, daemon: &DaemonName, service: &ServiceName) -> bool {
        let daemon = self.daemons.get(daemon).map(|engine| engine.admin);
        let service = self.services.get(service).map(|served| served.admin);
        [daemon, service].into_iter().flatten().any(|state| !state.is_ready())
    }
}
