//! The metrics of a running Ganger: fed by the pool and the proxy, and read every second as
//! `GET /metrics` reads them.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use ganger::admin::{ContainerCounts, ContainerStatus, Exposition, MetricsReading, Told};
use ganger::proxy::{Admission, Recorder, Sessions};
use ganger_pool::testing::FakeEngine;
use ganger_pool::{Observer, Pool};

/// Between two scrapes.
const SCRAPE: Duration = Duration::from_secs(1);

/// The observers and recorders that `ganger run` has.
#[derive(Default)]
pub(crate) struct Watch {
    told: Told,
}

/// Scrapes go on until it is dropped.
pub(crate) struct Scrapes {
    _go_on: Sender<()>,
}

// === impl Watch ===

impl Watch {
    pub(crate) fn observers(&self) -> Vec<Arc<dyn Observer>> {
        let Told { metrics, feed, engines, failures, .. } = self.told.clone();
        vec![metrics, feed, engines, failures]
    }

    pub(crate) fn recorders(&self) -> Vec<Arc<dyn Recorder>> {
        let Told { metrics, latencies, failures, .. } = self.told.clone();
        vec![metrics, latencies, failures]
    }

    /// Reads all there is of a pool, and of those who were told.
    pub(crate) fn scrapes(&self, pool: &Arc<Pool<FakeEngine>>) -> Scrapes {
        let pool = Arc::clone(pool);
        self.scraping(move || {
            let mut containers = BTreeMap::<_, ContainerCounts>::new();
            for view in pool.containers() {
                let status = ContainerStatus::from(view);
                containers.entry((status.service, status.daemon)).or_default().add(&status.state);
            }
            let pool = Arc::new(pool.snapshot());
            MetricsReading { pool, containers, ..MetricsReading::default() }
        })
    }

    /// Reads all there is of a proxy, and of those who were told.
    pub(crate) fn scrapes_of(
        &self,
        admission: &Arc<Admission>,
        sessions: &Arc<Sessions>,
    ) -> Scrapes {
        let (admission, sessions) = (Arc::clone(admission), Arc::clone(sessions));
        self.scraping(move || {
            sessions.count_traffic();
            MetricsReading { proxy: admission.counts(), ..MetricsReading::default() }
        })
    }

    fn scraping(&self, read: impl Fn() -> MetricsReading + Send + 'static) -> Scrapes {
        let metrics = self.told.metrics.clone();
        let (stop, stopped): (_, Receiver<()>) = channel();
        thread::spawn(move || {
            while stopped.recv_timeout(SCRAPE) == Err(RecvTimeoutError::Timeout) {
                assert!(!metrics.encode(read(), Exposition::OpenMetrics).is_empty());
            }
        });
        Scrapes { _go_on: stop }
    }
}
