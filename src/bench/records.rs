//! Records of the program under measurement, which is this process: how each connection ended, and
//! how long the steps of launches took.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::StartKind;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::docker::{EngineObserver, Step};
use crate::proxy::{ConnRecord, Recorder};

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(super) struct Records {
    told: Mutex<Recorded>,
    more: Notify,
}

/// The records since they were last taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// By client, how its connection was served.
    pub(super) served: BTreeMap<SocketAddr, Served>,
    /// By a container's id, the steps of its launch.
    pub(super) launches: BTreeMap<String, BTreeMap<&'static str, Duration>>,
    /// How long removals took.
    pub(super) removals: Vec<Duration>,
}

/// How a connection that has ended was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    /// How its lease was served, if it had one.
    pub(super) start: Option<StartKind>,
    /// Its container's id.
    pub(super) container: Option<Arc<str>>,
}

// === impl Records ===

impl Records {
    /// Waits until the connections of these clients have ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn ended(&self, clients: &[SocketAddr]) {
        loop {
            let more = self.more.notified();
            // A record between the look and the wait counts.
            let mut more = std::pin::pin!(more);
            more.as_mut().enable();
            let all = {
                let told = self.told.lock();
                clients.iter().all(|client| told.served.contains_key(client))
            };
            if all {
                return;
            }
            more.await;
        }
    }

    /// Takes the records so far.
    pub(super) fn take(&self) -> Recorded {
        std::mem::take(&mut self.told.lock())
    }
}

impl Recorder for Records {
    fn ended(&self, record: &ConnRecord) {
        let served = Served { start: record.start, container: record.container.clone() };
        self.told.lock().served.insert(record.client, served);
        self.more.notify_waiters();
    }
}

impl EngineObserver for Records {
    fn step(&self, step: &Step<'_>) {
        let Step { name, container, took } = *step;
        let mut told = self.told.lock();
        if name == "remove" {
            told.removals.push(took);
        } else {
            told.launches.entry(container.to_owned()).or_default().insert(name, took);
        }
    }
}
