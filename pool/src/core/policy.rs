//! How a service is run, as plain data.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::LaunchId;
use crate::backoff::{Backoff, shortened};

/// How a service is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How often a container may be leased again after its first lease.
    pub reuse: u32,
    /// How many ready containers are kept ahead of demand; with `auto`, to begin with.
    pub warm: u32,
    /// `warm` is learnt from the demand, within bounds.
    pub auto: Option<Auto>,
    /// The most containers of this service over all daemons, counting those
    /// being launched and removed.
    pub max: u32,
    /// The age, from when it was ready, at which a container is not leased any
    /// more, less up to a tenth of it so that a stock launched together does not expire together.
    pub max_age: Option<Duration>,
    /// The most connections that may wait for others to end; those for whom a
    /// container can be launched do not count.
    pub queue_length: u32,
    /// How long a stock above `warm` is kept before its surplus is retired.
    pub surplus_after: Duration,
    /// The pause after failed launches.
    pub backoff: Backoff,
    /// The failures in a row that make a service failing: its clients are
    /// refused at once during the pause instead of waiting. A new generation
    /// that fails so often is rolled back.
    pub failing_after: u32,
    /// How many containers there may be above what is wanted while one generation
    /// takes the place of another, never beyond `max`; at least 1.
    pub max_surge: u32,
    /// How long a container in stock may be leased after it has proved itself, without contact
    /// to its daemon; zero: it is not leased.
    pub stale_after: Duration,
    /// The launches that have to be timed before one is known to take unusually long.
    pub hedge_after: usize,
    /// The share of leases that a new generation has, in thousandths, before it takes
    /// over; 0 is no canary: it takes over once one container of it got ready.
    pub canary: u32,
}

/// A stock that is as large as the demand needs, see `core::demand`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auto {
    /// How many of [`Auto::SCALE`] arrivals may find the stock empty.
    pub misses: u32,
    /// The smallest stock.
    pub min: u32,
    /// The largest stock. At least `min`.
    pub max: u32,
}

/// The share of a time by which the times of many containers are spread.
const SPREAD: f64 = 0.1;

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        Self {
            reuse: 0,
            warm: 1,
            auto: None,
            max: 16,
            max_age: None,
            queue_length: 64,
            surplus_after: Duration::from_secs(30),
            backoff: Backoff::SERVICE,
            failing_after: 3,
            max_surge: 1,
            stale_after: Duration::ZERO,
            hedge_after: 20,
            canary: 0,
        }
    }
}

impl Policy {
    /// The age at which this container is not leased any more.
    pub(super) fn lifetime(&self, launch: LaunchId) -> Option<Duration> {
        self.max_age.map(|age| shortened(age, SPREAD, launch.0))
    }

    /// How long this container is leased after it has proved itself, without contact to
    /// its daemon.
    pub(super) fn proved_for(&self, launch: LaunchId) -> Duration {
        shortened(self.stale_after, SPREAD, launch.0)
    }
}

// === impl Auto ===

impl Auto {
    /// The whole that `misses` is a share of.
    pub const SCALE: u32 = 1_000_000;
    /// The hit rates that can be aimed at. A smaller share of misses shows
    /// only after days, if launches fail less often than that.
    pub const HIT_RATES: RangeInclusive<f64> = 0.5..=0.99999;

    /// The `misses` that leave this share of arrivals, where it is one of
    /// [`Auto::HIT_RATES`].
    #[must_use]
    pub fn misses_at(hit_rate: f64) -> Option<u32> {
        let misses = (1.0 - hit_rate) * f64::from(Self::SCALE);
        Self::HIT_RATES.contains(&hit_rate).then_some(misses.round() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_by_at_most_a_tenth() {
        let policy = Policy { max_age: Some(Duration::from_secs(100)), ..Policy::default() };
        let ages: Vec<_> =
            (0..64).filter_map(|n| policy.lifetime(LaunchId(n))).map(|d| d.as_secs()).collect();
        assert!(ages.iter().all(|s| (90..=100).contains(s)), "{ages:?}");
        assert!(ages.iter().max() > ages.iter().min());
    }
}
