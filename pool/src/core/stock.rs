//! The containers of a service that are ready and leased to nobody.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Generation, LaunchId};

/// Newest generation first; then those used most, so that few containers carry
/// the reuse and the rest can be retired as surplus; then the oldest, so that
/// none waits for its `max_age` behind younger ones.
type Rank = (Reverse<Generation>, Reverse<u32>, LaunchId);

/// The stock, best container first.
#[derive(Debug, Default)]
pub(super) struct Stock(BTreeSet<Rank>);

// === impl Stock ===

impl Stock {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn best(&self) -> Option<LaunchId> {
        self.0.first().map(|rank| rank.2)
    }

    pub(super) fn worst(&self) -> Option<LaunchId> {
        self.0.last().map(|rank| rank.2)
    }

    /// The worst of those of this generation and of newer ones.
    pub(super) fn worst_from(&self, generation: Generation) -> Option<LaunchId> {
        let last = (Reverse(generation), Reverse(0), LaunchId(u64::MAX));
        self.0.range(..=last).next_back().map(|rank| rank.2)
    }

    /// The best of the oldest generation, when that is older than this one.
    pub(super) fn older_than(&self, generation: Generation) -> Option<LaunchId> {
        let oldest = self.0.last()?.0;
        let first = self.0.range((oldest, Reverse(u32::MAX), LaunchId(0))..).next();
        first.filter(|_| oldest.0 < generation).map(|rank| rank.2)
    }

    pub(super) fn add(&mut self, generation: Generation, uses: u32, launch: LaunchId) {
        self.0.insert((Reverse(generation), Reverse(uses), launch));
    }

    pub(super) fn remove(&mut self, generation: Generation, uses: u32, launch: LaunchId) {
        let there = self.0.remove(&(Reverse(generation), Reverse(uses), launch));
        debug_assert!(there, "{launch:?} was not in stock");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_generation_then_most_used_then_oldest() {
        let mut stock = Stock::default();
        for (generation, uses, launch) in [(1, 3, 1), (2, 0, 5), (2, 1, 6), (2, 0, 4)] {
            stock.add(Generation(generation), uses, LaunchId(launch));
        }
        let mut order = Vec::new();
        for (generation, uses) in [(2, 1), (2, 0), (2, 0), (1, 3)] {
            let best = stock.best().unwrap();
            stock.remove(Generation(generation), uses, best);
            order.push(best.0);
        }
        assert_eq!(order, [6, 4, 5, 1]);
    }
}
