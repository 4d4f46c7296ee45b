//! What the operator orders: daemons and services that are drained or used again.

use super::{Checked, World};
use crate::core::{AdminState, DaemonName, Event, ServiceName};

// === impl World ===

impl World {
    /// The operator orders something.
    pub(super) fn operate(&mut self) -> Checked {
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

    /// The operator lets everything be used again.
    pub(super) fn use_all(&mut self) -> Checked {
        for name in self.daemon_names() {
            self.set_daemon(name, AdminState::Ready)?;
        }
        let services: Vec<_> = self.services.keys().cloned().collect();
        services.into_iter().try_for_each(|name| self.set_service(name, AdminState::Ready))
    }

    fn set_daemon(&mut self, daemon: DaemonName, state: AdminState) -> Checked {
        // One that is gone is told of in vain.
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
