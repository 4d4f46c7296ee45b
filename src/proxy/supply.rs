//! What the data path asks of the pool: one lease per connection.

use std::future::Future;
use std::sync::Arc;

use ganger_pool::core::{DaemonName, ServiceName};
use thiserror::Error;
use tokio::time::Instant;

use crate::reach::Backend;

/// Leases containers.
pub trait Supply: Send + Sync + 'static {
    /// What it hands out.
    type Lease: Leased;

    /// Waits for a container of a service, in order of arrival.
    ///
    /// # Errors
    /// See [`Refusal`]. At the latest at `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue at once.
    fn lease(
        &self,
        service: &ServiceName,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Lease, Refusal>> + Send;
}

/// The hold of one container. Dropped unfinished, it counts as failed.
pub trait Leased: Send + 'static {
    /// How the container is reached.
    type Backend: Backend;

    /// The container.
    fn backend(&self) -> &Arc<Self::Backend>;
    /// The daemon it is on.
    fn daemon(&self) -> &DaemonName;
    /// How the lease was served.
    fn start(&self) -> StartKind;
    /// Leases of the container so far, this one included.
    fn uses(&self) -> u32;
    /// The most leases it may have.
    fn max_uses(&self) -> u32;
    /// Ends the lease.
    fn finish(self, outcome: Outcome);
}

/// How a lease was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartKind {
    /// Fresh, from stock.
    Warm,
    /// From stock, used before.
    Reused,
    /// Launched because the stock was empty.
    Cold,
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides ended their direction and the container lives.
    Clean,
    /// Anything else, with what happened. The container is not used again.
    Failed(String),
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// As many wait as may.
    #[error("the queue is full")]
    QueueFull,
    /// None came free in time.
    #[error("no container in time: {reason}")]
    TimedOut {
        /// What held it up.
        reason: String,
    },
    /// The service's containers keep failing.
    #[error("the service keeps failing: {reason}")]
    Failing {
        /// The last failure.
        reason: String,
    },
    /// No daemon can launch it now.
    #[error("no daemon is available: {reason}")]
    NoDaemon {
        /// Why.
        reason: String,
    },
    /// The pool takes no new leases.
    #[error("draining")]
    Draining,
    /// The pool does not know the service.
    #[error("the pool does not know the service")]
    UnknownService,
}

// === impl StartKind ===

impl StartKind {
    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Reused => "reused",
            Self::Cold => "cold",
        }
    }
}
