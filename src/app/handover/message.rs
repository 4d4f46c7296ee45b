//! What two processes say to each other: lines of JSON, each request answered before the next.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::app::register::RegisteredAt;

/// The version of this. A process of another is refused.
pub(super) const PROTOCOL: u32 = 2;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HandoverRequest {
    /// It wants to take over.
    Begin(Beginning),
    /// It wants those listening sockets that come after so many.
    Listeners { from: usize },
    /// It accepts on them.
    Serving {
        registered: Vec<RegisteredAt>,
        /// What the sockets are for that it has closed: nobody else accepts there.
        closed: Vec<String>,
    },
}

/// Who wants to take over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    pub(super) protocol: u32,
    pub(super) version: String,
    pub(super) boot: String,
    /// The socket of the service manager that it tells how it is.
    pub(super) manager: Option<String>,
}

/// What the running process answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HandoverReply {
    /// What there is. With the lock of the instance, and a descriptor for each that still lives.
    Offer(Offer),
    /// Some listening sockets, with their descriptors.
    Listeners(Vec<ToldListener>),
    /// It takes no more clients.
    Yours {
        /// It was told to reload meanwhile, which is now the other's to do.
        reload: bool,
    },
    /// It does not hand over, and why.
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

/// What a listening socket is for, and its address as configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ToldListener {
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    /// The service manager has it as well.
    pub(super) shared: bool,
}
