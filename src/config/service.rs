//! The services of the configuration.

mod decode;
mod groups;
mod machine;
mod overdue;
mod parts;
mod privileges;
mod sandbox;
mod secrets;
mod system;
mod table;
mod tmpfs;
mod warm;

use std::net::SocketAddr;
use std::time::Duration;

use ganger_pool::core::Policy;

use super::decode::Values;
use super::name::Name;
use crate::spec::{SessionSettings, Spec};

pub(super) use decode::{DecodedService, service};
pub(super) use table::SERVICE_ROWS;

/// A listener, and the containers behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique in the file.
    pub name: Name,
    /// Where clients connect. Port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Its containers' spec.
    pub spec: Spec,
    /// How its containers are kept. With a deadline (`spec.overdue_after`) its `max_age` is at most
    /// the age at which no session can last until the deadline.
    pub policy: Policy,
    /// From its start until a container has to be ready. Never 0.
    pub start_timeout: Duration,
    /// How its clients' connections are treated.
    pub session: SessionSettings,
    /// How often Ganger asks whether the image's tag has moved in its registry. It then switches
    /// over to the image that the tag stands for. At least a second.
    pub watch_image: Option<Duration>,
    /// The value of each key.
    pub(crate) values: Values,
}
