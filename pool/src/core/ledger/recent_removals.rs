//! Recent removals, for lists that began before.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::ContainerKey;

/// The most removals that are remembered; beyond that the oldest are forgotten.
/// If a list still shows a forgotten one, it is removed again, which costs a call.
const MOST: usize = 4096;

/// The removals on one daemon that a list under way may not know of, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentRemovals(VecDeque<(Instant, ContainerKey)>);

// === impl RecentRemovals ===

impl RecentRemovals {
    pub(super) fn note(&mut self, now: Instant, key: ContainerKey) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((now, key));
    }

    /// Removed containers that a list may show which began then. Earlier removals
    /// are forgotten: a list begins when the one before it has ended.
    pub(super) fn since(&mut self, began: Instant) -> BTreeSet<ContainerKey> {
        while let Some((at, _)) = self.0.front()
            && *at < began
        {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, key)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_remembers_only_what_a_list_under_way_may_show() {
        let start = tokio::time::Instant::now().into_std();
        let key = |n: u64| ContainerKey::Launch(super::super::LaunchId(n));
        let mut gone = RecentRemovals::default();
        (0..4).for_each(|n| gone.note(start + Duration::from_secs(n), key(n)));
        assert_eq!(gone.since(start + Duration::from_secs(2)), [key(2), key(3)].into());
        for n in 0..2 * MOST as u64 {
            gone.note(start + Duration::from_secs(9), key(n));
        }
        assert_eq!(gone.since(start).first(), Some(&key(MOST as u64)));
    }
}
