//! Where the fleet comes from, when not from the file alone: what a source is asked, and who asks.

pub mod consul;
mod members;
pub mod swarm;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ganger_pool::discovery::{DaemonSpec, FleetWatch};
use tokio::task::JoinSet;

use crate::endpoint::Site;
pub use consul::{Consistency, Consul};
pub use swarm::Swarm;

/// Who lists the daemons of a fleet. A new source is a file here, a file in `config` that reads what
/// it is asked with, and a line in the table of sources there.
pub trait FleetSource: Any + fmt::Debug + Send + Sync {
    /// Where the daemons come from, for people, as in "from Consul".
    fn origin(&self) -> &'static str;

    /// That it lists no daemon that can be used, and what to look at.
    fn nobody(&self) -> String;

    /// Whether a service that is registered under this name would be listed as a daemon.
    fn lists(&self, _name: &str) -> bool {
        false
    }

    /// Whether the other is of the same kind, and is asked the same.
    fn is(&self, other: &dyn FleetSource) -> bool;

    /// Asks once for the whole fleet. The error tells who could not be asked, and why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn once(&self) -> BoxFuture<'_, Result<Discovered, String>>;

    /// Begins to follow the fleet. The first value is there once all who are to be asked have
    /// answered, or `patience` is over.
    ///
    /// # Cancel safety
    /// Dropping the future ends what it has begun.
    fn follow(&self, patience: Duration) -> BoxFuture<'_, Following>;
}

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

// === impl FleetSource ===

impl PartialEq for dyn FleetSource {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}
