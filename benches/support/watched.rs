//! The metrics of a running Ganger: fed by the pool and the proxy, and read every second as
//! `GET /metrics` reads them; and what it costs to be watched so.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ganger::admin::{ContainerCounts, ContainerStatus, Exposition, MetricsReading, Told};
use ganger::proxy::{Admission, Recorder, Sessions};
use ganger_pool::testing::FakeEngine;
use ganger_pool::{Observer, Pool};

use crate::costs;

/// Between two scrapes.
const SCRAPE: Duration = Duration::from_secs(1);
/// How often one that is watched and one that is not are compared, each time over three scrapes.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(3);
/// How long each has its turn within a round: shorter than the machine changes its pace.
const TURN: Duration = Duration::from_millis(10);
/// The most that a watched one may cost, in terms of one that is not.
const MOST: f64 = 1.03;

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

/// Lets one that is not watched and one that is take turns, and prints what the latter costs in
/// terms of the former, for each percentile: the median of the rounds and their spread. Both have
/// the machine to themselves in their turns, but for the scrapes, which go on during both: the
/// comparison is of what it costs to tell observers, and to wait for locks that a scrape holds.
///
/// `turn` is told who has the turn (0: not watched, 1: watched) and when it ends, and adds the time
/// of each thing that it did.
pub(crate) fn compare(
    what: &str,
    percentiles: &[usize],
    mut turn: impl FnMut(usize, Instant, &mut Vec<Duration>),
) {
    let mut ratios = vec![Vec::new(); percentiles.len()];
    for _ in 0..ROUNDS {
        let (end, mut times) = (Instant::now() + ROUND, [Vec::new(), Vec::new()]);
        while Instant::now() < end {
            for (who, times) in times.iter_mut().enumerate() {
                turn(who, Instant::now() + TURN, times);
            }
        }
        times.iter_mut().for_each(|times| times.sort_unstable());
        for (percent, ratios) in percentiles.iter().zip(&mut ratios) {
            let [plain, watched] =
                times.each_ref().map(|times| times[times.len() * percent / 100].as_secs_f64());
            ratios.push(watched / plain);
        }
    }
    for (percent, mut ratios) in percentiles.iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ROUNDS / 2];
        let what = format!("{what} with metrics that are read every second / without, p{percent}");
        let spread = format!("{median:.2} ({:.2} to {:.2})", ratios[0], ratios[ROUNDS - 1]);
        costs::row(&what, &spread, Some((format!("<= {MOST}"), median <= MOST)));
    }
}
