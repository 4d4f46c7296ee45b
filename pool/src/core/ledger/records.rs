//! What the ledger knows of each container, service and daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::limit::Limit;
use super::super::placement::{Load, Terms};
use super::super::stock::Stocked;
use super::super::{Counts, Launches};
use super::gone::Gone;
use super::{ContainerKey, DaemonName, Generation, Lane, LaunchId, RetireReason, State, WaiterId};

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
    /// Since when it was wanted, if that says how long its like takes.
    pub(super) wanted: Option<Instant>,
    /// When it was seen to exist: a list that began before says nothing of it.
    pub(super) seen: Option<Instant>,
    /// When it is too old to be leased; known once it is ready.
    pub(super) expires: Option<Instant>,
    /// It is not to be leased again, for this reason, however its lease ends.
    pub(super) condemned: Option<RetireReason>,
    /// When somebody has had a signal sent to it, paused or removed it last: should it end soon
    /// after, that is not its own doing.
    pub(super) meddled: Option<Instant>,
    /// The last list did not show it.
    pub(super) missed: bool,
    pub(super) vouched: Vouched,
    /// Its launch takes unusually long. Counted in its service's `Hedges`.
    pub(super) late: bool,
    /// It is launched because another takes unusually long. Counted there as well.
    pub(super) hedge: bool,
    /// The number of its launch among those of its daemon, if none other was in flight.
    pub(super) alone: Option<u64>,
}

/// On whose word a container is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouched {
    /// Its daemon's, which lists it.
    Listed,
    /// Its own, until then: its daemon is unreachable, and it has proved itself.
    Until(Instant),
    /// It is to prove itself: its daemon is unreachable.
    Asked,
    /// It is to prove itself, and its daemon lists it again.
    Shown,
}

#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) terms: Terms,
    pub(super) limit: Limit,
    pub(super) contact: Contact,
    /// It left the fleet: nothing new is launched or leased on it.
    pub(super) leaving: bool,
    /// A complete list was had since contact was made.
    pub(super) listed: bool,
    pub(super) counts: Counts,
    pub(super) containers: BTreeSet<LaunchId>,
    /// Containers of ours that are in no other record; they are being removed.
    pub(super) strays: BTreeSet<ContainerKey>,
    /// Containers of others who share the capacity, as of the last list; with what runs there
    /// of ours under another name of the same engine.
    pub(super) others: u32,
    /// What was removed, for lists that began before.
    pub(super) gone: Gone,
    /// Whether it can launch what is in a lane. Absent: not known yet.
    pub(super) prepared: BTreeMap<Lane, Result<(), Arc<str>>>,
    /// How often in a row it said that it cannot.
    pub(super) refusals: BTreeMap<Lane, u32>,
    /// Launches ordered on it so far.
    pub(super) ordered: u64,
    /// Launches that failed in a row by its fault.
    pub(super) failures: u32,
    pub(super) failed_at: Option<Instant>,
    /// Why launches on it fail, while they do.
    pub(super) degraded: Option<Arc<str>>,
    /// Nothing is launched on it until then.
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contact {
    /// Not tried yet.
    Joining,
    Up,
    /// Why there is none, and since when.
    Down(Arc<str>, Instant),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A waiter's deadline.
    Waiter(WaiterId),
    /// A container in stock gets too old.
    Age(LaunchId),
    /// What a container in stock has proved is too long ago, without contact.
    Stale(LaunchId),
    /// A launch takes unusually long.
    Late(LaunchId),
    /// The end of a service's surplus window.
    Surplus(usize),
    /// When the demand of a service is looked at though nobody came.
    Demand(usize),
    /// The end of a lane's back-off.
    Lane(Lane),
    /// The end of a pause in what is launched for the stock of a lane.
    Stock(Lane),
    /// The end of a daemon's back-off.
    Daemon(DaemonName),
    /// A lane waits no longer for daemons that have yet to answer.
    Hold(Lane),
    /// The spread of the stocks is looked at.
    Spread,
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
            wanted: None,
            seen: None,
            expires: None,
            condemned: None,
            meddled: None,
            missed: false,
            vouched: Vouched::Listed,
            late: false,
            hedge: false,
            alone: None,
        }
    }

    pub(super) fn stocked(&self, launch: LaunchId) -> Stocked {
        let by_itself = self.vouched != Vouched::Listed;
        Stocked { generation: self.generation, by_itself, uses: self.uses, launch }
    }

    /// How long it has been running, when that is not long.
    pub(super) fn young(&self, now: Instant) -> Option<Duration> {
        self.seen.map(|seen| now - seen).filter(|age| *age < YOUNG)
    }

    pub(super) fn expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            limit: Limit::new(Launches::Fixed(1)),
            contact: Contact::Joining,
            leaving: false,
            listed: false,
            counts: Counts::default(),
            containers: BTreeSet::new(),
            strays: BTreeSet::new(),
            others: 0,
            gone: Gone::default(),
            prepared: BTreeMap::new(),
            refusals: BTreeMap::new(),
            ordered: 0,
            failures: 0,
            failed_at: None,
            degraded: None,
            retry_at: None,
        }
    }

    pub(super) fn used(&self) -> u32 {
        let strays = u32::try_from(self.strays.len()).unwrap_or(u32::MAX);
        self.counts.total().saturating_add(strays)
    }

    /// How full it is, whoever fills it.
    pub(super) fn load(&self) -> Load {
        Load { used: self.used().saturating_add(self.others), terms: self.terms }
    }

    /// Its load when a launch may be ordered on it now.
    pub(super) fn open(&self, draining: bool) -> Option<Load> {
        let load = self.load();
        let open = !draining
            && self.contact == Contact::Up
            // Until then nobody knows what an earlier boot left on it.
            && self.listed
            && !self.leaving
            && self.retry_at.is_none()
            && self.counts[State::Launching] < self.launches()
            && load.has_room();
        open.then_some(load)
    }

    /// How many launches it may have in flight: while they fail, one that tries.
    fn launches(&self) -> u32 {
        if self.failures > 0 { 1 } else { self.limit.get() }
    }

    /// How many more containers it would take, now or when launches under way
    /// and pauses are over.
    pub(super) fn room(&self) -> u32 {
        let usable = self.contact == Contact::Up && self.listed && !self.leaving;
        if usable { self.terms.capacity.saturating_sub(self.load().used) } else { 0 }
    }

    /// Its last launches were not failed by it.
    pub(super) fn is_sound(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn can_launch(&self, lane: Lane) -> bool {
        matches!(self.prepared.get(&lane), Some(Ok(())))
    }

    /// Why it cannot launch what is in a lane, for good as far as is known; `None`
    /// when it can, or when that is not known yet. And whether it said so itself.
    pub(super) fn unfit_for(&self, lane: Lane) -> Option<(Arc<str>, bool)> {
        match (&self.contact, self.prepared.get(&lane)) {
            _ if self.leaving => Some(("it left the fleet".into(), false)),
            (Contact::Down(reason, _), _) => Some((reason.clone(), false)),
            (Contact::Up, Some(Err(reason))) => Some((reason.clone(), true)),
            _ => None,
        }
    }
}
