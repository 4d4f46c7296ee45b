//! Where the fleet comes from, when not from the file alone.

pub mod consul;
mod health;
mod membership;
pub mod swarm;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ganger_pool::discovery::{DaemonSpec, FleetWatch};
use tokio::task::JoinSet;

use crate::dyn_eq::DynEq;
use crate::endpoint::Site;
pub use consul::{Consistency, Consul};
pub use health::{SourceAnswers, SourceHealth};
pub use swarm::Swarm;

/// A service that lists the daemons of a fleet. A new source is a file here, a file in `config` that
/// decodes its keys, an entry in `config::fleet::SOURCES`, and a section of docs/discovery.md.
pub trait FleetSource: DynEq + fmt::Debug + Send + Sync {
    /// Its name in metrics, in one word.
    fn kind(&self) -> &'static str;

    /// Where the daemons come from, for people, as in "from Consul".
    fn origin(&self) -> &'static str;

    /// The message that the source lists no daemon that can be used, with what to look at.
    fn no_daemon_message(&self) -> String;

    /// Whether the source would list a service that is registered under this name as a daemon.
    fn would_list(&self, _name: &str) -> bool {
        false
    }

    /// Asks once for the whole fleet.
    ///
    /// # Errors
    /// Which server could not be asked, and why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn once(&self) -> BoxFuture<'_, Result<Discovered, String>>;

    /// Begins to follow the fleet. The first value is there once all servers that have to be asked
    /// have answered, or `patience` is over. Dropping the tasks of the answer ends it.
    ///
    /// # Cancel safety
    /// Dropping the future ends what it has begun.
    fn follow(&self, patience: Duration) -> BoxFuture<'_, Subscription>;
}

/// The fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovered {
    /// Its daemons.
    pub daemons: Vec<DaemonSpec<Site>>,
    /// Entries that cannot be daemons, each with the reason.
    pub unfit: Vec<String>,
}

/// A fleet that is followed.
#[derive(Debug)]
pub struct Subscription {
    /// The daemons that are known of it.
    pub fleet: FleetWatch<Site>,
    /// Dropping the tasks ends the subscription.
    pub tasks: JoinSet<Infallible>,
    /// How its source answers.
    pub health: Arc<SourceHealth>,
    /// Whether all servers that were asked have answered in time. If not, the fleet is not known,
    /// or not all of it.
    pub answered: bool,
}

// === impl FleetSource ===

impl PartialEq for dyn FleetSource {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}
