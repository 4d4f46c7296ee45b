//! The port to readiness: what says that a container can serve.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use crate::core::Proof;

/// How long the single attempt may take that says whether a container that was
/// leased can serve again.
pub const CHECK: Duration = Duration::from_secs(1);

/// Finds out whether a container can serve.
pub trait Probe<H>: Send + Sync + 'static {
    /// Returns when the container has shown that it can serve. The pool sets the
    /// deadline, and says then what was noted last in `not_yet`.
    ///
    /// # Errors
    /// The container will not get ready: it ended, or what it says is wrong.
    ///
    /// # Cancel safety
    /// Dropping the future ends the probe; a connection it opened is closed.
    fn ready(
        &self,
        container: &H,
        not_yet: &NotYet,
    ) -> impl Future<Output = Result<(), ProbeError>> + Send;

    /// Says whether a container that served before can serve again, in one
    /// attempt, and what has shown it. The pool sets the deadline.
    ///
    /// # Errors
    /// It cannot.
    ///
    /// # Cancel safety
    /// As for [`Probe::ready`].
    fn check(&self, container: &H) -> impl Future<Output = Result<Proof, ProbeError>> + Send;
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
    /// Notes why, in place of what was noted before.
    pub fn note(&self, why: impl Into<String>) {
        *self.0.lock() = Some(why.into());
    }

    /// What was noted last.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.0.lock().clone()
    }
}
