//! How many launches a daemon has in flight, learnt from how long they take.
//!
//! Concurrent launches start more containers a second, until each takes so much longer
//! that nothing is gained: an engine on two processors starts 4.0 containers a second one by
//! one, 5.9 four at a time, each in 2.6 times the time, and 5.2 twelve at a time, each in 9
//! times the time. So the limit rises by one for each round of launches that took at most
//! [`TOLERANCE`] times what one takes alone, and falls by a tenth after a launch that took
//! longer: additive increase, multiplicative decrease, by delay as in TCP Vegas (Brakmo,
//! Peterson, 1995). When several launches fail at once the limit is halved, as where packets
//! are lost, and gets back there only after a hundred times as many launches as otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use super::id::ServiceId;

/// A launch that takes more than this times what one takes alone shows that too many go on.
const TOLERANCE: f64 = 3.0;
/// The factor of the limit then.
const DECREASE: f64 = 0.9;
/// The factor of the limit when a launch fails.
const LOSS: f64 = 0.5;
/// The share of the increase that is left where so many have failed before.
const WARY: f64 = 0.01;
/// The weight of each launch that went on alone in their moving average.
const WEIGHT: f64 = 0.25;

/// How many launches a daemon may have in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launches {
    /// A fixed number.
    Fixed(u32),
    /// Learnt.
    Learnt {
        /// To begin with.
        first: u32,
        /// At most.
        most: u32,
    },
}

/// The limit of one daemon.
#[derive(Debug)]
pub(super) struct Limit {
    launches: Launches,
    allowed: f64,
    /// The number in flight that failed, until as many succeed.
    failed: Option<u32>,
    /// The seconds that a launch takes alone, by service: their images and networks differ.
    alone: BTreeMap<ServiceId, f64>,
    /// Launches that were in flight at the last decrease and have yet to end: they show the same.
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

    /// A launch of a service took so long, `alone` all along or not, with so many `in_flight`
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
            // Fewer launches than the limit say nothing of it.
            self.failed = self.failed.filter(|failed| in_flight < *failed);
            let wary = self.failed.is_some_and(|failed| self.allowed + 1.0 > failed.into());
            let more = if wary { WARY } else { 1.0 } / self.allowed;
            self.allowed = (self.allowed + more).min(most.max(1).into());
        }
    }

    /// A launch failed by the daemon's fault, with so many in flight, itself included.
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

    /// Lowers the limit, unless a single launch or less than half of it was in flight: the
    /// cause was not their number then.
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
