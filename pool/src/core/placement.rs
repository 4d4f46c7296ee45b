//! Which daemon gets the next container: the least utilised one of the first tier with room.

use std::collections::{BTreeMap, BTreeSet};

use super::DaemonName;
use super::id::DaemonId;

/// The capacity of a daemon, as discovery gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The most containers it may hold, counting those being launched and removed.
    pub containers: u32,
    /// Launches go to the lowest tier that has room.
    pub tier: u32,
}

/// How full a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Containers on it, counting those being launched and removed.
    pub used: u32,
    /// The capacity of its daemon.
    pub capacity: Capacity,
}

/// Tier, then share of the capacity in use.
pub(super) type Place = (u32, u64);

/// Tier, then share of the capacity in use, then containers, then name; and the daemon's id.
type Rank = (u32, u64, u32, DaemonName, DaemonId);

/// The change of a daemon's place that its load leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// The daemon stays where it was.
    AsBefore,
    /// The daemon goes from one place to another.
    Elsewhere,
    /// The daemon gets a place, and had none.
    Anew,
}

/// The daemons that have room, by tier, least utilised first. Finding one and changing
/// one both cost O(log n).
#[derive(Debug, Default)]
pub(super) struct Placement {
    order: BTreeSet<Rank>,
    ranks: BTreeMap<DaemonId, Rank>,
}

// === impl Load ===

impl Load {
    /// Whether one more fits.
    #[must_use]
    pub const fn has_room(self) -> bool {
        self.used < self.capacity.containers
    }

    /// The part of the load that orders placement: where two are equal, neither is better.
    pub(super) fn place(self) -> Place {
        (self.capacity.tier, self.share())
    }

    /// The share in use as a 32-bit fraction: exact enough to tell any two
    /// shares of capacities below 65,536 apart.
    fn share(self) -> u64 {
        (u64::from(self.used) << 32) / u64::from(self.capacity.containers.max(1))
    }
}

// === impl Placement ===

impl Placement {
    /// Notes the load of a daemon.
    pub(super) fn set(&mut self, daemon: DaemonId, name: &DaemonName, load: Load) -> Placed {
        let rank = (load.capacity.tier, load.share(), load.used, name.clone(), daemon);
        if self.ranks.get(&daemon) == Some(&rank) {
            return Placed::AsBefore;
        }
        let before = self.ranks.insert(daemon, rank.clone());
        self.order.insert(rank);
        match before {
            Some(before) => {
                self.order.remove(&before);
                Placed::Elsewhere
            }
            None => Placed::Anew,
        }
    }

    /// Whether a daemon has a place.
    pub(super) fn has(&self, daemon: DaemonId) -> bool {
        self.ranks.contains_key(&daemon)
    }

    /// Takes a daemon out of the choice. Returns whether it was in it.
    pub(super) fn take_out(&mut self, daemon: DaemonId) -> bool {
        self.ranks.remove(&daemon).is_some_and(|rank| self.order.remove(&rank))
    }

    /// The least utilised daemon that will do, of the lowest tier that has one, among the
    /// first `most`.
    pub(super) fn pick(&self, most: usize, will_do: impl Fn(DaemonId) -> bool) -> Option<DaemonId> {
        self.order.iter().map(|rank| rank.4).take(most).find(|daemon| will_do(*daemon))
    }

    /// The same among daemons that are less utilised than `place`, or of a lower tier. Where
    /// there are none, the search ends at the first.
    pub(super) fn pick_below(
        &self,
        place: Place,
        will_do: impl Fn(DaemonId) -> bool,
    ) -> Option<DaemonId> {
        let below = self.order.iter().take_while(|rank| (rank.0, rank.1) < place);
        below.map(|rank| rank.4).find(|daemon| will_do(*daemon))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(used: u32, capacity: u32, tier: u32) -> Load {
        Load { used, capacity: Capacity { containers: capacity, tier } }
    }

    fn order(loads: &[(&str, u32, u32)]) -> Vec<String> {
        let mut placement = Placement::default();
        for (n, (name, used, capacity)) in (0..).zip(loads) {
            placement.set(DaemonId::from(n), &DaemonName::from(*name), load(*used, *capacity, 0));
        }
        placement.order.iter().map(|rank| rank.3.to_string()).collect()
    }

    #[test]
    fn the_lowest_share_goes_first_whatever_the_size() {
        assert_eq!(
            order(&[("half", 2, 4), ("third", 4, 12), ("tenth", 1, 10)]),
            ["tenth", "third", "half"]
        );
    }

    #[test]
    fn equal_shares_go_by_fewer_containers_then_by_name() {
        assert_eq!(order(&[("large", 4, 8), ("b", 2, 4), ("a", 2, 4)]), ["a", "b", "large"]);
    }

    #[test]
    fn shares_that_differ_little_are_told_apart() {
        assert_eq!(order(&[("a", 65_534, 65_535), ("b", 65_533, 65_534)]), ["b", "a"]);
    }

    #[test]
    fn a_later_tier_is_used_only_when_the_first_has_no_room() {
        let mut placement = Placement::default();
        let (near, far) = (DaemonId::from(0), DaemonId::from(1));
        placement.set(far, &DaemonName::from("far"), load(0, 9, 1));
        placement.set(near, &DaemonName::from("near"), load(8, 9, 0));
        assert_eq!(placement.pick(9, |_| true), Some(near));
        placement.take_out(near);
        assert_eq!(placement.pick(9, |_| true), Some(far));
    }

    #[test]
    fn a_daemon_that_was_taken_out_is_not_picked() {
        let mut placement = Placement::default();
        let (a, name) = (DaemonId::from(0), DaemonName::from("a"));
        assert_eq!(placement.set(a, &name, load(0, 2, 0)), Placed::Anew);
        assert_eq!(placement.set(a, &name, load(0, 2, 0)), Placed::AsBefore);
        assert_eq!(placement.set(a, &name, load(1, 2, 0)), Placed::Elsewhere);
        assert_eq!(placement.pick(9, |_| true), Some(a));
        assert!(placement.take_out(a) && !placement.take_out(a));
        assert_eq!(placement.pick(9, |_| true), None);
    }
}
