//! The orders of an operator, and their results.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ganger_pool::core::{AdminState, DaemonName, LaunchId, OrderError, ServiceName};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// The longest deadline for leases to end: a longer one is refused.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A change that an operator wants. Orders with words or numbers are made by functions that check
/// these, whichever way the order came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminOrder {
    /// Keep so many containers ready, and have so many at most, until the next reload.
    Scale {
        /// Of which service.
        service: ServiceName,
        /// Ready containers; `None` leaves it as it is.
        warm: Option<u32>,
        /// All containers; `None` leaves it as it is.
        max: Option<NonZeroU32>,
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
    /// The present state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The order makes no sense.
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
    /// Something has changed.
    #[must_use]
    pub fn changed(detail: impl Into<String>) -> Self {
        Self { changed: true, detail: detail.into() }
    }

    /// Nothing has changed.
    #[must_use]
    pub fn unchanged(detail: impl Into<String>) -> Self {
        Self { changed: false, detail: detail.into() }
    }
}

// === impl AdminOrder ===

impl AdminOrder {
    /// Keep so many containers ready, and have so many at most.
    ///
    /// # Errors
    /// Neither number is given, or `max` is 0.
    pub(super) fn scale(
        service: ServiceName,
        warm: Option<u32>,
        max: Option<u32>,
    ) -> Result<Self, NotOrdered> {
        if warm.is_none() && max.is_none() {
            return Err(NotOrdered::Invalid("say `warm`, `max`, or both".to_owned()));
        }
        let max = max.map(|max| {
            let detail = "`max` is at least 1: to serve nobody, set the service to `drain`";
            NonZeroU32::new(max).ok_or_else(|| NotOrdered::Invalid(detail.to_owned()))
        });
        Ok(Self::Scale { service, warm, max: max.transpose()? })
    }

    /// Use a service, or do not.
    ///
    /// # Errors
    /// The deadline is not valid.
    pub(super) fn service_state(
        service: ServiceName,
        state: AdminState,
        deadline_seconds: Option<f64>,
    ) -> Result<Self, NotOrdered> {
        let deadline = deadline(state, deadline_seconds)?;
        Ok(Self::ServiceState { service, state, deadline })
    }

    /// Use a daemon, or do not.
    ///
    /// # Errors
    /// The deadline is not valid.
    pub(super) fn daemon_state(
        daemon: DaemonName,
        state: AdminState,
        deadline_seconds: Option<f64>,
    ) -> Result<Self, NotOrdered> {
        let deadline = deadline(state, deadline_seconds)?;
        Ok(Self::DaemonState { daemon, state, deadline })
    }

    /// The word for events and the log.
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

/// How long leases may go on.
fn deadline(state: AdminState, seconds: Option<f64>) -> Result<Option<Duration>, NotOrdered> {
    let Some(seconds) = seconds else { return Ok(None) };
    if state.is_ready() {
        let detail = "a deadline is for `drain` and `maint`: leave it out";
        return Err(NotOrdered::Invalid(detail.to_owned()));
    }
    let deadline = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST);
    let detail = || format!("a deadline is 0 to {} seconds", LONGEST.as_secs());
    deadline.map(Some).ok_or_else(|| NotOrdered::Invalid(detail()))
}

// === impl NotOrdered ===

impl NotOrdered {
    /// A process that takes over would not know of the order.
    #[must_use]
    pub fn taken_over() -> Self {
        let why =
            "a process takes over, which would not know of it: order it again when that serves";
        Self::Conflict(why.to_owned())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_no_order() {
        let scale = |warm, max| AdminOrder::scale("s".into(), warm, max).map(|_| ());
        let state = |state, seconds| AdminOrder::daemon_state("d".into(), state, seconds);
        assert_eq!([scale(Some(0), None), scale(None, Some(1))], [Ok(()), Ok(())]);
        let (ready, drain) = (AdminState::Ready, AdminState::Drain);
        assert!(state(ready, None).is_ok() && state(drain, Some(2_592_000.0)).is_ok());
        for (wrong, said) in [
            (scale(None, None), "`warm`, `max`, or both"),
            (scale(Some(1), Some(0)), "`max` is at least 1"),
            (state(ready, Some(0.0)).map(|_| ()), "for `drain` and `maint`"),
            (state(drain, Some(2_592_000.1)).map(|_| ()), "0 to 2592000 seconds"),
            (state(drain, Some(-1.0)).map(|_| ()), "0 to 2592000 seconds"),
            (state(drain, Some(f64::NAN)).map(|_| ()), "0 to 2592000 seconds"),
        ] {
            let Err(NotOrdered::Invalid(detail)) = wrong else { panic!("{wrong:?}") };
            assert!(detail.contains(said), "{detail}");
        }
    }
}
