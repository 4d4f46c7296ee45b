//! How many launches a daemon has in flight, learnt from how long they take.
//!
//! More at once are more in all, up to where each takes so much longer that nothing is
//! gained: an engine on two processors starts 4.0 containers a second one by one, 5.9 four
//! at a time, each in 2.6 times the time, and 5.2 twelve at a time, each in 9 times the
//! time. So one more is allowed for each round of launches that took at most
//! [`TOLERANCE`] times what one takes alone, and a tenth less after one that took longer:
//! additive increase, multiplicative decrease, by delay as in TCP Vegas (Brakmo, Peterson,
//! 1995), for an engine drops nothing, it gets slow.

use std::collections::BTreeMap;
use std::time::Duration;

/// A launch that takes so many times what one takes alone shows that there are too many.
const TOLERANCE: f64 = 3.0;
/// What is left of the limit then.
const DECREASE: f64 = 0.9;
/// The weight of each launch that went on alone in what is known of those.
const WEIGHT: f64 = 0.25;

/// How many launches a daemon may have in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launches {
    /// So many, whatever comes of it.
    Fixed(u32),
    /// As many as pay.
    Learnt {
        /// To begin with.
        first: u32,
        /// At most.
        most: u32,
    },
}

/// What is learnt of one daemon.
#[derive(Debug)]
pub(super) struct Limit {
    launches: Launches,
    allowed: f64,
    /// What a launch takes alone, in seconds, by service: their images and networks differ.
    alone: BTreeMap<usize, f64>,
    /// So many more launches were ordered under the limit before the last decrease.
    before: u32,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(launches: Launches) -> Self {
        let (Launches::Fixed(first) | Launches::Learnt { first, .. }) = launches;
        Self { launches, allowed: first.max(1).into(), alone: BTreeMap::new(), before: 0 }
    }

    /// Contact was made. What was learnt holds, unless there is to be another limit.
    pub(super) fn renew(&mut self, launches: Launches) {
        if self.launches != launches {
            *self = Self::new(launches);
        }
    }

    /// How many may be in flight. At least 1.
    pub(super) fn get(&self) -> u32 {
        self.allowed as u32
    }

    /// A launch of a service took so long, and so many were in flight at its end, itself
    /// included.
    pub(super) fn took(&mut self, service: usize, time: Duration, in_flight: u32) {
        let Launches::Learnt { most, .. } = self.launches else { return };
        let time = time.as_secs_f64();
        let alone = self.alone.entry(service).or_insert(time);
        *alone = match in_flight {
            // It may have changed for the worse.
            1 => *alone + WEIGHT * (time - *alone),
            _ => alone.min(time),
        };
        let too_many = time > TOLERANCE * *alone;
        if self.before > 0 {
            self.before -= 1;
        } else if in_flight < self.get() {
            // Fewer than are allowed show nothing of those.
        } else if too_many {
            self.before = self.get() - 1;
            self.allowed = (self.allowed * DECREASE).max(1.0);
        } else {
            self.allowed = (self.allowed + 1.0 / self.allowed).min(most.max(1).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEARNT: Launches = Launches::Learnt { first: 4, most: 32 };

    /// Launches go on without pause on an engine that takes `time` with so many in flight.
    fn settle(limit: &mut Limit, time: impl Fn(f64) -> f64) -> u32 {
        for _ in 0..2000 {
            let in_flight = limit.get();
            limit.took(0, Duration::from_secs_f64(time(in_flight.into())), in_flight);
        }
        limit.get()
    }

    #[test]
    fn it_grows_where_more_are_as_fast_and_up_to_the_most() {
        let mut limit = Limit::new(LEARNT);
        assert_eq!(limit.get(), 4);
        assert_eq!(settle(&mut limit, |_| 0.2), 32);
    }

    #[test]
    fn it_stays_where_more_are_only_slower() {
        // As measured: 0.22 s alone, 0.56 s four at a time, 1.97 s twelve at a time.
        let engine = |n: f64| 0.22 + 0.11 * (n - 1.0) + 0.005 * (n - 1.0).powi(2);
        for first in [1, 4, 20] {
            let mut limit = Limit::new(Launches::Learnt { first, most: 32 });
            limit.took(0, Duration::from_millis(220), 1);
            let settled = settle(&mut limit, engine);
            assert!((3..=6).contains(&settled), "{settled} from {first}");
        }
    }

    #[test]
    fn it_shrinks_when_the_engine_gets_slow_and_learns_that_slow_is_usual() {
        let mut limit = Limit::new(LEARNT);
        settle(&mut limit, |n| 0.1 * n.max(8.0) / 8.0);
        let before = limit.get();
        assert!(before > 8, "{before}");
        // All ten times slower, one by one as well.
        let mut least = before;
        for _ in 0..2000 {
            let in_flight = limit.get();
            limit.took(0, Duration::from_secs_f64(f64::from(in_flight).max(8.0) / 8.0), in_flight);
            least = least.min(limit.get());
        }
        assert_eq!(least, 1);
        assert!(limit.get() > 8, "{limit:?}");
    }

    #[test]
    fn services_are_not_held_against_each_other() {
        let mut limit = Limit::new(LEARNT);
        for _ in 0..500 {
            let in_flight = limit.get();
            limit.took(0, Duration::from_millis(100), in_flight);
            limit.took(1, Duration::from_secs(5), in_flight);
        }
        assert_eq!(limit.get(), 32);
    }

    #[test]
    fn fewer_than_are_allowed_show_nothing_and_one_bad_round_counts_once() {
        let mut limit = Limit::new(LEARNT);
        limit.took(0, Duration::from_millis(100), 1);
        (0..100).for_each(|_| limit.took(0, Duration::from_millis(100), 3));
        (0..100).for_each(|_| limit.took(0, Duration::from_secs(9), 3));
        assert_eq!(limit.get(), 4);
        (0..4).for_each(|_| limit.took(0, Duration::from_secs(9), 4));
        assert_eq!(limit.get(), 3, "one decrease: {limit:?}");
    }

    #[test]
    fn a_fixed_one_stays() {
        let mut limit = Limit::new(Launches::Fixed(3));
        settle(&mut limit, |_| 0.1);
        assert_eq!(limit.get(), 3);
        limit.renew(Launches::Fixed(2));
        assert_eq!(limit.get(), 2);
    }
}
