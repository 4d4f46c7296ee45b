//! The inputs of a run, its parts while it runs, and how it ended.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use ganger_pool::Pool;
use ganger_pool::core::ServiceName;

use super::given::GivenSockets;
use super::handover::Predecessor;
use super::instance::Instance;
use super::serve::LoadConfig;
use crate::config::Config;
use crate::docker::{Docker, EngineObserver};
use crate::proxy::{Recorder, Sessions};
use crate::shutdown::Stop;

/// The inputs of a run.
pub struct Startup {
    /// How it is to run.
    pub config: Config,
    /// As which instance.
    pub instance: Instance,
    /// Listening sockets that are open already.
    pub given: GivenSockets,
    /// The process that it takes over from.
    pub predecessor: Option<Predecessor>,
    /// The signals that end it, and ask for reloads.
    pub stop: Stop,
    /// Reads the configuration again when that is asked for; without it nothing changes.
    pub load: Option<LoadConfig>,
    /// Starts a process that runs [`guard`](super::guard), which removes the containers should this process
    /// vanish.
    pub guardian: Option<Command>,
    /// Starts a process that keeps cells (`ganger keep-cells`); without it there are none.
    pub keeper: Option<Command>,
    /// Are told how connections end, besides the log.
    pub recorders: Vec<Arc<dyn Recorder>>,
    /// Are told how long engines take.
    pub engines: Vec<Arc<dyn EngineObserver>>,
}

/// A run, for the code that started it.
#[derive(Clone)]
pub struct Running {
    /// Where each service listens.
    pub services: Vec<(ServiceName, SocketAddr)>,
    /// The pool that its containers are leased from.
    pub pool: Arc<Pool<Docker>>,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// The address of the status page, if it has one.
    pub page: Option<SocketAddr>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Connections that did not end within the drain time.
    pub cut: u64,
    /// Daemons on which containers of ours may be left, and why.
    pub left: Vec<String>,
}

// === impl Startup ===

impl Startup {
    /// A run that is never told to change, has no guardian, and that nobody observes.
    #[must_use]
    pub fn new(config: Config, instance: Instance, stop: Stop) -> Self {
        Self {
            config,
            instance,
            given: GivenSockets::default(),
            predecessor: None,
            stop,
            load: None,
            guardian: None,
            keeper: None,
            recorders: Vec::new(),
            engines: Vec::new(),
        }
    }
}
