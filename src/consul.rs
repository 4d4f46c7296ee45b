//! Consul's API, for discovery and registration.

mod client;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use ganger_pool::backoff::{Backoff, shortened};

pub(crate) use client::{AskError, ConsulClient};

/// The longest pauses between attempts at a Consul that does not answer.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(15) };

/// The pause after so many failures in a row: from half of the back-off to all of it, by chance.
/// Clients that have lost one Consul do not all come back to it at once.
pub(crate) fn pause(failures: u32) -> Duration {
    // The hasher's keys are chosen by chance.
    shortened(AGAIN.after(failures), 0.5, RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_are_never_longer_than_the_back_off() {
        let longest = AGAIN.cap;
        let pauses: Vec<_> = (0..256).map(|_| pause(100)).collect();
        assert!(pauses.iter().all(|p| (longest / 2..=longest).contains(p)), "{pauses:?}");
        let early = pauses.iter().filter(|p| **p < longest.mul_f64(0.75)).count();
        assert!((32..224).contains(&early), "{early} of 256 in the first half");
    }
}
