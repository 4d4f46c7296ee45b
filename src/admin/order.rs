//! What an operator orders, and what comes of it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use ganger_pool::core::{AdminState, DaemonName, LaunchId, OrderError, ServiceName};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// Something that an operator wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminOrder {
    /// Keep so many containers ready, and have so many at most, until the next reload.
    Scale {
        /// Of which service.
        service: ServiceName,
        /// Ready containers; `None` leaves it as it is.
        warm: Option<u32>,
        /// All containers; `None` leaves it as it is.
        max: Option<u32>,
    },
    /// Use a service, or do not.
    ServiceState {
        /// Which.
        service: ServiceName,
        /// Whether it is used.
        state: AdminState,
        /// How long leases may go on; `None`: until they end by themselves.
        deadline: Option<Duration>,
    },
    /// Use a daemon, or do not.
    DaemonState {
        /// Which.
        daemon: DaemonName,
        /// Whether it is used.
        state: AdminState,
        /// How long leases may go on; `None`: until they end by themselves.
        deadline: Option<Duration>,
    },
    /// Replace every container of a service by a new one that runs the same.
    Roll {
        /// Which.
        service: ServiceName,
    },
    /// Give up the rollout of a service.
    RollBack {
        /// Which.
        service: ServiceName,
    },
    /// Retire a container.
    Retire {
        /// Which.
        launch: LaunchId,
    },
    /// Read the configuration again.
    Reload {
        /// Say what that would change, and change nothing.
        dry_run: bool,
    },
    /// Stop: take no more connections, let those that are there end, and end, as SIGTERM does.
    Drain,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ordered {
    /// It is otherwise than before.
    pub changed: bool,
    /// What is so now, for people.
    pub detail: String,
}

/// Why an order was not carried out. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotOrdered {
    /// There is no such thing.
    #[error("{0}")]
    Absent(String),
    /// Not as things are.
    #[error("{0}")]
    Conflict(String),
    /// What is asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The configuration cannot be used: all that is wrong with it.
    #[error("{0}")]
    Refused(String),
    /// The process is stopping.
    #[error("it is stopping: nothing can be changed any more")]
    Stopping,
}

/// The answer to an order, once it was carried out.
pub type OrderAnswer<'a> = BoxFuture<'a, Result<Ordered, NotOrdered>>;

// === impl Ordered ===

impl Ordered {
    /// It is otherwise now.
    #[must_use]
    pub fn changed(detail: impl Into<String>) -> Self {
        Self { changed: true, detail: detail.into() }
    }

    /// It was so already.
    #[must_use]
    pub fn unchanged(detail: impl Into<String>) -> Self {
        Self { changed: false, detail: detail.into() }
    }
}

// === impl AdminOrder ===

impl AdminOrder {
    /// One word for events and the log.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Scale { .. } => "scale",
            Self::ServiceState { .. } => "service-state",
            Self::DaemonState { .. } => "daemon-state",
            Self::Roll { .. } => "roll",
            Self::RollBack { .. } => "rollback",
            Self::Retire { .. } => "retire",
            Self::Reload { .. } => "reload",
            Self::Drain => "drain",
        }
    }

    /// The service, daemon or container that it is about.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Scale { service, .. }
            | Self::ServiceState { service, .. }
            | Self::Roll { service }
            | Self::RollBack { service } => Some(service.to_string()),
            Self::DaemonState { daemon, .. } => Some(daemon.to_string()),
            Self::Retire { launch } => Some(launch.to_string()),
            Self::Reload { .. } | Self::Drain => None,
        }
    }
}

// === impl NotOrdered ===

impl From<OrderError> for NotOrdered {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::UnknownService(_) | OrderError::UnknownDaemon(_) => {
                Self::Absent(error.to_string())
            }
            OrderError::Draining => Self::Stopping,
            _ => Self::Conflict(error.to_string()),
        }
    }
}
