//! Where the fleet comes from, when not from the file alone: what a source is asked, and who asks.

pub mod consul;
mod members;
mod spec;
pub mod swarm;

use std::convert::Infallible;

use ganger_pool::discovery::{DaemonSpec, FleetWatch};
use tokio::task::JoinSet;

use crate::endpoint::Site;
pub use spec::{Consistency, Consul, Swarm};

/// The fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovered {
    /// Its daemons.
    pub daemons: Vec<DaemonSpec<Site>>,
    /// What is listed and cannot be a daemon, and why.
    pub unfit: Vec<String>,
}

/// A fleet that is followed.
#[derive(Debug)]
pub struct Following {
    /// What is known of it.
    pub fleet: FleetWatch<Site>,
    /// Dropping them ends it.
    pub tasks: JoinSet<Infallible>,
    /// Whether all who were asked have answered in time. If not, the fleet is not
    /// known, or not all of it.
    pub answered: bool,
}
