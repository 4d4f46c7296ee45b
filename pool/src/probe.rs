//! The port to readiness: what says that a container can serve.

use std::future::Future;

use thiserror::Error;

/// Finds out whether a container can serve.
pub trait Probe<H>: Send + Sync + 'static {
    /// Returns when the container has shown that it can serve. The pool sets the
    /// deadline; one that knows it may give up a little earlier and say why.
    ///
    /// # Errors
    /// The container will not get ready: it ended, or what it says is wrong.
    ///
    /// # Cancel safety
    /// Dropping the future ends the probe; a connection it opened is closed.
    fn ready(&self, container: &H) -> impl Future<Output = Result<(), ProbeError>> + Send;

    /// Says whether a container that served before can serve again, in one attempt.
    ///
    /// # Errors
    /// It cannot, or did not say so in time.
    ///
    /// # Cancel safety
    /// As for [`Probe::ready`].
    fn check(&self, container: &H) -> impl Future<Output = Result<(), ProbeError>> + Send;
}

/// Why a container is not fit to serve.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ProbeError(pub String);
