//! The failures that are kept: so many, each no larger than so much, and the latest of each service
//! however many others there are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::bundle::{FailureBundle, FailureLimits};
use crate::legible::legible;

/// How many failures are kept.
pub(super) const KEPT: usize = 64;
/// How many are kept where each is the latest of its service.
pub(super) const MOST: usize = 256;
/// The most bytes that are kept of a name, and of each of the texts: with all of them a failure
/// takes less than 6 KiB.
const NAME: usize = 256;
const ERROR: usize = 2048;
const HINT: usize = 512;
const LOG: usize = 2048;

/// The failures that are kept.
#[derive(Debug, Default)]
pub(super) struct FailureRing {
    /// The number of the latest.
    last: u64,
    /// The latest is at the end.
    kept: VecDeque<Arc<FailureBundle>>,
    /// The limits for containers of each service.
    limits: BTreeMap<String, FailureLimits>,
}

// === impl FailureRing ===

impl FailureRing {
    pub(super) fn set_limits(&mut self, limits: BTreeMap<String, FailureLimits>) {
        self.limits = limits;
    }

    /// The latest comes first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Arc<FailureBundle>> {
        self.kept.iter().rev()
    }

    /// Adds a failure that happened `now`.
    pub(super) fn add(&mut self, found: FailureBundle, now: String) {
        let limits = self.limits.get(&found.service).copied();
        let limits = limits.filter(|limits| *limits != FailureLimits::default());
        let mut new = FailureBundle { at: now, limits, ..bounded(found) };
        let beside = self.kept.iter().rposition(|kept| kept.is_beside(&new));
        let again = beside.filter(|at| self.kept[*at].is_like(&new));
        if let Some(before) = again.and_then(|at| self.kept.remove(at)) {
            new.id = before.id;
            new.first_at.clone_from(&before.first_at);
            new.count = new.count.saturating_add(before.count);
        } else {
            self.make_room(&new.service);
            self.last += 1;
            new.id = self.last;
            new.first_at.clone_from(&new.at);
        }
        self.kept.push_back(Arc::new(new));
    }

    /// Drops what has to make room for a failure of this service.
    fn make_room(&mut self, service: &str) {
        if self.kept.len() < KEPT {
            return;
        }
        let mut counts = BTreeMap::from([(service, 1)]);
        for kept in &self.kept {
            *counts.entry(&kept.service).or_insert(0) += 1;
        }
        // The oldest that is not the latest of its service.
        let spare = self.kept.iter().position(|kept| counts[kept.service.as_str()] > 1);
        if let Some(at) = spare.or((self.kept.len() >= MOST).then_some(0)) {
            self.kept.remove(at);
        }
    }
}

/// The same, with its texts cut to size and without anything that a terminal obeys.
fn bounded(found: FailureBundle) -> FailureBundle {
    let mut left = LOG;
    // The end of a log says more than its beginning.
    let mut log: Vec<_> = Vec::new();
    for line in found.log.iter().rev() {
        let line = plain(line, LOG);
        let Some(rest) = left.checked_sub(line.len() + size_of::<String>()) else { break };
        left = rest;
        log.push(line);
    }
    log.reverse();
    FailureBundle {
        service: plain(&found.service, NAME),
        daemon: found.daemon.map(|daemon| plain(&daemon, NAME)),
        container: found.container.map(|container| plain(&container, NAME)),
        error: plain(&found.error, ERROR),
        hint: found.hint.map(|hint| plain(&hint, HINT)),
        log,
        ..found
    }
}

/// A text of which a terminal obeys nothing, in one line, cut to so many bytes.
fn plain(text: &str, most: usize) -> String {
    const CUT: char = '…';
    // A longer text is cut anyway: a character is a byte at least.
    let beginning: String = text.trim_end().chars().take(most + 1).collect();
    let mut plain = legible(&beginning);
    if plain.len() > most {
        let most = most - CUT.len_utf8();
        let end = plain.char_indices().map(|(at, _)| at).take_while(|at| *at <= most).last();
        plain.truncate(end.unwrap_or_default());
        plain.push(CUT);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::bundle::FailurePhase;
    use super::*;

    fn failed(service: &str, error: &str) -> FailureBundle {
        FailureBundle::new(FailurePhase::Ready, service.to_owned(), error.to_owned())
    }

    /// The kept failures, the latest first.
    fn seen(ring: &FailureRing) -> Vec<(u64, &str, u64)> {
        ring.latest().map(|kept| (kept.id, kept.error.as_str(), kept.count)).collect()
    }

    #[test]
    fn what_happens_in_a_row_is_counted_and_has_two_times() {
        let mut ring = FailureRing::default();
        let mut add = |service: &str, error: &str, now: &str| {
            ring.add(failed(service, error), now.to_owned());
        };
        add("a", "no", "1");
        add("b", "no", "2");
        add("a", "no", "3");
        add("a", "other", "4");
        add("a", "no", "5");
        assert_eq!(seen(&ring), [(4, "no", 1), (3, "other", 1), (1, "no", 2), (2, "no", 1)]);
        let twice = ring.latest().find(|kept| kept.id == 1).unwrap();
        assert_eq!((twice.first_at.as_str(), twice.at.as_str()), ("1", "3"));
        // Another end is another failure.
        ring.add(FailureBundle { exit_code: Some(3), ..failed("a", "no") }, "6".into());
        ring.add(FailureBundle { count: 5, exit_code: Some(3), ..failed("a", "no") }, "7".into());
        assert_eq!(seen(&ring)[..2], [(5, "no", 6), (4, "no", 1)]);
    }

    #[test]
    fn a_flood_of_one_service_leaves_the_latest_of_the_others() {
        let mut ring = FailureRing::default();
        for service in ["quiet", "other", "quiet"] {
            ring.add(failed(service, &format!("{} of {service}", ring.last)), "1".into());
        }
        for at in 0..10 * KEPT {
            ring.add(failed("loud", &at.to_string()), "2".into());
        }
        let kept = seen(&ring);
        assert_eq!(kept.len(), KEPT);
        assert_eq!(
            kept[KEPT - 2..].iter().map(|it| it.1).collect::<Vec<_>>(),
            ["2 of quiet", "1 of other"]
        );
        for service in 0..2 * MOST {
            ring.add(failed(&service.to_string(), "no"), "3".into());
            assert!(ring.kept.len() <= MOST);
        }
        assert_eq!(ring.kept.len(), MOST);
        assert_eq!(ring.latest().next().unwrap().service, (2 * MOST - 1).to_string());
    }

    #[test]
    fn nothing_is_larger_than_it_may_be_and_nothing_steers_a_terminal() {
        for part in ["x", "ä", "\x1b", "\u{202e}"] {
            let long = part.repeat(9999);
            let mut found = failed(&long, &long);
            (found.daemon, found.hint) = (Some(long.clone()), Some(long.clone()));
            found.log = vec![long.clone(), "the last".to_owned()];
            let mut ring = FailureRing::default();
            ring.add(found, "1".into());
            let kept = ring.latest().next().unwrap();
            let text = serde_json::to_string(&**kept).unwrap();
            assert!(text.len() < 6 << 10, "{}", text.len());
            assert!(kept.error.ends_with('…') && kept.log.ends_with(&["the last".to_owned()]));
            let is_plain = |text: &str| text.chars().all(|c| !c.is_control() && c != '\u{202e}');
            assert!([&kept.error, kept.hint.as_ref().unwrap()].into_iter().all(|it| is_plain(it)));
            assert!(kept.log.iter().all(|line| is_plain(line)));
        }
        assert_eq!(plain("o\tn\"e\"\n", 9), "o n\"e\"");
        assert_eq!(plain("12345", 5), "12345");
        assert_eq!(plain("123456", 5), "12…");
    }
}
