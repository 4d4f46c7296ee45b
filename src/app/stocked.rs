//! Waits until the stock of each service is full for the first time.

use ganger_pool::core::{ServiceName, ServiceView, Snapshot, State};
use ganger_pool::{EventKind, Observer, Pool, PoolEvent};
use tokio::sync::Notify;

use crate::docker::Docker;

/// Hears of whatever may make a stock full, or show that it is.
#[derive(Debug, Default)]
pub(super) struct Refills {
    heard: Notify,
}

// === impl Refills ===

impl Refills {
    /// Calls `full` for each of these services once its stock is full, whatever the others do,
    /// and returns when all are.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn all_full(
        &self,
        pool: &Pool<Docker>,
        mut waiting: Vec<ServiceName>,
        mut full: impl FnMut(&ServiceView),
    ) {
        while !waiting.is_empty() {
            // Armed before the look: what happens meanwhile leads to another.
            let heard = self.heard.notified();
            // One that does not fill costs no more than a look at its counters.
            let stocked = |name: &ServiceName| pool.service(name).is_none_or(|s| s.stocked());
            if waiting.iter().any(stocked) {
                let snapshot = pool.snapshot();
                waiting.retain(|name| !is_full(&snapshot, name, &mut full));
            }
            heard.await;
        }
    }
}

impl Observer for Refills {
    fn observe(&self, event: &PoolEvent) {
        match event.kind {
            EventKind::StateChanged { from: State::Probing, to: State::Idle, .. }
            | EventKind::Listed { .. }
            | EventKind::ServicePrepared { .. }
            | EventKind::ServiceUnfit { .. }
            | EventKind::ServiceChanged { .. }
            | EventKind::ContactFailed { .. }
            | EventKind::ContactLost { .. }
            | EventKind::DaemonLeft { .. }
            | EventKind::DaemonDrained { .. }
            | EventKind::Removed { .. } => self.heard.notify_one(),
            _ => {}
        }
    }
}

/// Whether a service's stock is full as far as can be known, or the service is not there any more.
/// A full one is told.
fn is_full(snapshot: &Snapshot, name: &ServiceName, full: &mut impl FnMut(&ServiceView)) -> bool {
    let Some(service) = snapshot.service(name.as_str()) else { return true };
    let is_full = service.stocked() && snapshot.settled_for(name);
    if is_full {
        full(service);
    }
    is_full
}
