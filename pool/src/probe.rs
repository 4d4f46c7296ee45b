//! The port to readiness: the probe that shows that a container can serve.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use crate::core::Proof;

/// How long the single attempt of [`Probe::check`] may take, unless the probe says otherwise.
pub const CHECK: Duration = Duration::from_secs(1);

/// Finds out whether a container can serve.
pub trait Probe<H>: Send + Sync + 'static {
    /// Returns when the container has shown that it can serve. The pool sets the
    /// deadline, and then reports the last note in `not_yet`.
    ///
    /// # Errors
    /// The container will not get ready: it ended, or its answer is wrong.
    ///
    /// # Cancel safety
    /// Dropping the future ends the probe; a connection it opened is closed.
    fn ready(
        &self,
        container: &H,
        not_yet: &NotYet,
    ) -> impl Future<Output = Result<(), ProbeError>> + Send;

    /// Checks in one attempt whether a container that was ready before can serve
    /// again, and returns the kind of proof. The pool sets the deadline, [`Probe::check_limit`].
    ///
    /// # Errors
    /// The container cannot serve.
    ///
    /// # Cancel safety
    /// As for [`Probe::ready`].
    fn check(&self, container: &H) -> impl Future<Output = Result<Proof, ProbeError>> + Send;

    /// How long the check of this container may take. A check that asks an engine takes as long as
    /// the engine's other work lets it, which says nothing about the container.
    fn check_limit(&self, container: &H) -> Duration {
        let _ = container;
        CHECK
    }

    /// The same check where it can be made without waiting: in the thread that returns the
    /// container, so that the next lease waits for no other one. `None` where it cannot, and
    /// [`Probe::check`] is to be asked. Called in any thread, also in one without a runtime, while a
    /// lease is dropped.
    ///
    /// # Errors
    /// As for [`Probe::check`].
    fn check_at_once(&self, container: &H) -> Option<Result<Proof, ProbeError>> {
        let _ = container;
        None
    }
}

/// Why a container is not ready yet, as far as its probe has found out.
#[derive(Debug, Default)]
pub struct NotYet(Mutex<Option<String>>);

/// Why a container is not fit to serve.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ProbeError(pub String);

// === impl NotYet ===

impl NotYet {
    /// Notes why, in place of the note before.
    pub fn note(&self, why: impl Into<String>) {
        *self.0.lock() = Some(why.into());
    }

    /// The last note.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.0.lock().clone()
    }
}
