//! The connections that wait for a container, oldest first.

use std::collections::BTreeMap;
use std::time::Instant;

use super::WaiterId;

/// A bounded queue. Ids ascend, so their order is the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue(BTreeMap<WaiterId, Wait>);

/// When a waiter came and when it gives up.
#[derive(Debug)]
struct Wait {
    since: Instant,
    deadline: Instant,
}

// === impl Queue ===

impl Queue {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn oldest(&self) -> Option<WaiterId> {
        self.0.keys().next().copied()
    }

    /// Since when the oldest waiter waits.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.0.values().next().map(|wait| wait.since)
    }

    /// Adds a waiter that comes `now`, unless `limit` wait already. Returns its place: 1 is the
    /// next to be served.
    pub(super) fn push(
        &mut self,
        now: Instant,
        waiter: WaiterId,
        deadline: Instant,
        limit: u32,
    ) -> Option<u32> {
        let before = self.len();
        (before < limit).then(|| {
            self.0.insert(waiter, Wait { since: now, deadline });
            before + 1
        })
    }

    /// Takes a waiter out; its deadline when it was there.
    pub(super) fn remove(&mut self, waiter: WaiterId) -> Option<Instant> {
        self.0.remove(&waiter).map(|wait| wait.deadline)
    }

    /// Takes the oldest waiter out, with its deadline.
    pub(super) fn pop_oldest(&mut self) -> Option<(WaiterId, Instant)> {
        self.0.pop_first().map(|(waiter, wait)| (waiter, wait.deadline))
    }
}
