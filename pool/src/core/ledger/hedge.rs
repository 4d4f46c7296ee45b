//! Hedges: for a client whose container takes long to launch, another on a second daemon.
//!
//! It is launched when the first has taken longer than 95 in 100 of the last ones did,
//! so that one launch in twenty is repeated at most (Dean and Barroso, "The Tail at
//! Scale", 2013). Whichever is ready first serves; the other goes into stock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::sizing;
use super::{LaunchId, Ledger, Timer};

/// Of so many launches it is known how long they took.
const KEPT: usize = 64;
/// From so few nothing follows.
const ENOUGH: usize = 20;

/// What is known of a service's launches.
#[derive(Debug, Default)]
pub(super) struct Hedges {
    times: VecDeque<Duration>,
    /// Launches in flight that take unusually long.
    pub(super) late: u32,
}

// === impl Hedges ===

impl Hedges {
    /// A launch took so long, from its order until it was ready.
    pub(super) fn took(&mut self, time: Duration) {
        if self.times.len() == KEPT {
            self.times.pop_front();
        }
        self.times.push_back(time);
    }

    /// What 95 in 100 took at most.
    fn usual(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.times.iter().copied().collect();
        let rank = (times.len() * 95).div_ceil(100).checked_sub(1);
        let rank = rank.filter(|_| times.len() >= ENOUGH)?;
        Some(*times.select_nth_unstable(rank).1)
    }
}

// === impl Ledger ===

impl Ledger {
    /// A launch was ordered: it is looked at when it takes unusually long.
    pub(super) fn expect(&mut self, now: Instant, launch: LaunchId, index: usize) {
        let service = self.services.get_index(index);
        if let Some(usual) = service.and_then(|(_, service)| service.hedges.usual()) {
            self.timers.insert((now + usual, Timer::Late(launch)));
        }
    }

    /// A launch takes unusually long, if it goes on at all.
    pub(super) fn late(&mut self, now: Instant, launch: LaunchId) {
        let Some(container) = self.containers.get_mut(&launch) else { return };
        if !container.state.is_launch() {
            return;
        }
        container.late = true;
        let (index, generation) = (container.service, container.generation);
        let slow = container.daemon.clone();
        let Some((_, service)) = self.services.get_index_mut(index) else { return };
        service.hedges.late += 1;
        let coming = sizing::on_their_way(&service.counts).saturating_sub(service.hedges.late);
        let wanted = generation == service.current()
            && service.queue.len() > coming
            && service.counts.total() < service.policy.max
            && service.trouble(generation).is_some_and(|trouble| trouble.retry_at.is_none());
        if self.draining || !wanted {
            return;
        }
        let lane = (index, generation);
        let able = |name: &_| self.daemons.get(name).is_some_and(|daemon| daemon.can_launch(lane));
        let other = self.placement.pick(|name| *name != slow && able(name)).cloned();
        if let Some(other) = other {
            self.launch(now, lane, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_is_what_one_in_twenty_is_and_only_of_late() {
        let mut hedges = Hedges::default();
        let seconds = |n| Duration::from_secs(n);
        (1..20).for_each(|n| hedges.took(seconds(n)));
        assert_eq!(hedges.usual(), None);
        hedges.took(seconds(20));
        assert_eq!(hedges.usual(), Some(seconds(19)));
        (0..64).for_each(|_| hedges.took(seconds(2)));
        assert_eq!(hedges.usual(), Some(seconds(2)));
    }
}
