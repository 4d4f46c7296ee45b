//! The daemons of one list, and those that are kept for a while although they are
//! not in it any more.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_pool::core::DaemonName;
use ganger_pool::discovery::DaemonSpec;
use tokio::time::Instant;

use crate::endpoint::Site;

/// How long daemons are kept that a Consul does not list after it lost its memory, or that all
/// vanish at once: after a restart an agent lists nothing until its services were registered again.
const KEPT: Duration = Duration::from_secs(60);

/// The daemons of one list.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Listed daemons; or kept ones, until when.
    known: BTreeMap<DaemonName, (DaemonSpec<Site>, Option<Instant>)>,
}

// === impl Membership ===

impl Membership {
    /// Takes a complete answer. Daemons that it lacks leave at once, unless it is doubtful that
    /// they have left.
    pub(super) fn update(&mut self, now: Instant, daemons: Vec<DaemonSpec<Site>>, restarted: bool) {
        let doubtful = restarted || (daemons.is_empty() && self.known.len() > 1);
        for (_, until) in self.known.values_mut() {
            // Kept ones go on being kept; listed ones are, if they may be back.
            *until = Some(until.unwrap_or(if doubtful { now + KEPT } else { now }));
        }
        for daemon in daemons {
            self.known.insert(daemon.name.clone(), (daemon, None));
        }
        self.known.retain(|_, (_, until)| until.is_none_or(|until| until > now));
    }

    pub(super) fn daemons(&self) -> impl Iterator<Item = &DaemonSpec<Site>> {
        self.known.values().map(|(daemon, _)| daemon)
    }

    /// The time until the first kept daemon is to go.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let first = self.known.values().filter_map(|(_, until)| *until).min()?;
        Some(first.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(name: &str) -> DaemonSpec<Site> {
        DaemonSpec {
            name: name.into(),
            endpoint: Site::of("tcp://127.0.0.1:2375".parse().unwrap()),
            max_containers: 4,
            tier: 0,
            max_launches: None,
        }
    }

    fn names(members: &Membership) -> Vec<&str> {
        members.daemons().map(|daemon| daemon.name.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_listed_any_more_has_left_at_once() {
        let (now, mut members) = (Instant::now(), Membership::default());
        members.update(now, vec![daemon("a"), daemon("b")], false);
        members.update(now, vec![daemon("b")], false);
        assert_eq!(names(&members), ["b"]);
        members.update(now, vec![], false);
        assert!(names(&members).is_empty(), "the last one may leave as well");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_vanish_with_consul_s_memory_are_kept_for_a_while() {
        for (restarted, listed) in [(true, vec![daemon("c")]), (false, vec![])] {
            let (now, mut members) = (Instant::now(), Membership::default());
            members.update(now, vec![daemon("a"), daemon("b")], false);
            members.update(now, listed, restarted);
            assert_eq!(members.next(now), Some(KEPT));
            // Registered again, one is a member like any other.
            members.update(now + KEPT / 2, vec![daemon("a")], false);
            assert_eq!(names(&members)[..2], ["a", "b"]);
            members.update(now + KEPT, vec![daemon("a")], false);
            assert_eq!(names(&members), ["a"]);
            assert_eq!(members.next(now), None);
        }
    }
}
