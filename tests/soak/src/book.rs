//! The faults that were done, their targets and times, and what they explain.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long after the end of a fault its effects may show.
const AFTER: Duration = Duration::from_secs(20);

/// Every fault so far.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Vec<Fault>>);

/// The target of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A container, by the name of its host: the first 12 digits of its id.
    Container(String),
    /// A daemon, by its name.
    Daemon(String),
    /// The link of a host that clients come from, by its name.
    Clients(String),
    /// The program itself.
    Program,
}

/// The effect of a fault that clients may notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Clients that are connected to the target are cut, and stay cut.
    Cut,
    /// Clients that are connected to the target wait.
    Stall,
    /// Either, as it happens.
    Both,
    /// Nothing but a wait for another container, or a refusal.
    Nothing,
}

#[derive(Debug)]
struct Fault {
    kind: &'static str,
    target: Target,
    effect: Effect,
    from: Instant,
    /// None while it lasts, and when nothing undoes it.
    to: Option<Instant>,
    /// The fault was not carried out after all.
    void: bool,
}

/// A fault of the book.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry(usize);

/// A connection for which a fault is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sufferer<'a> {
    pub(crate) container: Option<&'a str>,
    pub(crate) daemon: Option<&'a str>,
    /// The host that its client came from.
    pub(crate) host: Option<&'a str>,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

// === impl Book ===

impl Book {
    /// Notes a fault, before it is carried out: clients may be faster than who does it.
    pub(crate) fn begin(&self, kind: &'static str, target: Target, effect: Effect) -> Entry {
        let mut faults = self.0.lock();
        let from = Instant::now();
        faults.push(Fault { kind, target, effect, from, to: None, void: false });
        Entry(faults.len() - 1)
    }

    /// Notes the end of a fault.
    pub(crate) fn end(&self, entry: Entry) {
        self.0.lock()[entry.0].to = Some(Instant::now());
    }

    /// Notes that the fault could not be done: it explains nothing and does not count.
    pub(crate) fn void(&self, entry: Entry) {
        self.0.lock()[entry.0].void = true;
    }

    /// Whether a fault with this effect was done to the container, its daemon or the
    /// program at such a time.
    pub(crate) fn explains(&self, effect: Effect, who: Sufferer<'_>) -> bool {
        let fits = |fault: &Fault| [effect, Effect::Both].contains(&fault.effect) && !fault.void;
        self.0.lock().iter().filter(|fault| fits(fault)).any(|fault| {
            let meant = match &fault.target {
                Target::Container(id) => Some(&**id) == who.container,
                Target::Daemon(name) => Some(&**name) == who.daemon,
                Target::Clients(name) => Some(&**name) == who.host,
                Target::Program => true,
            };
            meant && fault.from <= who.to && fault.to.is_none_or(|to| to + AFTER >= who.from)
        })
    }

    /// How many of each kind.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for fault in self.0.lock().iter().filter(|fault| !fault.void) {
            *counts.entry(fault.kind).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_of_the_time_and_place_explains() {
        let book = Book::default();
        let early = Instant::now();
        let kill = book.begin("kill", Target::Container("a".into()), Effect::Cut);
        let now = Instant::now();
        let who = |container, daemon, from, to| {
            let host = None;
            Sufferer { container, daemon, host, from, to }
        };
        let a = who(Some("a"), Some("one"), early, now);
        assert!(book.explains(Effect::Cut, a));
        assert!(!book.explains(Effect::Stall, a));
        assert!(!book.explains(Effect::Cut, who(Some("b"), Some("one"), early, now)));
        book.void(kill);
        assert!(!book.explains(Effect::Cut, a));
        let daemon = book.begin("dockerd killed", Target::Daemon("one".into()), Effect::Cut);
        let now = Instant::now();
        assert!(book.explains(Effect::Cut, who(Some("a"), Some("one"), early, now)));
        assert!(!book.explains(Effect::Cut, who(Some("a"), None, early, now)));
        book.end(daemon);
        let late = Instant::now() + 2 * AFTER;
        assert!(!book.explains(Effect::Cut, who(Some("a"), Some("one"), late, late)));
        let link = book.begin("client link down", Target::Clients("host-1".into()), Effect::Stall);
        let late = Sufferer { host: Some("host-1"), ..who(None, None, late, late) };
        assert!(book.explains(Effect::Stall, late) && !book.explains(Effect::Cut, late));
        assert!(!book.explains(Effect::Stall, Sufferer { host: Some("host-2"), ..late }));
        book.void(link);
        assert_eq!(book.counts().into_iter().collect::<Vec<_>>(), [("dockerd killed", 1)]);
    }
}
