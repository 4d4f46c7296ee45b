//! The pool's names for the daemons that are listed: a name stands for one place.
//!
//! All that is kept of a daemon (containers, removals, where the guardian looks) is kept
//! by its name. A name that is listed with another url than before is another daemon:
//! the old one leaves under its own name, is drained where it is, and is forgotten only
//! when it holds nothing. The new one is called `NAME~2` for as long as it is listed there.

use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::DaemonName;
use ganger_pool::discovery::DaemonSpec;
use tokio::time::Instant;

use crate::docker::Site;

/// A name is free for another place when its daemon has left for so long, and is not known
/// any more. The pool hears of a change after a moment, and may just be making contact.
const SETTLED: Duration = Duration::from_secs(60);

/// Which name stands for which place.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Bound>);

#[derive(Debug)]
struct Bound {
    /// The pool's name for it. Not valid in a file where it differs from the listed name.
    name: DaemonName,
    listed: DaemonName,
    place: String,
    /// Since when it is not listed there any more.
    left: Option<Instant>,
}

// === impl Names ===

impl Names {
    /// A list as the pool is to see it. `knows` says of a daemon that left whether it may
    /// hold anything yet.
    pub(super) fn assign(
        &mut self,
        listed: &[DaemonSpec<Site>],
        knows: impl Fn(&DaemonName) -> bool,
    ) -> Arc<[DaemonSpec<Site>]> {
        let now = Instant::now();
        for bound in &mut self.0 {
            let stays = listed.iter().any(|daemon| bound.is(daemon));
            bound.left = if stays { None } else { Some(bound.left.unwrap_or(now)) };
        }
        self.0.retain(|bound| {
            bound.left.is_none_or(|left| now - left < SETTLED || knows(&bound.name))
        });
        let named =
            |daemon: &DaemonSpec<Site>| DaemonSpec { name: self.name(daemon), ..daemon.clone() };
        listed.iter().map(named).collect()
    }

    fn name(&mut self, daemon: &DaemonSpec<Site>) -> DaemonName {
        if let Some(bound) = self.0.iter().find(|bound| bound.is(daemon)) {
            return bound.name.clone();
        }
        let (listed, place) = (daemon.name.clone(), daemon.endpoint.endpoint.place());
        let taken = |name: &DaemonName| self.0.iter().any(|bound| bound.name == *name);
        let mut name = listed.clone();
        let mut number = 1;
        while taken(&name) {
            number += 1;
            name = format!("{listed}~{number}").into();
        }
        if number > 1 {
            let was = self.0.iter().find(|bound| bound.name == listed).map(|bound| &*bound.place);
            tracing::info!(
                daemon = %name, place, was,
                "daemon {listed} is listed at another place: it is another one, and called so \
                 while the one before is drained"
            );
        }
        self.0.push(Bound { name: name.clone(), listed, place, left: None });
        name
    }
}

// === impl Bound ===

impl Bound {
    fn is(&self, daemon: &DaemonSpec<Site>) -> bool {
        self.listed == daemon.name && self.place == daemon.endpoint.endpoint.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon((name, port): (&str, u16)) -> DaemonSpec<Site> {
        DaemonSpec {
            name: name.into(),
            endpoint: Site::of(format!("tcp://127.0.0.1:{port}").parse().unwrap()),
            max_containers: 4,
            tier: 0,
            max_launches: None,
        }
    }

    fn assign(names: &mut Names, listed: &[(&str, u16)], known: &[&str]) -> Vec<String> {
        let listed: Vec<_> = listed.iter().copied().map(daemon).collect();
        let fleet = names.assign(&listed, |name| known.contains(&name.as_str()));
        assert!(fleet.iter().map(|d| &d.endpoint).eq(listed.iter().map(|d| &d.endpoint)));
        fleet.iter().map(|daemon| daemon.name.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_stands_for_one_place_until_what_was_there_is_gone() {
        let mut names = Names::default();
        assert_eq!(assign(&mut names, &[("a", 1), ("b", 2)], &["a", "b"]), ["a", "b"]);
        // At once, and after it was away: two reloads.
        assert_eq!(assign(&mut names, &[("a", 3), ("b", 2)], &["a", "b"]), ["a~2", "b"]);
        assert_eq!(assign(&mut names, &[("b", 2)], &["a", "a~2", "b"]), ["b"]);
        assert_eq!(assign(&mut names, &[("a", 4)], &["a", "a~2", "b"]), ["a~3"]);
        // A daemon that comes back to its place is the one that was there.
        assert_eq!(assign(&mut names, &[("a", 1), ("b", 2)], &["a"]), ["a", "b"]);
        assert_eq!(assign(&mut names, &[("a", 3)], &["a", "a~2"]), ["a~2"]);
        // The pool may not have heard yet that it is gone.
        assert_eq!(assign(&mut names, &[("a", 5)], &[]), ["a~4"]);
        tokio::time::advance(SETTLED).await;
        assert_eq!(assign(&mut names, &[("a", 6)], &["a"]), ["a~2"], "one is drained yet");
        tokio::time::advance(SETTLED).await;
        assert_eq!(assign(&mut names, &[("a", 7)], &[]), ["a"]);
        assert_eq!(names.0.len(), 2, "{names:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_described_otherwise_is_the_same() {
        let mut names = Names::default();
        assert_eq!(assign(&mut names, &[("a", 1)], &[]), ["a"]);
        let mut other = daemon(("a", 1));
        other.endpoint.publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
        other.max_containers = 9;
        let fleet = names.assign(&[other.clone()], |_| true);
        assert_eq!(*fleet, [other.clone()]);
        other.endpoint.endpoint = "tcp://localhost:1".parse().unwrap();
        let fleet = names.assign(&[other.clone()], |_| true);
        assert_eq!(*fleet, [other], "the same place in other words");
    }
}
