//! Networks and volumes that an engine keeps though no container has them.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Networks, by name or id, and volumes of ours that an engine has refused to remove though no
/// container has them.
#[derive(Debug, Default)]
pub(super) struct StuckBelongings(Mutex<BTreeMap<String, Stuck>>);

#[derive(Debug)]
struct Stuck {
    since: Instant,
    given_up: bool,
}

// === impl StuckBelongings ===

impl StuckBelongings {
    /// Notes that an engine has refused to remove one; returns whether it has done so for `limit`.
    pub(super) fn is_overdue(&self, belonging: &str, limit: Duration) -> bool {
        let mut all = self.0.lock();
        let stuck = all.entry(belonging.to_owned());
        stuck.or_insert_with(Stuck::now).since.elapsed() >= limit
    }

    /// Notes that one is gone, or that a container has it.
    pub(super) fn note_free(&self, belonging: &str) {
        self.0.lock().remove(belonging);
    }

    /// Notes that one is left where it is.
    pub(super) fn give_up(&self, belonging: &str) {
        self.0.lock().entry(belonging.to_owned()).or_insert_with(Stuck::now).given_up = true;
    }

    /// Whether one is left where it is: nobody is to try again.
    pub(super) fn is_given_up(&self, belonging: &str) -> bool {
        self.0.lock().get(belonging).is_some_and(|stuck| stuck.given_up)
    }
}

// === impl Stuck ===

impl Stuck {
    fn now() -> Self {
        Self { since: Instant::now(), given_up: false }
    }
}
