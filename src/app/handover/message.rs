//! Messages between two processes: lines of JSON, each request answered before the next.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::app::register::RegisteredAt;

/// The version of the protocol. A process of another version is refused.
pub(super) const PROTOCOL: u32 = 2;

/// A request of the new process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HandoverRequest {
    /// Asks to take over.
    Begin(Beginning),
    /// Asks for the listening sockets after the first `from`.
    Listeners { from: usize },
    /// Says that it accepts on them.
    Serving {
        registered: Vec<RegisteredAt>,
        /// The names of the sockets that it has closed: nobody else accepts there.
        closed: Vec<String>,
    },
}

/// The process that wants to take over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    pub(super) protocol: u32,
    pub(super) version: String,
    pub(super) boot: String,
    /// The socket of the service manager that it reports its state to.
    pub(super) manager: Option<String>,
}

/// A reply of the running process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HandoverReply {
    /// All there is, with the lock of the instance and a descriptor for each run that still lives.
    Offer(Offer),
    /// Some listening sockets, with their descriptors.
    Listeners(Vec<ToldListener>),
    /// Says that it takes no more clients.
    Yours {
        /// A reload was asked for meanwhile, which is now the other's to do.
        reload: bool,
    },
    /// Why it does not hand over.
    Refused(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) boot: String,
    pub(super) version: String,
    /// The path of its admin socket.
    pub(super) admin: Option<PathBuf>,
    /// Runs before it that have not ended.
    pub(super) lives: Vec<String>,
    pub(super) listeners: usize,
}

/// The name of a listening socket, and its address as configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ToldListener {
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    /// The service manager holds it as well.
    pub(super) shared: bool,
}
