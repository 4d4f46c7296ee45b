//! Where the fleet comes from, when not from the file alone.

pub mod consul;
mod members;
pub mod swarm;

use ganger_pool::discovery::DaemonSpec;

use crate::endpoint::Site;

/// The fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Its daemons.
    pub daemons: Vec<DaemonSpec<Site>>,
    /// What is listed and cannot be a daemon, and why.
    pub unfit: Vec<String>,
}
