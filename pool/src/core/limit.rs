//! How many launches a daemon has in flight, learnt from how long they take.
//!
//! More at once are more in all, up to where each takes so much longer that nothing is
//! gained: an engine on two processors starts 4.0 containers a second one by one, 5.9 four
//! at a time, each in 2.6 times the time, and 5.2 twelve at a time, each in 9 times the
//! time. So one more is allowed for each round of launches that took at most
//! [`TOLERANCE`] times what one takes alone, and a tenth less after one that took longer:
//! additive increase, multiplicative decrease, by delay as in TCP Vegas (Brakmo, Peterson,
//! 1995). An engine that fails several at once is given half, as where packets are lost, and
//! so many once more only after a hundred times as many launches as it takes otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use super::id::ServiceId;

/// A launch that takes so many times what one takes alone shows that there are too many.
const TOLERANCE: f64 = 3.0;
/// What is left of the limit then.
const DECREASE: f64 = 0.9;
/// What is left of it when one fails.
const LOSS: f64 = 0.5;
/// The share of the increase that is left where so many have failed before.
const WARY: f64 = 0.01;
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
    /// So many at once have failed, and not been tried again.
    failed: Option<u32>,
    /// What a launch takes alone, in seconds, by service: their images and networks differ.
    alone: BTreeMap<ServiceId, f64>,
    /// So many more launches were in flight at the last decrease: they show the same.
    before: u32,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(launches: Launches) -> Self {
        let (Launches::Fixed(first) | Launches::Learnt { first, .. }) = launches;
        let allowed = first.max(1).into();
        Self { launches, allowed, failed: None, alone: BTreeMap::new(), before: 0 }
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

    /// A launch of a service took so long. Was it `alone` all along? So many were in flight
    /// at its end, itself included.
    pub(super) fn took(&mut self, service: ServiceId, time: Duration, alone: bool, in_flight: u32) {
        let Launches::Learnt { most, .. } = self.launches else { return };
        let time = time.as_secs_f64();
        let known = self.alone.entry(service).or_insert(time);
        // Alone, it may have changed for the worse.
        *known = if alone { *known + WEIGHT * (time - *known) } else { known.min(time) };
        let too_many = time > TOLERANCE * *known;
        if self.is_known() {
        } else if too_many {
            self.decrease(in_flight, DECREASE);
        } else if in_flight >= self.get() {
            // Fewer show nothing of those that are allowed.
            self.failed = self.failed.filter(|failed| in_flight < *failed);
            let wary = self.failed.is_some_and(|failed| self.allowed + 1.0 > failed.into());
            let more = if wary { WARY } else { 1.0 } / self.allowed;
            self.allowed = (self.allowed + more).min(most.max(1).into());
        }
    }

    /// A launch failed by the engine's fault, with so many in flight, itself included.
    pub(super) fn failed(&mut self, in_flight: u32) {
        if matches!(self.launches, Launches::Learnt { .. })
            && !self.is_known()
            && self.decrease(in_flight, LOSS)
        {
            self.failed = Some(in_flight);
        }
    }

    /// Whether a launch shows what one in flight with it has shown already.
    fn is_known(&mut self) -> bool {
        let known = self.before > 0;
        self.before = self.before.saturating_sub(1);
        known
    }

    /// So many are too many; where they are less than half of what is allowed, it was not
    /// their number.
    fn decrease(&mut self, in_flight: u32, to: f64) -> bool {
        let shows = in_flight > 1 && 2 * in_flight >= self.get();
        if shows {
            self.before = in_flight - 1;
            self.allowed = (self.allowed * to).max(1.0);
        }
        shows
    }
}

#[cfg(test)]
mod tests;
