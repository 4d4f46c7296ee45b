//! The record of one daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::super::limit::Limit;
use super::super::placement::{Capacity, Load};
use super::super::{AdminState, Counts, Launches};
use super::recent_removals::RecentRemovals;
use super::{ContainerKey, DaemonName, LaunchId, SpecKey, State};

#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) name: DaemonName,
    pub(super) capacity: Capacity,
    pub(super) limit: Limit,
    /// Written by `Ledger::change_daemon` alone, as are the next two.
    pub(super) contact: Contact,
    /// The daemon left the fleet: nothing new is launched or leased on it.
    pub(super) leaving: bool,
    /// Whether the operator lets it be used.
    pub(super) admin: AdminState,
    pub(super) counts: Counts,
    pub(super) containers: BTreeSet<LaunchId>,
    /// Containers of this pool that are in no other record; they are being removed.
    pub(super) strays: BTreeSet<ContainerKey>,
    /// Containers of others who share the capacity, as of the last list; with containers of this
    /// pool that run there under another name of the same engine.
    pub(super) others: u32,
    /// Recent removals, for lists that began before.
    pub(super) recent_removals: RecentRemovals,
    /// Whether it can launch a spec. Absent: not known yet.
    pub(super) prepared: BTreeMap<SpecKey, Result<(), Arc<str>>>,
    /// How often in a row the daemon refused a spec.
    pub(super) refusals: BTreeMap<SpecKey, u32>,
    /// Launches ordered on it so far.
    pub(super) ordered: u64,
    /// Failures in a row for which the daemon backs off.
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
    Up {
        /// Whether a complete list has arrived since.
        listed: bool,
    },
    /// Why there is none, and since when.
    Down(Arc<str>, Instant),
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn new(name: DaemonName, capacity: Capacity) -> Self {
        Self {
            name,
            capacity,
            limit: Limit::new(Launches::Fixed(1)),
            contact: Contact::Joining,
            leaving: false,
            admin: AdminState::Ready,
            counts: Counts::default(),
            containers: BTreeSet::new(),
            strays: BTreeSet::new(),
            others: 0,
            recent_removals: RecentRemovals::default(),
            prepared: BTreeMap::new(),
            refusals: BTreeMap::new(),
            ordered: 0,
            failures: 0,
            failed_at: None,
            degraded: None,
            retry_at: None,
        }
    }

    /// Whether containers may be launched and leased on it, as far as fleet and operator say.
    pub(super) fn in_service(&self) -> bool {
        !self.leaving && self.admin.is_ready()
    }

    /// Whether there is contact.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.contact, Contact::Up { .. })
    }

    /// Whether there is contact, and a complete list has arrived since it was made.
    pub(super) fn is_listed(&self) -> bool {
        self.contact == Contact::Up { listed: true }
    }

    pub(super) fn used(&self) -> u32 {
        let strays = u32::try_from(self.strays.len()).unwrap_or(u32::MAX);
        self.counts.total().saturating_add(strays)
    }

    /// How full it is, whoever fills it.
    pub(super) fn load(&self) -> Load {
        Load { used: self.used().saturating_add(self.others), capacity: self.capacity }
    }

    /// Its load when a launch may be ordered on it now.
    pub(super) fn open(&self, draining: bool) -> Option<Load> {
        let load = self.load();
        let open = !draining
            // Before the first list, strays of an earlier boot are unknown.
            && self.is_listed()
            && self.in_service()
            && self.retry_at.is_none()
            && self.counts[State::Launching] < self.launches()
            && load.has_room();
        open.then_some(load)
    }

    /// How many launches it may have in flight: one while they fail.
    pub(super) fn launches(&self) -> u32 {
        if self.failures > 0 { 1 } else { self.limit.get() }
    }

    /// How many more containers it would take, now or when launches under way
    /// and pauses are over.
    pub(super) fn room(&self) -> u32 {
        let usable = self.is_listed() && self.in_service();
        if usable { self.capacity.containers.saturating_sub(self.load().used) } else { 0 }
    }

    /// Whether no failure counts against it since a launch started.
    pub(super) fn is_sound(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn can_launch(&self, spec: SpecKey) -> bool {
        matches!(self.prepared.get(&spec), Some(Ok(())))
    }

    /// Why it cannot launch a spec, for good as far as is known, and whether
    /// it said so itself; `None` when it can, or when that is not known yet.
    pub(super) fn unfit_for(&self, spec: SpecKey) -> Option<(Arc<str>, bool)> {
        match (&self.contact, self.prepared.get(&spec)) {
            _ if self.leaving => Some(("it left the fleet".into(), false)),
            _ if !self.admin.is_ready() => {
                Some((format!("the operator has set it to {}", self.admin).into(), false))
            }
            (Contact::Down(reason, _), _) => Some((reason.clone(), false)),
            (Contact::Up { .. }, Some(Err(reason))) => Some((reason.clone(), true)),
            _ => None,
        }
    }
}
