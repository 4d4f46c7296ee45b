//! The events of a pool, as data.
//!
//! Each [`PoolEvent`] is given to the [`Observer`]s of the pool, in the thread in which it
//! happened and after the pool's lock was released. Metrics, histories, streams and tests are
//! observers. The log is written from the same events, as far as people want to read them, and
//! programs need not parse it.

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
    /// Rises by one for each event of the pool. Actions of the ledger are numbered under its
    /// lock, so that they can be put in order where two threads tell them in another. Events of
    /// tasks of the pool (contact, lists, preparation, removals, changes of services) are
    /// numbered after the actions that follow from them.
    pub number: u64,
    /// When it was told.
    pub at: Instant,
    /// The event itself.
    pub kind: EventKind,
}

/// Is told of everything that happens in a pool.
///
/// When an event is told, the pool's snapshot shows it. Events of a container come before the
/// pool's reaction: `LaunchReady` and `LaunchFailed` before the change of state that they
/// lead to, `Returned` likewise.
pub trait Observer: Send + Sync + 'static {
    /// Handles an event. The threads that lease containers call it: it must not wait for
    /// anything, and must not call the pool.
    fn observe(&self, event: &PoolEvent);

    /// Whether the observer wants the events of every lease: `Granted`, `Refused`, `Returned`
    /// and `StateChanged`. Those events are not made while no observer wants them. The pool asks
    /// at each lease, so that the answer has to be quick.
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

    /// Whether anybody wants the events of every lease.
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

    /// Numbers an event and tells it.
    pub(crate) fn tell(&self, kind: EventKind) {
        self.tell_numbered(self.number(), kind);
    }

    /// Tells an event that was numbered when it happened.
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
