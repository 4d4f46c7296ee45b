//! Latencies as they are measured, and the figures that come of them.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_pool::core::StartKind;
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::exchange::Miss;
use super::report::Series;

/// Digits that are kept of each latency.
const DIGITS: u8 = 3;
/// The longest latency, an hour in nanoseconds: longer ones count as this.
const LONGEST: u64 = 3_600_000_000_000;
/// Bars of the histogram for a factor of ten.
const STEPS: i32 = 20;
/// How many failures are told apart. A service may answer every client with other words.
const FAILURES: usize = 16;
/// The percentiles that are reported, by the names that assertions know them by.
pub(super) const PERCENTILES: [(&str, f64); 7] = [
    ("p50", 50.0),
    ("p75", 75.0),
    ("p90", 90.0),
    ("p95", 95.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
];

/// Takes down latencies, in nanoseconds, and failures by kind.
#[derive(Debug)]
pub(super) struct SeriesRecorder {
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    started: BTreeMap<String, u64>,
    total: u64,
}

// === impl SeriesRecorder ===

impl SeriesRecorder {
    #[expect(clippy::expect_used, reason = "it fails for other constants only")]
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds");
        Self { latency, errors: BTreeMap::new(), started: BTreeMap::new(), total: 0 }
    }

    /// Records a connection that was due then: when it was served, or why it was not.
    pub(super) fn note(&mut self, due: Instant, served: Result<Instant, Miss>) {
        match served {
            Ok(at) => self.time(at.saturating_duration_since(due)),
            Err(miss) => {
                self.total += 1;
                let why = miss.to_string();
                let told_apart = self.errors.contains_key(&why) || self.errors.len() < FAILURES;
                let why = if told_apart { why } else { miss.kind() };
                *self.errors.entry(why).or_default() += 1;
            }
        }
    }

    /// Records a latency.
    pub(super) fn time(&mut self, took: Duration) {
        self.total += 1;
        self.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts how a lease was served, in the words of the log.
    pub(super) fn started(&mut self, start: StartKind) {
        *self.started.entry(start.to_string()).or_default() += 1;
    }

    /// How many were recorded, served or not.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The figures of a measurement that took so long.
    pub(super) fn series(self, name: &str, took: Duration) -> Series {
        let count = self.latency.len();
        let mut latency_us = indexmap::IndexMap::new();
        if count > 0 {
            latency_us.insert("min".to_owned(), us(self.latency.min()));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ns")]
            latency_us.insert("mean".to_owned(), us(self.latency.mean() as u64));
            for (percentile, share) in PERCENTILES {
                let value = self.latency.value_at_percentile(share).min(self.latency.max());
                latency_us.insert(percentile.to_owned(), us(value));
            }
            latency_us.insert("max".to_owned(), us(self.latency.max()));
        }
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 connections")]
        let rate = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Series {
            name: name.to_owned(),
            seconds: (seconds * 1e3).round() / 1e3,
            count,
            rate: (rate * 1e3).round() / 1e3,
            errors: self.errors,
            started: self.started,
            latency_us,
            histogram_us: bars(&self.latency),
        }
    }
}

/// The histogram in steps that grow with the latency: from, to, how many. Between the
/// first and the last none is left out.
fn bars(latency: &Histogram<u64>) -> Vec<(f64, f64, u64)> {
    let mut bars: BTreeMap<i32, u64> = BTreeMap::new();
    for value in latency.iter_recorded() {
        *bars.entry(step(value.value_iterated_to())).or_default() += value.count_at_value();
    }
    let (Some((&first, _)), Some((&last, _))) = (bars.first_key_value(), bars.last_key_value())
    else {
        return Vec::new();
    };
    let edge = |step: i32| {
        let nanos = 10_f64.powf(f64::from(step) / f64::from(STEPS));
        (nanos.round()) / 1e3
    };
    let count = |step| bars.get(&step).copied().unwrap_or(0);
    (first..=last).map(|step| (edge(step), edge(step + 1), count(step))).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a logarithm")]
fn step(nanos: u64) -> i32 {
    ((nanos.max(1) as f64).log10() * f64::from(STEPS)).floor() as i32
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 nanoseconds")]
fn us(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_those_that_were_served() {
        let mut recorder = SeriesRecorder::new();
        for millis in (1..=1000).rev() {
            recorder.time(Duration::from_millis(millis));
        }
        let now = Instant::now();
        recorder.note(now, Err(Miss::Reset));
        recorder.note(now, Err(Miss::Reset));
        recorder.note(now, Err(Miss::TimedOut));
        recorder.note(now, Ok(now + Duration::from_secs(2)));
        assert_eq!(recorder.total(), 1004);
        let series = recorder.series("s", Duration::from_secs(10));
        assert_eq!((series.count, series.failed()), (1001, 3));
        assert_eq!(series.errors["reset"], 2);
        assert_eq!(series.rate, 100.1);
        // To three digits.
        let is = |stat: &str, ms: f64| {
            let found = series.latency_us[stat] / 1e3;
            assert!((found / ms - 1.0).abs() < 2e-3, "{stat}: {found}");
        };
        is("min", 1.0);
        is("p50", 501.0);
        is("p90", 901.0);
        is("p99", 991.0);
        is("max", 2000.0);
        is("mean", (500.5 * 1000.0 + 2000.0) / 1001.0);
    }

    #[test]
    fn a_service_that_never_says_the_same_does_not_fill_the_memory() {
        let mut recorder = SeriesRecorder::new();
        for n in 0..1000 {
            let answer = format!("{n}").into_bytes();
            recorder.note(Instant::now(), Err(Miss::Unexpected(answer)));
        }
        let series = recorder.series("s", Duration::ZERO);
        assert_eq!((series.failed(), series.errors.len()), (1000, FAILURES + 1));
        assert_eq!(series.errors["another answer"], 1000 - FAILURES as u64);
    }

    #[test]
    fn bars_leave_no_gap_and_nobody_out() {
        let mut recorder = SeriesRecorder::new();
        for micros in [10, 10, 90, 5000] {
            recorder.time(Duration::from_micros(micros));
        }
        let bars = recorder.series("s", Duration::ZERO).histogram_us;
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<u64>(), 4);
        assert!(bars.windows(2).all(|pair| pair[0].1 == pair[1].0), "{bars:?}");
        assert!(bars[0].0 <= 10.0 && 10.0 < bars[0].1 && bars[0].2 == 2, "{bars:?}");
        let last = bars.last().unwrap();
        assert!(last.0 <= 5000.0 && 5000.0 <= last.1 && last.2 == 1, "{bars:?}");
    }
}
