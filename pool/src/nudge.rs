//! How launcher and reaper wake the monitor of a daemon, and the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::{DaemonName, ServiceName};

/// One for each daemon there is contact with, or that contact is sought with.
#[derive(Default)]
pub(crate) struct Nudges(Mutex<BTreeMap<DaemonName, Arc<Nudge>>>);

pub(crate) struct Nudge {
    /// A call to the daemon failed: look at it now.
    pub(crate) look: Notify,
    /// By service: it is not prepared for it any more; an image may be gone.
    pub(crate) prepare: BTreeMap<ServiceName, Notify>,
    /// Contact was made again.
    pub(crate) regained: Arc<Notify>,
}

// === impl Nudges ===

impl Nudges {
    /// The daemon's, from now on until it is forgotten.
    pub(crate) fn join<'a>(
        &self,
        daemon: &DaemonName,
        services: impl Iterator<Item = &'a ServiceName>,
    ) -> Arc<Nudge> {
        let fresh = || {
            let prepare = services.map(|service| (service.clone(), Notify::new())).collect();
            Arc::new(Nudge { look: Notify::new(), prepare, regained: Arc::default() })
        };
        self.0.lock().entry(daemon.clone()).or_insert_with(fresh).clone()
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
        if let Some(prepare) = self.of(daemon).as_ref().and_then(|n| n.prepare.get(service)) {
            prepare.notify_one();
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
