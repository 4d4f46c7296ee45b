//! The operator's orders: each is checked and told to the ledger under one lock. And the
//! containers that an operator chooses from.

use std::convert::Infallible;
use std::sync::Arc;

use super::outbox::Outbox;
use super::{Broker, Inner};
use crate::core::{
    AdminState, ContainerView, DaemonName, Event, Generation, LaunchId, OrderError, Retirement,
    ServiceName,
};
use crate::events::EventKind;
use crate::runtime::ContainerRuntime;

/// The most containers that a reader is shown under one lock.
const BATCH: usize = 256;

// === impl Broker ===

impl<R: ContainerRuntime> Broker<R> {
    /// Returns whether that changes anything.
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

    /// Returns whether that changes anything.
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

    /// Returns the generation that is rolled out from now on.
    pub(crate) fn roll(&self, service: &ServiceName) -> Result<Generation, OrderError> {
        self.order(|inner, outbox| {
            if inner.ledger.is_draining() {
                return Err(OrderError::Draining);
            }
            let (generation, event) = inner.services.roll(service)?;
            outbox.services_changed = true;
            let service = service.clone();
            inner.note(outbox, EventKind::RollOrdered { service, generation });
            Ok((generation, Some(event)))
        })
    }

    /// Returns the generation that is given up.
    pub(crate) fn roll_back(&self, service: &ServiceName) -> Result<Generation, OrderError> {
        self.order(|inner, _| {
            let service = service.clone();
            if inner.ledger.is_draining() {
                return Err(OrderError::Draining);
            }
            if inner.ledger.service_state(&service).is_none() {
                return Err(OrderError::UnknownService(service));
            }
            match inner.ledger.rollout(&service) {
                Some(generation) => Ok((generation, Some(Event::RollBack { service }))),
                None => Err(OrderError::NoRollout(service)),
            }
        })
    }

    pub(crate) fn retire(&self, launch: LaunchId) -> Retirement {
        let Ok(retirement) = self.order::<_, Infallible>(|inner, outbox| {
            let retirement = inner.ledger.retirement(launch);
            if matches!(retirement, Retirement::UnderWay | Retirement::Unknown) {
                return Ok((retirement, None));
            }
            inner.note(outbox, EventKind::RetireOrdered { launch });
            Ok((retirement, Some(Event::Retire { launch })))
        });
        retirement
    }

    /// Every container, and its handle once it was started, [`BATCH`] by [`BATCH`]: a lease waits
    /// for no more than one of these.
    pub(crate) fn containers(&self) -> Vec<(ContainerView, Option<Arc<R::Handle>>)> {
        let mut all = Vec::new();
        loop {
            let last = all.last().map(|(view, _): &(ContainerView, _)| view.launch);
            let inner = self.inner.lock();
            let batch = inner.ledger.containers(last, BATCH);
            let is_last = batch.len() < BATCH;
            let with_handle = |view: ContainerView| {
                let handle = inner.handles.get(&view.launch).cloned();
                (view, handle)
            };
            all.extend(batch.into_iter().map(with_handle));
            drop(inner);
            if is_last {
                return all;
            }
        }
    }

    /// Carries an order out, unless it is refused. `decide` looks at the state, and returns the
    /// answer and the event for the ledger, under the same lock.
    fn order<T, E>(
        &self,
        decide: impl FnOnce(&mut Inner<R>, &mut Outbox<R>) -> Result<(T, Option<Event>), E>,
    ) -> Result<T, E> {
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
