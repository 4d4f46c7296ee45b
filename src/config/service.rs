//! The services of the configuration.

mod decode;
mod groups;
mod overdue;
mod parts;
mod sandbox;
mod table;
mod tmpfs;
mod warm;

use std::net::SocketAddr;
use std::time::Duration;

use ganger_pool::core::Policy;

use super::decode::Values;
use super::name::Name;
use crate::spec::{SessionSettings, Spec};

pub(super) use decode::{Found, service};
pub(super) use table::SERVICE_ROWS;

/// What clients connect to, and what serves them.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique in the file.
    pub name: Name,
    /// Where clients connect. Port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// What its containers run.
    pub spec: Spec,
    /// How its containers are kept. Its `max_age` is that of the file; containers are retired at
    /// the age of [`Service::retire_after`].
    pub policy: Policy,
    /// From its start until a container has to be ready. Never 0.
    pub start_timeout: Duration,
    /// How its clients' connections are treated.
    pub session: SessionSettings,
    /// How often is looked whether the image's tag has moved in its registry; what it
    /// stands for then is switched over to. At least a second.
    pub watch_image: Option<Duration>,
    /// What each key was read as.
    pub(crate) values: Values,
}
