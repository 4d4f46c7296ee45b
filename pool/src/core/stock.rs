//! The containers of a service that are ready and leased to nobody.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Generation, LaunchId};

/// Newest generation first; then containers that their daemon lists, as one that proved itself
/// without contact may have gone with its machine since; then the most used, so that few
/// containers carry the reuse and the rest can be retired as surplus; then the oldest, so that
/// none waits for its `max_age` behind younger ones.
type StockRank = (Reverse<Generation>, bool, Reverse<u32>, LaunchId);

/// The stock, best container first.
#[derive(Debug, Default)]
pub(super) struct Stock(BTreeSet<StockRank>);

/// The properties that decide a container's place in the stock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stocked {
    pub(super) generation: Generation,
    /// Its daemon is unreachable: it has proved itself.
    pub(super) by_itself: bool,
    pub(super) uses: u32,
    pub(super) launch: LaunchId,
}

// === impl Stock ===

impl Stock {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn best(&self) -> Option<LaunchId> {
        self.0.first().map(|rank| rank.3)
    }

    pub(super) fn worst(&self) -> Option<LaunchId> {
        self.0.last().map(|rank| rank.3)
    }

    pub(super) fn worst_first(&self) -> impl Iterator<Item = LaunchId> {
        self.0.iter().rev().map(|rank| rank.3)
    }

    /// The worst container of this generation and of newer ones.
    pub(super) fn worst_from(&self, generation: Generation) -> Option<LaunchId> {
        let last = (Reverse(generation), true, Reverse(0), LaunchId(u64::MAX));
        self.0.range(..=last).next_back().map(|rank| rank.3)
    }

    /// The best container of the oldest generation, when that is older than this one.
    pub(super) fn older_than(&self, generation: Generation) -> Option<LaunchId> {
        let oldest = self.0.last()?.0;
        let first = self.0.range((oldest, false, Reverse(u32::MAX), LaunchId(0))..).next();
        first.filter(|_| oldest.0 < generation).map(|rank| rank.3)
    }

    pub(super) fn add(&mut self, container: Stocked) {
        self.0.insert(container.rank());
    }

    pub(super) fn remove(&mut self, container: Stocked) {
        let there = self.0.remove(&container.rank());
        debug_assert!(there, "{container:?} was not in stock");
    }
}

// === impl Stocked ===

impl Stocked {
    fn rank(self) -> StockRank {
        (Reverse(self.generation), self.by_itself, Reverse(self.uses), self.launch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_generation_then_vouched_for_then_most_used_then_oldest() {
        let mut stock = Stock::default();
        let container = |(generation, by_itself, uses, launch)| Stocked {
            generation: Generation(generation),
            by_itself,
            uses,
            launch: LaunchId(launch),
        };
        let best = [
            (2, false, 1, 6),
            (2, false, 0, 4),
            (2, false, 0, 5),
            (2, true, 2, 3),
            (1, false, 3, 1),
        ];
        best.into_iter().rev().for_each(|each| stock.add(container(each)));
        assert_eq!(stock.worst_from(Generation(2)), Some(LaunchId(3)));
        for each in best {
            assert_eq!(stock.best(), Some(LaunchId(each.3)));
            stock.remove(container(each));
        }
    }
}
