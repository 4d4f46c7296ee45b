//! What the ledger knows of each container, service and daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::placement::{Load, Terms};
use super::super::queue::Queue;
use super::super::stock::Stock;
use super::super::{Counts, Policy, sizing};
use super::gone::Gone;
use super::{
    ContainerKey, DaemonName, Generation, LaunchId, RetireReason, State, Totals, WaiterId,
};

/// A container that ends unused, or fails of itself in a lease, within this time
/// of its start counts as a failed launch, so that a service whose containers
/// get ready and then end does not launch without pause.
const YOUNG: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Container {
    /// Index into the services.
    pub(super) service: usize,
    pub(super) daemon: DaemonName,
    pub(super) generation: Generation,
    /// Written by `Ledger::transit` alone.
    pub(super) state: State,
    /// Leases it had, the current one included.
    pub(super) uses: u32,
    /// When its launch was ordered.
    pub(super) born: Instant,
    /// When it was seen to exist: a list that began before says nothing of it.
    pub(super) seen: Option<Instant>,
    /// When it is too old to be leased; known once it is ready.
    pub(super) expires: Option<Instant>,
    /// It is not to be leased again, for this reason, however its lease ends.
    pub(super) condemned: Option<RetireReason>,
    /// The last list did not show it.
    pub(super) missed: bool,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) policy: Policy,
    pub(super) generation: Generation,
    pub(super) counts: Counts,
    pub(super) stock: Stock,
    pub(super) queue: Queue,
    /// Launches that failed in a row by the service's own fault; those ordered
    /// before the last failure was known count as one with it.
    pub(super) failures: u32,
    /// Containers that died young since one has served, or has lived to be leased.
    pub(super) early_deaths: u32,
    pub(super) failed_at: Option<Instant>,
    /// Nothing is launched until then.
    pub(super) retry_at: Option<Instant>,
    pub(super) last_error: Option<Arc<str>>,
    pub(super) window: Option<Window>,
    pub(super) totals: Totals,
}

/// A time in which the stock is above `warm`.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) ends: Instant,
    /// The smallest stock in it so far.
    pub(super) low: u32,
}

#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) terms: Terms,
    pub(super) max_launches: u32,
    pub(super) contact: Contact,
    /// It left the fleet: nothing new is launched or leased on it.
    pub(super) leaving: bool,
    /// A complete list was had since contact was made.
    pub(super) listed: bool,
    pub(super) counts: Counts,
    pub(super) containers: BTreeSet<LaunchId>,
    /// Containers of ours that are in no other record; they are being removed.
    pub(super) strays: BTreeSet<ContainerKey>,
    /// What was removed, for lists that began before.
    pub(super) gone: Gone,
    /// By service, whether it can launch it. Absent: not known yet.
    pub(super) prepared: BTreeMap<usize, Result<(), Arc<str>>>,
    pub(super) failures: u32,
    pub(super) failed_at: Option<Instant>,
    /// Nothing is launched on it until then.
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contact {
    /// Not tried yet.
    Joining,
    Up,
    /// Why there is none.
    Down(Arc<str>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A waiter's deadline.
    Waiter(WaiterId),
    /// A container in stock gets too old.
    Age(LaunchId),
    /// The end of a service's surplus window.
    Surplus(usize),
    /// The end of a service's back-off.
    Service(usize),
    /// The end of a daemon's back-off.
    Daemon(DaemonName),
}

// === impl Container ===

impl Container {
    pub(super) fn new(
        service: usize,
        daemon: DaemonName,
        generation: Generation,
        born: Instant,
    ) -> Self {
        Self {
            service,
            daemon,
            generation,
            state: State::Removed,
            uses: 0,
            born,
            seen: None,
            expires: None,
            condemned: None,
            missed: false,
        }
    }

    /// How long it has been running, when that is not long.
    pub(super) fn young(&self, now: Instant) -> Option<Duration> {
        self.seen.map(|seen| now - seen).filter(|age| *age < YOUNG)
    }

    pub(super) fn expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

// === impl Service ===

impl Service {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            generation: Generation::FIRST,
            counts: Counts::default(),
            stock: Stock::default(),
            queue: Queue::default(),
            failures: 0,
            early_deaths: 0,
            failed_at: None,
            retry_at: None,
            last_error: None,
            window: None,
            totals: Totals::default(),
        }
    }

    pub(super) fn deficit(&self) -> u32 {
        if self.retry_at.is_some() {
            return 0;
        }
        let struggling = self.failures + self.early_deaths > 0;
        sizing::deficit(&self.policy, &self.counts, self.queue.len(), struggling)
    }

    /// How many waiters there is or will be a container for without any other
    /// connection ending, when the daemons that can launch it have so much room.
    pub(super) fn launchable(&self, room: u32) -> u32 {
        let more = self.policy.max.saturating_sub(self.counts.total()).min(room);
        sizing::on_their_way(&self.counts).saturating_add(more)
    }

    /// Its launches have failed so often that nobody should wait for one.
    pub(super) fn failing(&self) -> Option<&Arc<str>> {
        let failures = self.failures + self.early_deaths;
        self.last_error.as_ref().filter(|_| failures >= self.policy.failing_after)
    }
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            max_launches: 1,
            contact: Contact::Joining,
            leaving: false,
            listed: false,
            counts: Counts::default(),
            containers: BTreeSet::new(),
            strays: BTreeSet::new(),
            gone: Gone::default(),
            prepared: BTreeMap::new(),
            failures: 0,
            failed_at: None,
            retry_at: None,
        }
    }

    pub(super) fn used(&self) -> u32 {
        self.counts.total() + u32::try_from(self.strays.len()).unwrap_or(u32::MAX)
    }

    /// Its load when a launch may be ordered on it now.
    pub(super) fn open(&self, draining: bool) -> Option<Load> {
        let load = Load { used: self.used(), terms: self.terms };
        let open = !draining
            && self.contact == Contact::Up
            // Until then nobody knows what an earlier boot left on it.
            && self.listed
            && !self.leaving
            && self.retry_at.is_none()
            && self.counts[State::Launching] < self.max_launches
            && load.has_room();
        open.then_some(load)
    }

    /// How many more containers it would take, now or when launches under way
    /// and pauses are over.
    pub(super) fn room(&self) -> u32 {
        let usable = self.contact == Contact::Up && self.listed && !self.leaving;
        if usable { self.terms.capacity.saturating_sub(self.used()) } else { 0 }
    }

    pub(super) fn can_launch(&self, service: usize) -> bool {
        matches!(self.prepared.get(&service), Some(Ok(())))
    }

    /// Why it cannot serve a service, for good as far as is known; `None` when
    /// it can, or when that is not known yet. And whether it said so itself.
    pub(super) fn unfit_for(&self, service: usize) -> Option<(Arc<str>, bool)> {
        match (&self.contact, self.prepared.get(&service)) {
            _ if self.leaving => Some(("it left the fleet".into(), false)),
            (Contact::Down(reason), _) => Some((reason.clone(), false)),
            (Contact::Up, Some(Err(reason))) => Some((reason.clone(), true)),
            _ => None,
        }
    }
}
