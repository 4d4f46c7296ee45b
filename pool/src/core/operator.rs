//! What an operator may order, and what comes of an order.

use std::fmt;

use thiserror::Error;

use super::{DaemonName, Generation, ServiceName};

/// Whether the operator lets a service or a daemon be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdminState {
    /// It is used.
    #[default]
    Ready,
    /// It is drained: nothing new is launched or leased, running leases go on.
    Drain,
    /// It is drained and worked on: the loss of contact is expected.
    Maint,
}

/// What an order to retire a container comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// It goes now: one that is in stock or being checked at once, one that is being launched as
    /// soon as that has come to an end. It is not leased.
    AtOnce,
    /// It is leased. It goes when the lease ends, and is not leased again.
    AfterLease,
    /// It was on its way already: it is being removed, or goes when its lease or launch ends. The
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
    /// Whether what has this state is used.
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
