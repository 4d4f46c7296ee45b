//! The handle of a daemon's tasks, and the signals by which those wake each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc};

use crate::core::{DaemonName, ServiceName};
use crate::orders::RemovalOrder;

/// The handles of all daemons in the fleet, and of those that left and are not empty yet.
#[derive(Default)]
pub(crate) struct Daemons(RwLock<BTreeMap<DaemonName, DaemonHandle>>);

/// The requests that a daemon's tasks accept.
#[derive(Clone)]
pub(crate) struct DaemonHandle {
    signals: Arc<DaemonSignals>,
    removals: mpsc::UnboundedSender<RemovalOrder>,
}

/// How the tasks of a daemon wake each other.
#[derive(Default)]
pub(super) struct DaemonSignals {
    /// The daemon is to be listed soon: a call failed, or something has changed there.
    pub(super) relist: Notify,
    /// By service: the daemon is to be prepared for it anew; an image may be gone.
    reprepare: Mutex<BTreeMap<ServiceName, Arc<Notify>>>,
    /// Contact was made again.
    pub(super) regained: Notify,
}

// === impl Daemons ===

impl Daemons {
    /// Adds a daemon, with the channel for its removal orders.
    pub(crate) fn add(
        &self,
        daemon: DaemonName,
        removals: mpsc::UnboundedSender<RemovalOrder>,
    ) -> DaemonHandle {
        let handle = DaemonHandle { signals: Arc::default(), removals };
        self.0.write().insert(daemon, handle.clone());
        handle
    }

    pub(crate) fn forget(&self, daemon: &DaemonName) {
        self.0.write().remove(daemon);
    }

    /// The handle of a daemon: each that the ledger knows has one.
    pub(crate) fn of(&self, daemon: &DaemonName) -> Option<DaemonHandle> {
        self.0.read().get(daemon).cloned()
    }
}

// === impl DaemonHandle ===

impl DaemonHandle {
    pub(super) fn signals(&self) -> &Arc<DaemonSignals> {
        &self.signals
    }

    /// Has the daemon listed soon.
    pub(crate) fn relist(&self) {
        self.signals.relist.notify_one();
    }

    /// Has the daemon prepared for a service anew.
    pub(crate) fn reprepare(&self, service: &ServiceName) {
        self.signals.reprepare(service).notify_waiters();
    }

    /// Has a container removed, however long it takes.
    pub(crate) fn remove(&self, order: RemovalOrder) {
        // Removals end with the pool, when nobody is left to be told.
        _ = self.removals.send(order);
    }
}

// === impl DaemonSignals ===

impl DaemonSignals {
    /// Notified when the daemon is found not to be ready for a service.
    pub(super) fn reprepare(&self, service: &ServiceName) -> Arc<Notify> {
        self.reprepare.lock().entry(service.clone()).or_default().clone()
    }
}
