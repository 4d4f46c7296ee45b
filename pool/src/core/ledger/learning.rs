//! Learning the demand of a service whose stock sizes itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::demand::Demand;

/// The learnt demand of a service whose stock sizes itself.
#[derive(Debug, Default)]
pub(super) struct Learning {
    pub(super) demand: Demand,
    /// Since when each container without a launch is wanted, the longest first. `None`
    /// where many at once were, which says nothing of how long a single one takes.
    wanted: VecDeque<Option<Instant>>,
    /// When the demand is reviewed though nobody came.
    pub(super) review: Option<Instant>,
}

// === impl Learning ===

impl Learning {
    /// Takes note of how many containers lack; of those that have just begun to, `since`.
    pub(super) fn note_wanted(&mut self, lacking: u32, since: Option<Instant>) {
        // Behind many that were wanted at once the wait of a single one says nothing.
        let since = since.filter(|_| self.wanted.back() != Some(&None));
        self.wanted.resize(usize::try_from(lacking).unwrap_or(usize::MAX), since);
    }

    /// Since when each container without a launch is wanted, the longest first.
    #[cfg(test)]
    pub(super) fn wanted_since(&self) -> Vec<Option<Instant>> {
        self.wanted.iter().copied().collect()
    }

    /// A launch is ordered. Returns since when it was wanted.
    pub(super) fn launched(&mut self) -> Option<Instant> {
        self.wanted.pop_front().flatten()
    }

    /// A launch ended well, so long after it was wanted and ordered.
    pub(super) fn ready_after(&mut self, wanted: Option<Duration>, ordered: Duration) {
        // Until a lead time is known, the time of the launch alone stands for it.
        if let Some(lead) = wanted.or((!self.demand.knows_lead()).then_some(ordered)) {
            self.demand.launched(lead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_better_is_known_launches_tell_how_long_they_took_themselves() {
        let mut learning = Learning::default();
        let mut now = tokio::time::Instant::now().into_std();
        let mut looks_after = |wanted: Option<u64>, ordered| {
            learning.ready_after(wanted.map(Duration::from_secs), Duration::from_secs(ordered));
            learning.demand.arrived(now);
            now += Duration::from_secs(600);
            learning.demand.look_after()
        };
        assert_eq!(looks_after(None, 4), Duration::from_secs(4));
        // From then on, only what says how long one is waited for.
        (0..9).for_each(|_| assert_eq!(looks_after(None, 64), Duration::from_secs(4)));
    }
}
