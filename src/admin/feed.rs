//! The feed: a bounded log of events for readers, each with a number from which a reader can go on.
//!
//! Readers pull; nothing is queued for them. They look at most every 250 ms, and an event that
//! happens again to the same subject within that time replaces the one before, with a count. A
//! reader that was told the first is told how often it happened since, so that no reader counts
//! anything twice. Events that a reader was too slow for are told as a gap.

mod happening;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ganger_pool::{Observer, PoolEvent};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

pub use happening::Happening;

/// The time within which equal events of a subject are one event.
pub(super) const WINDOW: Duration = Duration::from_millis(250);
/// The happenings that are kept.
const KEPT: usize = 512;

/// The events of the process.
#[derive(Debug)]
pub struct Feed {
    log: Mutex<FeedLog>,
    /// The number of the latest event.
    latest: watch::Sender<u64>,
}

/// An event, as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FeedEvent {
    /// Its number: later events have larger ones.
    pub(super) id: u64,
    /// `service`, `daemon`, `about` or `happening`.
    pub(super) name: &'static str,
    /// As JSON.
    pub(super) data: Arc<str>,
}

/// The events after a number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// Happenings after it are not kept any more.
    pub(super) has_gap: bool,
    /// In order.
    pub(super) events: Vec<FeedEvent>,
}

#[derive(Debug, Default)]
struct FeedLog {
    last: u64,
    happenings: VecDeque<Kept>,
    /// The number of the last happening that was dropped.
    dropped: u64,
    /// The latest state of each subject: of a service or a daemon, by its name.
    states: BTreeMap<(&'static str, String), FeedEvent>,
}

#[derive(Debug)]
struct Kept {
    /// When it happened first.
    since: Instant,
    /// When it happened last: later ones follow.
    at: Instant,
    /// The number of each time that it happened.
    numbers: Vec<u64>,
    happening: Happening,
    /// The happening, as JSON.
    data: Arc<str>,
}

// === impl Feed ===

impl Feed {
    /// Nothing has happened yet. Numbers go on from those of an earlier run, so that its readers are not
    /// told old numbers again: they begin with the time, in microseconds.
    #[must_use]
    pub fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last = u64::try_from(since.as_micros()).unwrap_or_default();
        let log = Mutex::new(FeedLog { last, dropped: last, ..FeedLog::default() });
        Self { log, latest: watch::channel(last).0 }
    }

    /// Adds a happening.
    pub fn tell(&self, happening: Happening) {
        let mut log = self.log.lock();
        log.last += 1;
        let latest = log.last;
        log.happened(Happening { id: latest, ..happening }, Instant::now());
        drop(log);
        self.latest.send_replace(latest);
    }

    /// Sets the state of a subject. A state that differs is an event.
    pub(super) fn show(&self, name: &'static str, subject: &str, state: &impl Serialize) {
        let data: Arc<str> = json(state).into();
        let mut log = self.log.lock();
        let key = (name, subject.to_owned());
        if log.states.get(&key).is_some_and(|shown| shown.data == data) {
            return;
        }
        log.last += 1;
        let latest = log.last;
        log.states.insert(key, FeedEvent { id: latest, name, data });
        drop(log);
        self.latest.send_replace(latest);
    }

    /// Forgets the subjects of this kind that are not `there`.
    pub(super) fn keep(&self, name: &'static str, there: &BTreeSet<&str>) {
        let mut log = self.log.lock();
        log.states.retain(|(kind, subject), _| *kind != name || there.contains(subject.as_str()));
    }

    /// How all subjects are, and the number of the latest event.
    pub(super) fn states(&self) -> (u64, Vec<FeedEvent>) {
        let log = self.log.lock();
        (log.last, log.states.values().cloned().collect())
    }

    /// The number of the latest event, for readers that wait for the next.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The events after a number. A number of another run is before all that there is.
    pub(super) fn after(&self, number: u64) -> News {
        let log = self.log.lock();
        let number = if number > log.last { 0 } else { number };
        let happenings = log.happenings.iter().filter(|kept| kept.happening.id > number);
        let happenings = happenings.map(|kept| kept.told_after(number));
        let states = log.states.values().filter(|state| state.id > number).cloned();
        let mut events: Vec<_> = happenings.chain(states).collect();
        events.sort_unstable_by_key(|event| event.id);
        News { has_gap: number < log.dropped && number > 0, events }
    }

    /// The latest happenings that are kept, the oldest first.
    pub(super) fn happenings(&self) -> Vec<Happening> {
        self.log.lock().happenings.iter().map(|kept| kept.happening.clone()).collect()
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Feed {
    fn observe(&self, event: &PoolEvent) {
        if let Some(happening) = Happening::of(&event.kind) {
            self.tell(happening);
        }
    }

    fn wants_leases(&self) -> bool {
        false
    }
}

// === impl FeedLog ===

impl FeedLog {
    fn happened(&mut self, mut happening: Happening, now: Instant) {
        let young = self.happenings.iter().rev().take_while(|kept| now - kept.at < WINDOW);
        // Happenings that recur for ever are one event in each window.
        let is_same = |kept: &Kept| now - kept.since < WINDOW && kept.happening.is_like(&happening);
        let same = young.enumerate().find(|(_, kept)| is_same(kept));
        let (mut since, mut numbers) = (now, Vec::new());
        if let Some((from_end, _)) = same
            && let Some(kept) = self.happenings.remove(self.happenings.len() - 1 - from_end)
        {
            happening.count += kept.happening.count;
            (since, numbers) = (kept.since, kept.numbers);
        }
        if self.happenings.len() == KEPT
            && let Some(oldest) = self.happenings.pop_front()
        {
            self.dropped = oldest.happening.id;
        }
        numbers.push(happening.id);
        let data = json(&happening).into();
        self.happenings.push_back(Kept { since, at: now, numbers, happening, data });
    }
}

// === impl Kept ===

impl Kept {
    /// The event for a reader that was told all up to a number: known times are not counted.
    fn told_after(&self, number: u64) -> FeedEvent {
        let known = self.numbers.partition_point(|known| *known <= number);
        let data = if known == 0 {
            Arc::clone(&self.data)
        } else {
            let known = u32::try_from(known).unwrap_or(u32::MAX);
            let count = self.happening.count.saturating_sub(known);
            json(&Happening { count, ..self.happening.clone() }).into()
        };
        FeedEvent { id: self.happening.id, name: "happening", data }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
