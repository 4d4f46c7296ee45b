//! The data path: takes connections, leases each one a container, and moves
//! bytes both ways until it ends.
//!
//! It knows neither an engine nor the configuration: [`Settings`] are plain
//! values, containers come from a [`Supply`] and are reached through
//! [`Backend`](crate::reach::Backend).

mod access_file;
mod access_log;
mod admission;
mod dial;
mod end;
mod last_words;
mod limit;
mod limits;
mod listen;
mod record;
mod relay;
mod replay;
mod session;
mod sessions;
mod socket;
mod supply;
#[cfg(test)]
mod tests;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::ServiceName;

pub use access_file::{AccessFile, AccessLogError, AccessWriter};
pub use admission::{Admission, Counts, Ticket};
pub use end::{EndCode, Phase, Who};
pub use limits::{TooFewFiles, connection_cap, raise_open_files};
pub use listen::{BindError, Listener, Shutdown, bind, run};
pub use record::{ConnId, ConnRecord, Recorder, ReplacedContainer};
pub use sessions::{ServingContainer, SessionView, Sessions};
pub use supply::{Leased, Outcome, Refusal, StartKind, Supply};
pub use threads::{Acceptor, Threads};

/// How one service's connections are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The service.
    pub name: ServiceName,
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// From accept, how long a connection may wait for a container.
    pub queue_timeout: Duration,
    /// From the first dial, how long until a container took the connection.
    /// Starts again when a container fails after that.
    pub connect_timeout: Duration,
    /// How many more containers are tried when one fails before its first byte.
    pub retries: u32,
    /// The most bytes from the client that are kept for another container.
    pub replay: usize,
    /// How long a container that is to answer may take to its first byte, counted from the
    /// last one that it was sent. One that takes longer has failed: another is tried.
    pub first_byte: Option<Duration>,
    /// The service's containers say something before they are sent anything: they are to
    /// answer as soon as they are connected to.
    pub speaks_first: bool,
    /// How long a client may leave unanswered what it is sent and asked, before it is taken to be
    /// gone; `None` for as long as the kernel goes on. In seconds, at least 6.
    pub keepalive: Option<Duration>,
    /// How long no byte may move in either direction.
    pub idle: Option<Duration>,
    /// From the first container's connection, how long a session may last.
    pub session: Option<Duration>,
}

/// A service as its sessions see it.
#[derive(Debug)]
pub struct Service<S> {
    settings: Settings,
    supply: Arc<S>,
    admission: Arc<Admission>,
    sessions: Arc<Sessions>,
    counters: Arc<admission::Counters>,
}

// === impl Service ===

impl<S: Supply> Service<S> {
    /// A service that leases from `supply` and shares `admission` and `sessions` with the others.
    #[must_use]
    pub fn new(
        settings: Settings,
        supply: Arc<S>,
        admission: Arc<Admission>,
        sessions: Arc<Sessions>,
    ) -> Arc<Self> {
        let counters = admission.counters(&settings.name);
        Arc::new(Self { settings, supply, admission, sessions, counters })
    }
}
