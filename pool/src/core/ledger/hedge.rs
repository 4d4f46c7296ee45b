//! Hedges: for a client whose container takes long to launch, another on a second daemon.
//!
//! The hedge is launched when the first has taken longer than 95 in 100 of the last launches
//! did (Dean and Barroso, "The Tail at Scale", 2013). When an engine gets slow, all of its
//! launches do: hedges are at most one in twenty of the launches on their way, or a
//! single one. The container that is ready first serves; the other goes into stock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::sizing;
use super::{Container, Daemon, DaemonId, LaunchId, Ledger, ServiceId, Timer};

/// The last launches whose time is kept.
const KEPT: usize = 64;
/// Of so many launches under way one may be a hedge.
const SHARE: u32 = 20;
/// The daemons that are looked at for a hedge.
const LOOKED_AT: usize = 16;

/// The launch times and the hedges of a service.
#[derive(Debug, Default)]
pub(super) struct Hedges {
    times: VecDeque<Duration>,
    /// Launches in flight that take unusually long.
    pub(super) late: u32,
    /// Hedges in flight.
    pub(super) under_way: u32,
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

    /// The time that 95 in 100 took at most; `None` with fewer than `enough`.
    fn usual(&self, enough: usize) -> Option<Duration> {
        let mut times: Vec<_> = self.times.iter().copied().collect();
        let rank = (times.len() * 95).div_ceil(100).checked_sub(1);
        let rank = rank.filter(|_| times.len() >= enough)?;
        Some(*times.select_nth_unstable(rank).1)
    }
}

// === impl Ledger ===

impl Ledger {
    /// A launch was ordered: sets the timer for when it takes unusually long.
    pub(super) fn expect(&mut self, now: Instant, launch: LaunchId, id: ServiceId) {
        let service = &self.services[id];
        if let Some(usual) = service.hedges.usual(service.policy.hedge_after) {
            // A launch that takes just as long is usual.
            let unusual = usual + Duration::from_nanos(1);
            self.timers.insert((now + unusual, Timer::Late(launch)));
        }
    }

    /// A launch takes unusually long, if it goes on at all.
    pub(super) fn late(&mut self, now: Instant, launch: LaunchId) {
        let Some(container) = self.containers.get_mut(&launch) else { return };
        if !container.state.is_launch() {
            return;
        }
        container.late = true;
        let Container { service: id, generation, daemon: slow, .. } = *container;
        let service = &mut self.services[id];
        service.hedges.late += 1;
        let under_way = sizing::on_their_way(&service.counts);
        let coming = under_way.saturating_sub(service.hedges.late);
        let spec = (id, generation);
        let wanted = generation == service.current()
            && service.queue.len() > coming
            && service.counts.total() < service.policy.max
            && service.hedges.under_way < (under_way / SHARE).max(1)
            && service.failures_of(generation).is_some_and(|streak| streak.total() == 0);
        if self.draining || !wanted || self.unplaceable.contains(&spec) {
            return;
        }
        let able = |daemon: &Daemon| daemon.is_sound() && daemon.can_launch(spec);
        let will_do = |other: DaemonId| other != slow && able(&self.daemons[other]);
        let Some(other) = self.placement.pick(LOOKED_AT, will_do) else { return };
        let launch = self.launch(now, spec, other);
        self.containers[launch].hedge = true;
        let service = &mut self.services[id];
        service.hedges.under_way += 1;
        service.totals.hedged += 1;
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
        assert_eq!(hedges.usual(20), None);
        hedges.took(seconds(20));
        assert_eq!(hedges.usual(20), Some(seconds(19)));
        (0..64).for_each(|_| hedges.took(seconds(2)));
        assert_eq!(hedges.usual(20), Some(seconds(2)));
    }
}
