//! The data path: accepts connections, leases a container for each, and relays bytes both ways
//! until the connection ends.
//!
//! The data path knows neither an engine nor the configuration: [`Settings`] are plain values,
//! containers come from a [`Supply`] and are reached through [`Backend`](crate::reach::Backend).

mod access_file;
mod access_log;
mod admission;
mod dial;
mod end;
mod last_words;
mod limit;
mod limits;
mod listen;
mod listener;
mod record;
mod relay;
mod replay;
mod session;
mod sessions;
mod socket;
mod supply;
#[cfg(test)]
mod tests;
mod trace;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;

use ganger_pool::core::ServiceName;

use crate::spec::SessionSettings;

pub use access_file::{AccessFile, AccessLogError, AccessWriter};
pub use access_log::ConnLines;
pub use admission::{Admission, Counts, Ticket};
pub use end::{EndCode, Phase, Who};
pub use limits::{TooFewFiles, connection_cap, raise_open_files};
pub use listen::{Shutdown, run};
pub use listener::{AdoptError, BindError, Listener, adopt, bind};
pub use record::{ConnId, ConnRecord, ContainerRemains, Recorder, ReplacedContainer};
pub use sessions::{ServingContainer, SessionView, Sessions};
pub use supply::{Leased, Outcome, Refusal, StartKind, Supply};
pub use trace::{QueuePlace, SessionTrace};
pub use workers::{Acceptor, Workers};

/// Where one service's connections come in, and how they are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The service.
    pub name: ServiceName,
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// The service's containers send first: each owes its first byte as soon as it is connected to.
    pub speaks_first: bool,
    /// How connections are treated.
    pub session: SessionSettings,
}

/// A service as its sessions see it.
#[derive(Debug)]
pub struct ServiceContext<S> {
    settings: Settings,
    supply: Arc<S>,
    admission: Arc<Admission>,
    sessions: Arc<Sessions>,
    counters: Arc<admission::Counters>,
}

// === impl ServiceContext ===

impl<S: Supply> ServiceContext<S> {
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
