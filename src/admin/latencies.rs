//! How long the clients of each service waited lately.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_pool::core::ServiceName;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::proxy::{ConnRecord, Recorder};

/// How long a measurement is told: for so long, and up to twice that.
const KEPT: Duration = Duration::from_secs(300);
/// The longest time that is told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// A recorder that remembers the latencies of the last 5 to 10 minutes.
#[derive(Debug, Default)]
pub struct LatencyMemory {
    services: Mutex<BTreeMap<ServiceName, Latencies>>,
}

/// The 50th and the 99th percentile, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50_seconds: f64,
    /// 99 of 100 took no longer.
    pub p99_seconds: f64,
}

/// The latencies of a service.
#[derive(Debug)]
struct Latencies {
    since: Instant,
    now: Measured,
    before: Measured,
}

#[derive(Debug)]
struct Measured {
    wait: Histogram<u64>,
    first_byte: Histogram<u64>,
}

// === impl LatencyMemory ===

impl LatencyMemory {
    /// A service's times from accept to the lease, and to the container's first byte.
    pub(super) fn of(&self, service: &ServiceName) -> [Option<Percentiles>; 2] {
        let mut services = self.services.lock();
        let Some(latencies) = services.get_mut(service) else { return [None; 2] };
        latencies.turn();
        let both = |of: fn(&Measured) -> &Histogram<u64>| {
            let mut all = of(&latencies.now).clone();
            // Both have the same bounds.
            _ = all.add(of(&latencies.before));
            percentiles(&all)
        };
        [both(|measured| &measured.wait), both(|measured| &measured.first_byte)]
    }
}

impl Recorder for LatencyMemory {
    fn ended(&self, record: &ConnRecord) {
        let mut services = self.services.lock();
        let latencies = match services.get_mut(&record.service) {
            Some(latencies) => latencies,
            None => services.entry(record.service.clone()).or_insert_with(Latencies::new),
        };
        latencies.turn();
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        if let Some(wait) = record.wait {
            latencies.now.wait.saturating_record(micros(wait));
        }
        if let Some(first_byte) = record.first_byte {
            latencies.now.first_byte.saturating_record(micros(first_byte));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most an hour in microseconds")]
fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    (!histogram.is_empty()).then(|| Percentiles { p50_seconds: at(0.5), p99_seconds: at(0.99) })
}

// === impl Latencies ===

impl Latencies {
    fn new() -> Self {
        Self { since: Instant::now(), now: Measured::new(), before: Measured::new() }
    }

    /// Forgets what is old.
    fn turn(&mut self) {
        let age = self.since.elapsed();
        if age >= KEPT {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            if age >= 2 * KEPT {
                self.before.clear();
            }
            self.since = Instant::now();
        }
    }
}

// === impl Measured ===

impl Measured {
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    fn new() -> Self {
        let empty = || Histogram::new_with_bounds(1, LONGEST, 2).expect("good bounds");
        Self { wait: empty(), first_byte: empty() }
    }

    fn clear(&mut self) {
        self.wait.clear();
        self.first_byte.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::proxy::ConnId;

    #[tokio::test(start_paused = true)]
    async fn what_was_measured_is_told_for_a_while() {
        let memory = LatencyMemory::default();
        let ended = |millis| {
            let client = ([192, 0, 2, 1], 9).into();
            let record = ConnRecord::new(ConnId(1), "echo".into(), client);
            memory.ended(&ConnRecord { wait: Some(Duration::from_millis(millis)), ..record });
        };
        let wait = || memory.of(&"echo".into())[0].map(|told| (told.p50_seconds, told.p99_seconds));
        (0..99).for_each(|_| ended(1));
        ended(1000);
        ended(1000);
        let (p50, p99) = wait().unwrap();
        assert!((p50 - 0.001).abs() < 1e-4 && (p99 - 1.0).abs() < 0.02, "{p50} {p99}");
        assert_eq!(memory.of(&"echo".into())[1], None);
        advance(KEPT).await;
        assert!(wait().is_some());
        ended(5);
        advance(KEPT).await;
        let (p50, _) = wait().unwrap();
        assert!((p50 - 0.005).abs() < 1e-3, "the latest alone: {p50}");
        advance(2 * KEPT).await;
        assert_eq!(wait(), None);
    }
}
