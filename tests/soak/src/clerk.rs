//! Compares what clients saw with what the program says of them and the faults that were
//! done to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ganger_test_support::{ConnEnd, Fleet};

use crate::book::{Effect, Sufferer};
use crate::program::Life;
use crate::setup::Service;
use crate::tally::say;
use crate::{World, forgotten, nap};

/// How long after a connection's end its line may take: a reset that is lost with its client's
/// link is only noticed by the minute of `client.keepalive`.
const LINE: Duration = Duration::from_secs(100);
/// How long before a kill a record may be unwritten.
const UNWRITTEN: Duration = Duration::from_secs(2);
/// Texts that the program must not print.
const MISTAKES: [&str; 3] = ["granted a container that nobody waits for", "panicked", "mistake in"];

/// A connection, as its client saw it.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) service: Service,
    /// The client's own.
    pub(crate) address: SocketAddr,
    /// The host that it came from; `None` for this machine.
    pub(crate) host: Option<String>,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// The container that served it, if it was told.
    pub(crate) told: Option<String>,
    pub(crate) end: End,
}

/// How a connection ended, for its client.
#[derive(Debug)]
pub(crate) enum End {
    /// When the client had what it wanted.
    Well,
    /// The client left before it was told anything.
    Left,
    /// Before its time.
    Cut(String),
    /// Nothing came for too long.
    Late(String),
    /// The client was told what it must not be.
    Wrong(String),
}

/// See [`Clerk::run`].
#[derive(Debug)]
pub(crate) struct Clerk<'a> {
    world: &'a World,
    fleet: &'a Fleet,
    /// Containers that run though their engine has forgotten them, by the ids that clients know.
    forgotten: BTreeSet<String>,
    /// How many lines of the log and how many records of each life were read.
    read: Vec<[usize; 2]>,
    /// By life and address of the client.
    ends: BTreeMap<(usize, SocketAddr), VecDeque<ConnEnd>>,
    pending: Vec<Visit>,
}

// === impl Clerk ===

impl<'a> Clerk<'a> {
    pub(crate) fn new(world: &'a World, fleet: &'a Fleet) -> Self {
        let (forgotten, read, ends, pending) = Default::default();
        Self { world, fleet, forgotten, read, ends, pending }
    }

    /// Judges connections until there are no more.
    pub(crate) fn run(mut self) {
        loop {
            let last = self.world.closed.load(Ordering::SeqCst);
            self.pending.append(&mut self.world.inbox.lock());
            self.read_lines();
            for visit in std::mem::take(&mut self.pending) {
                self.settle(visit);
            }
            if last && self.pending.is_empty() {
                return;
            }
            nap(Duration::from_millis(100));
        }
    }

    fn read_lines(&mut self) {
        let (lines, ends) = {
            let lives = self.world.program.lives();
            self.read.resize(lives.len(), [0; 2]);
            let lives = lives.iter().zip(&mut self.read).enumerate();
            let (mut all_lines, mut all_ends) = (Vec::new(), Vec::new());
            for (number, (life, [lines_read, ends_read])) in lives {
                let lines = life.ganger.lines_after(*lines_read);
                *lines_read += lines.len();
                all_lines.extend(lines);
                let ends = life.ganger.ends_after(*ends_read);
                *ends_read += ends.len();
                all_ends.extend(ends.into_iter().map(|end| (number, end)));
            }
            (all_lines, all_ends)
        };
        for (life, end) in ends {
            if let Ok(client) = end.field("client").parse() {
                self.ends.entry((life, client)).or_default().push_back(end);
            }
        }
        for line in lines {
            if MISTAKES.iter().any(|mistake| line.contains(mistake)) {
                self.world.tally.violation(format!("the program printed: {line}"));
            }
        }
    }

    /// Judges a connection, if there is a line on it or will be none.
    fn settle(&mut self, visit: Visit) {
        let (life, killed) = {
            let lives = self.world.program.lives();
            let begun = |life: &Life| life.began <= visit.began;
            let life = lives.iter().rposition(begun).unwrap_or_default();
            (life, lives[life].killed)
        };
        let end = self.ends.get_mut(&(life, visit.address)).and_then(VecDeque::pop_front);
        let silenced = killed.is_some_and(|killed| visit.ended + UNWRITTEN >= killed);
        if end.is_some() || (silenced && visit.ended.elapsed() > UNWRITTEN) {
            self.judge(&visit, end.as_ref());
        } else if visit.ended.elapsed() > LINE {
            self.world.tally.violation(format!("nothing is logged of {visit:?}"));
        } else {
            self.pending.push(visit);
        }
    }

    fn judge(&mut self, visit: &Visit, end: Option<&ConnEnd>) {
        let service = visit.service.name();
        let field = |name| end.map(|end| end.field(name)).filter(|value| *value != "-");
        let (code, served) = (field("end").unwrap_or("no line"), field("container"));
        if let (Some(told), Some(served)) = (visit.told.as_deref(), served)
            && told != served
            && self.is_forgotten(told)
        {
            return self.world.tally.count("led to a container that its engine has forgotten");
        }
        let tally = &self.world.tally;
        let who = Sufferer {
            container: visit.told.as_deref().or(served),
            daemon: field("daemon").map(listed),
            host: visit.host.as_deref(),
            from: visit.began,
            to: visit.ended,
        };
        let explained = |effect| self.world.book.explains(effect, who);
        let wrong = |what: &str| {
            let (client, lasted) = (visit.address, visit.ended - visit.began);
            tally.violation(format!("{what}: {service}, client {client}, {lasted:?}, {end:?}"));
        };
        if let (Some(told), Some(served)) = (visit.told.as_deref(), served)
            && told != served
        {
            wrong("the log names another container");
        }
        match &visit.end {
            _ if code.starts_with('I') || code.starts_with('R') => wrong("an internal error"),
            End::Well => tally.count(format!("served {service}")),
            End::Left => tally.count("left"),
            End::Wrong(what) => wrong(what),
            End::Late(_) if explained(Effect::Stall) => tally.count("late by a fault"),
            End::Late(what) => wrong(&format!("nothing came {what}")),
            End::Cut(_) if visit.told.is_none() && is_refusal(code) => {
                tally.count(format!("refused {code}"));
            }
            End::Cut(_) if explained(Effect::Cut) => tally.count("cut by a fault"),
            End::Cut(what) => {
                say(&format!("faults so far: {:?}", self.world.book.counts()));
                wrong(&format!("no fault explains the cut {what}"));
            }
        }
    }

    /// Whether a container that a client was told of is known to no engine any more.
    fn is_forgotten(&mut self, told: &str) -> bool {
        let known = self.forgotten.contains(told);
        if !known && forgotten::end(self.fleet, told) {
            say(&format!("{told} runs, and its engine has forgotten it: it is ended"));
            self.forgotten.insert(told.to_owned());
        }
        known || self.forgotten.contains(told)
    }
}

/// The name of a daemon in the configuration: one at another place than before has `~2`
/// behind its name in the log.
fn listed(daemon: &str) -> &str {
    daemon.split('~').next().unwrap_or(daemon)
}

/// Whether a client that gets no container is told so by this code.
fn is_refusal(code: &str) -> bool {
    matches!(code, "PQ" | "DQ" | "DL" | "KQ")
}
