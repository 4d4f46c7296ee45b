//! The answers of the fleet's sources, including those that a reload has removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::admin::{SourceNow, SourceReading};
use crate::discovery::SourceHealth;

/// Counts by source, for as long as the process lives; the state of the source that is followed.
#[derive(Debug, Default)]
pub(in crate::app) struct FleetSources(Mutex<Followings>);

#[derive(Debug, Default)]
struct Followings {
    /// Of those that are not followed any more: updates and failures.
    past: BTreeMap<&'static str, (u64, u64)>,
    current: Option<FollowedSource>,
}

/// The source that is followed.
#[derive(Debug)]
struct FollowedSource {
    kind: &'static str,
    health: Arc<SourceHealth>,
    updates: u64,
    daemons: usize,
}

// === impl FleetSources ===

impl FleetSources {
    /// Follows this source from now on, and no other.
    pub(super) fn follow(&self, kind: &'static str, health: Arc<SourceHealth>) {
        let mut followings = self.0.lock();
        let next = FollowedSource { kind, health, updates: 0, daemons: 0 };
        if let Some(before) = followings.current.replace(next) {
            let (updates, failures) = followings.past.entry(before.kind).or_default();
            *updates += before.updates;
            *failures += before.health.answers().failures;
        }
    }

    /// Notes how many daemons the followed source lists, and whether the fleet has changed.
    pub(super) fn told(&self, daemons: usize, changed: bool) {
        if let Some(current) = &mut self.0.lock().current {
            current.daemons = daemons;
            current.updates += u64::from(changed);
        }
    }

    /// Notes that the answer of the followed source holds as of now.
    pub(super) fn confirm(&self) {
        if let Some(current) = &self.0.lock().current {
            current.health.answered(0);
        }
    }

    /// A reading of each source that is or was followed.
    pub(in crate::app) fn read(&self) -> Vec<SourceReading> {
        let followings = self.0.lock();
        let mut counts = followings.past.clone();
        let mut now = None;
        if let Some(FollowedSource { kind, health, updates, daemons }) = &followings.current {
            let answers = health.answers();
            let (all_updates, all_failures) = counts.entry(kind).or_default();
            *all_updates += updates;
            *all_failures += answers.failures;
            let is = SourceNow { is_up: answers.is_up, daemons: *daemons, answered: answers.last };
            now = Some((*kind, is));
        }
        let reading = |(source, (updates, failures))| {
            let now = now.filter(|(kind, _)| *kind == source).map(|(_, is)| is);
            SourceReading { source, updates, failures, now }
        };
        counts.into_iter().map(reading).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_outlive_their_source_and_gauges_do_not() {
        let sources = FleetSources::default();
        let read =
            || sources.read().into_iter().map(|it| (it.source, it)).collect::<BTreeMap<_, _>>();
        let swarm = || Arc::new(SourceHealth::of_parts(1));
        let first = swarm();
        sources.follow("swarm", Arc::clone(&first));
        sources.told(0, false);
        first.failed(0, true);
        let now = SourceNow { is_up: false, daemons: 0, answered: None };
        let expected = SourceReading { source: "swarm", updates: 0, failures: 1, now: Some(now) };
        assert_eq!(read()["swarm"], expected);
        first.answered(0);
        sources.told(3, true);
        let now = read()["swarm"].now.unwrap();
        assert!(now.is_up && now.daemons == 3 && now.answered.is_some(), "{now:?}");

        sources.follow("config", Arc::new(SourceHealth::known()));
        sources.told(2, true);
        assert_eq!((read()["config"].updates, read()["config"].now.unwrap().daemons), (1, 2));
        let gone = SourceReading { source: "swarm", updates: 1, failures: 1, now: None };
        assert_eq!(read()["swarm"], gone);

        let again = swarm();
        sources.follow("swarm", Arc::clone(&again));
        again.failed(0, true);
        sources.told(3, true);
        assert_eq!((read()["swarm"].updates, read()["swarm"].failures), (2, 2));
        assert!(read()["swarm"].now.is_some() && read()["config"].now.is_none());
    }
}
