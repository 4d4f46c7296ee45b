//! What happens in a pool, as data.
//!
//! Each [`PoolEvent`] is given to the [`Observer`]s of the pool, in the thread in which it
//! happened and after the pool's lock was released. Metrics, histories, streams and tests are
//! observers. The log is written from the same events, as far as people want to read them, and
//! nobody has to read it to know what happened.

mod kind;
mod log;
mod subject;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

pub use kind::EventKind;

/// Something that happened in a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolEvent {
    /// Rises by one for each event of the pool. What the ledger does is numbered under its lock,
    /// so that it can be put in order where two threads tell of it in another. What a task of
    /// the pool tells (contact, lists, preparation, removals, changes of services) is numbered
    /// after what follows from it.
    pub number: u64,
    /// When it was told.
    pub at: Instant,
    /// What happened.
    pub kind: EventKind,
}

/// Is told of everything that happens in a pool.
///
/// When an event is told, the pool's snapshot shows it. What a container did comes before what
/// the pool makes of it: `LaunchReady` and `LaunchFailed` before the change of state that they
/// lead to, `Returned` likewise.
pub trait Observer: Send + Sync + 'static {
    /// Something has happened. Is called by the threads that lease containers: it must not wait
    /// for anything, and must not call the pool.
    fn observe(&self, event: &PoolEvent);

    /// Whether it is to be told of what happens with every lease: `Granted`, `Refused`, `Returned`
    /// and `StateChanged`. Those events are not made while no observer wants them. Is asked at each
    /// lease, so that it has to be quick.
    fn wants_leases(&self) -> bool {
        true
    }
}

/// Gives events to observers.
pub(crate) struct Events {
    observers: Vec<Arc<dyn Observer>>,
    last: AtomicU64,
}

// === impl Events ===

impl Events {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers, last: AtomicU64::new(0) }
    }

    /// Whether what happens with every lease is told to anybody.
    pub(crate) fn wants_leases(&self) -> bool {
        self.observers.iter().any(|observer| observer.wants_leases())
            || tracing::enabled!(tracing::Level::TRACE)
    }

    /// Whether anybody but the log is told.
    pub(crate) fn is_observed(&self) -> bool {
        !self.observers.is_empty()
    }

    /// The number of an event that happens now.
    pub(crate) fn number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }

    /// Something has happened.
    pub(crate) fn tell(&self, kind: EventKind) {
        self.tell_numbered(self.number(), kind);
    }

    /// Something has happened that was given its number then.
    pub(crate) fn tell_numbered(&self, number: u64, kind: EventKind) {
        log::write(&kind);
        if self.is_observed() {
            let at = tokio::time::Instant::now().into_std();
            let event = PoolEvent { number, at, kind };
            self.observers.iter().for_each(|observer| observer.observe(&event));
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("observers", &self.observers.len()).finish_non_exhaustive()
    }
}
