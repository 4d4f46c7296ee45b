//! The orders of an operator, and their results.

use std::fmt;

use thiserror::Error;

use super::{DaemonName, Generation, ServiceName};

/// Whether the operator lets a service or a daemon be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdminState {
    /// Used.
    #[default]
    Ready,
    /// Drained: nothing new is launched or leased, running leases go on.
    Drain,
    /// Drained and worked on: the loss of contact is expected.
    Maint,
}

/// The result of an order to retire a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// The container is not leased, and is retired now: from stock or a check at once, from a
    /// launch as soon as that has ended.
    AtOnce,
    /// The container is retired when its lease ends, and is not leased again.
    AfterLease,
    /// The container was already being removed, or is retired when its lease or launch ends. The
    /// order changes nothing.
    UnderWay,
    /// There is no such container.
    Unknown,
}

/// Why an order of the operator was not carried out. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// There is no such service, or it was removed.
    #[error("there is no service {0}")]
    UnknownService(ServiceName),
    /// There is no such daemon.
    #[error("there is no daemon {0}")]
    UnknownDaemon(DaemonName),
    /// A service is on its way to another generation already.
    #[error("{service} is being rolled out to generation {to}: wait for its end, or roll it back")]
    RollingOut {
        /// The service.
        service: ServiceName,
        /// The new version of its spec.
        to: Generation,
    },
    /// A service is on its way to no other generation.
    #[error("no rollout of {0} is under way")]
    NoRollout(ServiceName),
    /// The pool is being drained: nothing is launched any more.
    #[error("draining")]
    Draining,
}

// === impl AdminState ===

impl AdminState {
    /// Whether a service or daemon is used.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// The word for it in configuration, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
