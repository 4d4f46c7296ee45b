//! How launcher and reaper wake the monitor of a daemon, and the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::DaemonName;

/// How the lanes wake the monitor of a daemon, and the other way round.
#[derive(Default)]
pub(crate) struct Nudges(Mutex<BTreeMap<DaemonName, Arc<Nudge>>>);

#[derive(Default)]
pub(crate) struct Nudge {
    /// A call to the daemon failed: look at it now.
    pub(crate) look: Notify,
    /// Likewise for what it was prepared for: an image may be gone.
    pub(crate) prepare: Notify,
    /// Contact was made again.
    pub(crate) regained: Notify,
}

// === impl Nudges ===

impl Nudges {
    /// Has the daemon looked at soon.
    pub(crate) fn nudge(&self, daemon: &DaemonName) {
        let nudge = self.of(daemon);
        nudge.look.notify_one();
        nudge.prepare.notify_one();
    }

    /// Returns when contact with the daemon is made again.
    pub(crate) async fn regained(&self, daemon: &DaemonName) {
        let nudge = self.of(daemon);
        nudge.regained.notified().await;
    }

    pub(crate) fn of(&self, daemon: &DaemonName) -> Arc<Nudge> {
        self.0.lock().entry(daemon.clone()).or_default().clone()
    }
}
