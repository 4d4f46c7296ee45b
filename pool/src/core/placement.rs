//! Which daemon gets the next container: the least utilised one.

use std::collections::{BTreeMap, BTreeSet};

use super::DaemonName;

/// How full a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Containers on it, counting those being launched and removed.
    pub used: u32,
    /// The most it may hold.
    pub capacity: u32,
}

/// Share of the capacity in use, then containers, then name.
type Rank = (u64, u32, DaemonName);

/// The daemons that have room, least utilised first. Finding one and changing
/// one both cost O(log n).
#[derive(Debug, Default)]
pub(super) struct Placement {
    order: BTreeSet<Rank>,
    ranks: BTreeMap<DaemonName, (u64, u32)>,
}

// === impl Load ===

impl Load {
    /// Whether one more fits.
    #[must_use]
    pub const fn has_room(self) -> bool {
        self.used < self.capacity
    }

    /// The share in use as a 32-bit fraction: exact enough to tell any two
    /// shares of capacities below 65,536 apart.
    fn share(self) -> u64 {
        (u64::from(self.used) << 32) / u64::from(self.capacity.max(1))
    }
}

// === impl Placement ===

impl Placement {
    /// Notes a daemon's load; `None` takes it out of the choice.
    pub(super) fn set(&mut self, daemon: &DaemonName, load: Option<Load>) {
        let rank = load.map(|load| (load.share(), load.used));
        if self.ranks.get(daemon).copied() == rank {
            return;
        }
        if let Some((share, used)) = self.ranks.remove(daemon) {
            self.order.remove(&(share, used, daemon.clone()));
        }
        if let Some((share, used)) = rank {
            self.ranks.insert(daemon.clone(), (share, used));
            self.order.insert((share, used, daemon.clone()));
        }
    }

    /// The least utilised daemon that will do.
    pub(super) fn pick(&self, will_do: impl Fn(&DaemonName) -> bool) -> Option<&DaemonName> {
        self.order.iter().map(|rank| &rank.2).find(|name| will_do(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(loads: &[(&str, u32, u32)]) -> Vec<String> {
        let mut placement = Placement::default();
        for (name, used, capacity) in loads {
            placement
                .set(&DaemonName::from(*name), Some(Load { used: *used, capacity: *capacity }));
        }
        placement.order.iter().map(|rank| rank.2.to_string()).collect()
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
    fn a_daemon_without_load_is_not_picked() {
        let mut placement = Placement::default();
        let name = DaemonName::from("a");
        placement.set(&name, Some(Load { used: 0, capacity: 1 }));
        assert_eq!(placement.pick(|_| true), Some(&name));
        placement.set(&name, None);
        assert_eq!(placement.pick(|_| true), None);
    }
}
