//! How launcher and reaper wake the monitor of a daemon, and the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::{DaemonName, ServiceName};

/// One for each daemon there is contact with, or that contact is sought with.
#[derive(Default)]
pub(crate) struct Nudges(Mutex<BTreeMap<DaemonName, Arc<Nudge>>>);

#[derive(Default)]
pub(crate) struct Nudge {
    /// A call to the daemon failed: look at it now.
    pub(crate) look: Notify,
    /// By service: it is not prepared for it any more; an image may be gone.
    prepare: Mutex<BTreeMap<ServiceName, Arc<Notify>>>,
    /// Contact was made again.
    pub(crate) regained: Arc<Notify>,
}

// === impl Nudges ===

impl Nudges {
    /// The daemon's, from now on until it is forgotten.
    pub(crate) fn join(&self, daemon: &DaemonName) -> Arc<Nudge> {
        self.0.lock().entry(daemon.clone()).or_default().clone()
    }

    pub(crate) fn forget(&self, daemon: &DaemonName) {
        self.0.lock().remove(daemon);
    }

    /// Has the daemon looked at soon.
    pub(crate) fn look(&self, daemon: &DaemonName) {
        if let Some(nudge) = self.of(daemon) {
            nudge.look.notify_one();
        }
    }

    /// Has the daemon prepared for the service anew.
    pub(crate) fn prepare(&self, daemon: &DaemonName, service: &ServiceName) {
        if let Some(nudge) = self.of(daemon) {
            nudge.prepare(service).notify_waiters();
        }
    }

    /// Returns when contact with the daemon is made again after this call.
    pub(crate) fn regained(&self, daemon: &DaemonName) -> impl Future<Output = ()> + use<> {
        // From here on it hears, polled or not.
        let notified = self.of(daemon).map(|nudge| nudge.regained.clone().notified_owned());
        async move {
            match notified {
                Some(notified) => notified.await,
                None => std::future::pending().await,
            }
        }
    }

    fn of(&self, daemon: &DaemonName) -> Option<Arc<Nudge>> {
        self.0.lock().get(daemon).cloned()
    }
}

// === impl Nudge ===

impl Nudge {
    /// Notified when the daemon is found not to be ready for a service.
    pub(crate) fn prepare(&self, service: &ServiceName) -> Arc<Notify> {
        self.prepare.lock().entry(service.clone()).or_default().clone()
    }
}
