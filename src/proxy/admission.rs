//! Admission: the cap on connections, and the counters of those let in and of those turned away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use ganger_pool::core::ServiceName;
use parking_lot::Mutex;

/// Lets connections in, of all services together.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Places>,
    /// Every service that ever asked for its counters.
    services: Mutex<BTreeMap<ServiceName, Arc<Counters>>>,
}

/// How many connections may be open, and how many are.
#[derive(Debug)]
struct Places {
    cap: AtomicUsize,
    taken: AtomicUsize,
}

/// The right of one connection to be open. Dropping it frees the place.
#[derive(Debug)]
#[must_use = "dropping the ticket lets another connection in"]
pub struct Ticket {
    places: Arc<Places>,
    counters: Arc<Counters>,
}

/// One service's counters. Written by its sessions, read at any time.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    pub(super) failovers: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    turned_away: AtomicU64,
}

/// A reading of one service's counters. Each value is right; together they may be a connection
/// apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted, whether refused later or not.
    pub accepted: u64,
    /// Connections open now, waiting or served.
    pub open: u64,
    /// Containers that failed before their first byte and were replaced.
    pub failovers: u64,
    /// Connections cut by the operator.
    pub cut: u64,
    /// Bytes from clients: of connections that have ended, and of open ones as of
    /// [`Sessions::count_traffic`](super::Sessions::count_traffic).
    pub bytes_in: u64,
    /// Bytes to clients, likewise.
    pub bytes_out: u64,
    /// Turned away at the cap, or for lack of resources; the pool's snapshot has its refusals.
    pub turned_away: u64,
}

// === impl Admission ===

impl Admission {
    /// Lets `cap` connections in at a time.
    #[must_use]
    pub fn new(cap: usize) -> Arc<Self> {
        let places = Places { cap: AtomicUsize::new(cap), taken: AtomicUsize::new(0) };
        Arc::new(Self { places: Arc::new(places), services: Mutex::default() })
    }

    /// Changes the cap. Open connections stay: after a lower cap, nobody comes in until fewer than
    /// that are open.
    pub fn resize(&self, cap: usize) {
        self.places.cap.store(cap, Relaxed);
    }

    /// How many it lets in at a time.
    #[must_use]
    pub fn cap(&self) -> usize {
        self.places.cap.load(Relaxed)
    }

    /// All services' counters.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<ServiceName, Counts> {
        let services = self.services.lock();
        services.iter().map(|(name, counters)| (name.clone(), counters.read())).collect()
    }

    pub(super) fn counters(&self, service: &ServiceName) -> Arc<Counters> {
        Arc::clone(self.services.lock().entry(service.clone()).or_default())
    }

    /// Lets a connection in, or not.
    pub(super) fn admit(&self, counters: &Arc<Counters>) -> Option<Ticket> {
        counters.accepted.fetch_add(1, Relaxed);
        let cap = self.places.cap.load(Relaxed);
        let more = |taken: usize| (taken < cap).then_some(taken + 1);
        if self.places.taken.fetch_update(Relaxed, Relaxed, more).is_err() {
            counters.turned_away.fetch_add(1, Relaxed);
            return None;
        }
        counters.open.fetch_add(1, Relaxed);
        Some(Ticket { places: Arc::clone(&self.places), counters: Arc::clone(counters) })
    }

    /// Counts a connection that was accepted, and for which this machine lacks resources.
    pub(super) fn turn_away(counters: &Counters) {
        counters.accepted.fetch_add(1, Relaxed);
        counters.turned_away.fetch_add(1, Relaxed);
    }
}

// === impl Ticket ===

impl Drop for Ticket {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Relaxed);
        self.places.taken.fetch_sub(1, Relaxed);
    }
}

// === impl Counters ===

impl Counters {
    fn read(&self) -> Counts {
        Counts {
            accepted: self.accepted.load(Relaxed),
            open: self.open.load(Relaxed),
            failovers: self.failovers.load(Relaxed),
            cut: self.cut.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_is_for_all_services_and_the_counters_for_each() {
        let admission = Admission::new(2);
        let (a, b) = (admission.counters(&"a".into()), admission.counters(&"b".into()));
        let first = admission.admit(&a).unwrap();
        let _second = admission.admit(&b).unwrap();
        assert!(admission.admit(&b).is_none());
        drop(first);
        let _third = admission.admit(&b).unwrap();

        let counts = admission.counts();
        let (a, b) = (&counts[&"a".into()], &counts[&"b".into()]);
        assert_eq!((a.accepted, a.open, a.turned_away), (1, 0, 0));
        assert_eq!((b.accepted, b.open, b.turned_away), (3, 2, 1));
    }

    #[test]
    fn the_cap_can_be_moved() {
        let admission = Admission::new(1);
        let service = admission.counters(&"a".into());
        let first = admission.admit(&service).unwrap();
        admission.resize(2);
        let second = admission.admit(&service).unwrap();
        assert!(admission.admit(&service).is_none());
        // Open connections stay, and count until they have ended.
        admission.resize(1);
        drop(first);
        assert!(admission.admit(&service).is_none());
        drop(second);
        let third = admission.admit(&service).unwrap();
        assert!(admission.admit(&service).is_none());
        admission.resize(2);
        let _fourth = admission.admit(&service).unwrap();
        drop(third);
        admission.resize(0);
        assert!(admission.admit(&service).is_none());
    }
}
