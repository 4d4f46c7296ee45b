//! Pauses between attempts: how they grow, and how those of many are spread over time.

use std::time::Duration;

/// A pause that doubles with each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub cap: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// For a service whose containers fail.
    pub const SERVICE: Self =
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(30) };
    /// For a daemon on which launches fail.
    pub const DAEMON: Self =
        Self { first: Duration::from_millis(200), cap: Duration::from_secs(5) };
    /// For a daemon that does not answer.
    pub(crate) const CONTACT: Self =
        Self { first: Duration::from_millis(200), cap: Duration::from_secs(5) };

    /// The pause after so many failures in a row.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.cap)
    }
}

/// A time that is shortened by up to `share` of it, so that periodic events of many
/// things do not all happen together. `n` is the number of one of them; consecutive numbers,
/// and random ones, give times that are spread evenly.
#[must_use]
pub fn shortened(time: Duration, share: f64, n: u64) -> Duration {
    time - time.mul_f64(share * fraction(n))
}

/// At least 0 and less than 1, spread evenly for consecutive numbers.
pub(crate) fn fraction(n: u64) -> f64 {
    let share = u32::try_from(scatter(n) >> 40).unwrap_or(0);
    f64::from(share) / f64::from(1 << 24)
}

/// Spreads consecutive numbers over the whole range: the finaliser of splitmix64.
fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let pauses: Vec<_> =
            [1, 2, 3, 9, 10, 64].map(|n| Backoff::SERVICE.after(n).as_millis()).to_vec();
        assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn times_are_shortened_by_the_share_at_most_and_differ() {
        let time = Duration::from_secs(100);
        let times: Vec<_> = (0..256).map(|n| shortened(time, 0.5, n).as_secs()).collect();
        assert!(times.iter().all(|time| (50..=100).contains(time)), "{times:?}");
        assert!(times.iter().any(|time| *time < 60) && times.iter().any(|time| *time > 90));
    }
}
