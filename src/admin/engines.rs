//! The memory of daemons, beyond what the ledger knows of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{DaemonName, Fault};
use ganger_pool::{EventKind, Observer, PoolEvent};
use parking_lot::Mutex;

/// The weight of the latest start in the mean.
const WEIGHT: f64 = 0.125;

/// An observer that remembers.
#[derive(Debug, Default)]
pub struct DaemonMemory {
    daemons: Mutex<BTreeMap<DaemonName, KnownDaemon>>,
}

/// The facts about a daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct KnownDaemon {
    /// The version of its engine, as of the last contact.
    pub(super) version: Option<Arc<str>>,
    /// How long a launch takes there until the container is ready: the mean, in which the latest count
    /// most.
    pub(super) start: Option<Duration>,
    /// The last failure there.
    pub(super) last_error: Option<Arc<str>>,
}

// === impl DaemonMemory ===

impl DaemonMemory {
    /// The facts about all daemons.
    pub(super) fn facts(&self) -> BTreeMap<DaemonName, KnownDaemon> {
        self.daemons.lock().clone()
    }

    fn note(&self, daemon: &DaemonName, note: impl FnOnce(&mut KnownDaemon)) {
        note(self.daemons.lock().entry(daemon.clone()).or_default());
    }
}

impl Observer for DaemonMemory {
    fn observe(&self, event: &PoolEvent) {
        match &event.kind {
            EventKind::ContactMade { daemon, version, .. } => {
                self.note(daemon, |facts| facts.version = Some(version.clone()));
            }
            EventKind::LaunchReady { daemon, took, .. } => self.note(daemon, |facts| {
                let mean = facts
                    .start
                    .map_or(*took, |mean| mean.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT));
                facts.start = Some(mean);
            }),
            EventKind::LaunchFailed { fault: Fault::Full | Fault::Unwanted, .. } => {}
            EventKind::LaunchFailed { daemon, reason, .. }
            | EventKind::ContactLost { daemon, reason, .. }
            | EventKind::ContactFailed { daemon, reason, .. }
            | EventKind::Degraded { daemon, reason } => {
                self.note(daemon, |facts| facts.last_error = Some(reason.clone()));
            }
            EventKind::DaemonDrained { daemon } => _ = self.daemons.lock().remove(daemon),
            _ => {}
        }
    }

    fn wants_leases(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_remembered_until_it_holds_nothing_any_more() {
        let memory = DaemonMemory::default();
        let told = |kind| {
            let at = tokio::time::Instant::now().into_std();
            memory.observe(&PoolEvent { number: 1, at, kind });
        };
        let (daemon, version) = (DaemonName::from("one"), Arc::from("26.1"));
        told(EventKind::ContactMade { daemon: daemon.clone(), version, cpus: 2 });
        for millis in [800, 1600] {
            let (launch, service) = (ganger_pool::core::LaunchId(1), "echo".into());
            let took = Duration::from_millis(millis);
            told(EventKind::LaunchReady { launch, service, daemon: daemon.clone(), took });
        }
        told(EventKind::Degraded { daemon: daemon.clone(), reason: "no space".into() });
        let facts = memory.facts().remove(&daemon).unwrap();
        assert_eq!(facts.version.as_deref(), Some("26.1"));
        assert_eq!(facts.start, Some(Duration::from_millis(900)));
        assert_eq!(facts.last_error.as_deref(), Some("no space"));
        told(EventKind::DaemonDrained { daemon });
        assert!(memory.facts().is_empty());
    }
}
