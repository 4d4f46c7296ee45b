//! What the lists of one engine have shown of the containers of other runs.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::view::Listed;

/// States of a container that somebody has started.
const STARTED: [&str; 6] = ["running", "paused", "restarting", "exited", "stopping", "stopped"];

/// What lists of one engine have shown of other runs' containers, by id.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// They were there before we were.
    first: BTreeSet<String>,
    /// They came later and were not started, since when we know of them.
    unstarted: BTreeMap<String, Instant>,
}

// === impl Sightings ===

impl Sightings {
    /// Takes note of a complete list; the first makes it.
    pub(super) fn update(known: &mut Option<Self>, strays: &[&Listed]) {
        let ids = || strays.iter().map(|stray| stray.id.clone());
        let Some(known) = known else {
            *known = Some(Self { first: ids().collect(), unstarted: BTreeMap::new() });
            return;
        };
        let shown: BTreeSet<String> = ids().collect();
        known.first.retain(|id| shown.contains(id));
        known.unstarted.retain(|id, _| shown.contains(id));
        for id in shown {
            if !known.first.contains(&id) {
                known.unstarted.entry(id).or_insert_with(Instant::now);
            }
        }
    }

    /// Whether its run went on after our first list.
    pub(super) fn proves_life(&self, stray: &Listed) -> bool {
        let state = stray.state.as_deref().unwrap_or_default();
        !self.first.contains(&stray.id) && STARTED.contains(&state)
    }

    /// Since when a stray is known that came after the first list and has not been started.
    pub(super) fn unstarted_since(&self, stray: &Listed) -> Option<Instant> {
        self.unstarted.get(&stray.id).copied()
    }
}
