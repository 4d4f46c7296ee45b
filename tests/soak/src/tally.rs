//! Counts of what was seen, and the violations.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;

/// Counts of connections, and the violations.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<String, usize>>,
    violations: Mutex<Vec<String>>,
}

// === impl Tally ===

impl Tally {
    /// Counts one more of a kind, such as `served strict`.
    pub(crate) fn count(&self, kind: impl Into<String>) {
        *self.counts.lock().entry(kind.into()).or_default() += 1;
    }

    /// How many of the kinds that start so.
    pub(crate) fn of(&self, prefix: &str) -> usize {
        let counts = self.counts.lock();
        counts.iter().filter(|(kind, _)| kind.starts_with(prefix)).map(|(_, count)| count).sum()
    }

    /// Notes a violation, which is printed at once and again at the end.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        say(&format!("VIOLATION: {what}"));
        self.violations.lock().push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// The counts, in words.
    pub(crate) fn summary(&self) -> String {
        listed(self.counts.lock().iter())
    }
}

/// `kind count, kind count`.
pub(crate) fn listed<K: std::fmt::Display, V: std::fmt::Display>(
    pairs: impl Iterator<Item = (K, V)>,
) -> String {
    let mut text = String::new();
    for (kind, count) in pairs {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{kind} {count}");
    }
    text
}

/// A line with the time of day in UTC, as the program's log has it.
pub(crate) fn say(line: &str) {
    let since = UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
    let (day, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes, seconds) = (day / 3600, day / 60 % 60, day % 60);
    println!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03} {line}");
}
