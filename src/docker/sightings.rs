//! The containers of other runs, as the lists of one engine have shown them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::view::Listed;

/// States of a container that somebody has started.
const STARTED: [&str; 6] = ["running", "paused", "restarting", "exited", "stopping", "stopped"];

/// Other runs' containers that the lists of one engine have shown, by id.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// Containers that were there before we were, by our first list.
    first: BTreeSet<String>,
    /// Containers that came later, each with the time when it was first seen.
    unstarted: BTreeMap<String, Instant>,
}

// === impl Sightings ===

impl Sightings {
    /// Takes note of a complete list; the first list creates the sightings.
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

    /// Whether the run of a stray went on after our first list.
    pub(super) fn proves_life(&self, stray: &Listed) -> bool {
        let state = stray.state.as_deref().unwrap_or_default();
        !self.first.contains(&stray.id) && STARTED.contains(&state)
    }

    /// Since when a stray that came after the first list is known.
    pub(super) fn unstarted_since(&self, stray: &Listed) -> Option<Instant> {
        self.unstarted.get(&stray.id).copied()
    }
}
