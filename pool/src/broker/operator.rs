//! The orders of the operator: each is checked and told to the ledger under one lock.

use super::outbox::Outbox;
use super::{Broker, Inner};
use crate::core::{AdminState, DaemonName, Event, OrderError, ServiceName};
use crate::events::EventKind;
use crate::runtime::ContainerRuntime;

// === impl Broker ===

impl<R: ContainerRuntime> Broker<R> {
    /// Whether that changes anything.
    pub(crate) fn set_daemon_state(
        &self,
        daemon: &DaemonName,
        state: AdminState,
    ) -> Result<bool, OrderError> {
        self.order(|inner, outbox| {
            let known = inner.ledger.daemon_state(daemon);
            let before = known.ok_or_else(|| OrderError::UnknownDaemon(daemon.clone()))?;
            if before == state {
                return Ok((false, None));
            }
            let daemon = daemon.clone();
            inner.note(outbox, EventKind::DaemonStateSet { daemon: daemon.clone(), state });
            Ok((true, Some(Event::DaemonStateSet { daemon, state })))
        })
    }

    /// Whether that changes anything.
    pub(crate) fn set_service_state(
        &self,
        service: &ServiceName,
        state: AdminState,
    ) -> Result<bool, OrderError> {
        self.order(|inner, outbox| {
            let known = inner.ledger.service_state(service);
            let before = known.ok_or_else(|| OrderError::UnknownService(service.clone()))?;
            if before == state {
                return Ok((false, None));
            }
            let service = service.clone();
            inner.note(outbox, EventKind::ServiceStateSet { service: service.clone(), state });
            Ok((true, Some(Event::ServiceStateSet { service, state })))
        })
    }

    /// Whether the operator has a daemon in maintenance.
    pub(crate) fn is_in_maintenance(&self, daemon: &DaemonName) -> bool {
        self.inner.lock().ledger.daemon_state(daemon) == Some(AdminState::Maint)
    }

    /// Carries an order out, unless it is refused. `decide` looks at what there is, says what
    /// comes of it, and what the ledger is told, under the same lock.
    fn order<T>(
        &self,
        decide: impl FnOnce(&mut Inner<R>, &mut Outbox<R>) -> Result<(T, Option<Event>), OrderError>,
    ) -> Result<T, OrderError> {
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        let (answer, event) = decide(&mut inner, &mut outbox)?;
        let Some(event) = event else { return Ok(answer) };
        let rearm = inner.handle(event, &mut outbox);
        drop(inner);
        self.send(outbox, rearm);
        Ok(answer)
    }
}
