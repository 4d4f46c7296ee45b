//! Where the fleet comes from: the file, or who the file says.

use std::convert::Infallible;
use std::time::Duration;

use ganger_pool::discovery::{DaemonSpec, FleetWatch, fixed};
use tokio::task::JoinSet;

use crate::config::{self, Daemons};
use crate::discovery::Listing;
use crate::docker::Site;
use crate::fleet::Consul;

/// How long a start waits for discovery. What is found later is used then.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many daemons that are yet to be found descriptors are kept free for.
const EXPECTED: u64 = 16;

/// Where the fleet comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Fleet {
    /// The file.
    Fixed(Vec<DaemonSpec<Site>>),
    /// Consul.
    Consul(Consul),
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(daemons: &Daemons) -> Self {
        match daemons {
            Daemons::Static(daemons) => Self::Fixed(daemons.iter().map(daemon).collect()),
            Daemons::Consul(consul) => Self::Consul(consul.clone()),
        }
    }

    /// Who is in it now.
    ///
    /// # Errors
    /// Discovery cannot be asked.
    pub async fn once(&self) -> Result<Listing, String> {
        match self {
            Self::Fixed(daemons) => Ok(Listing { daemons: daemons.clone(), unfit: Vec::new() }),
            Self::Consul(consul) => consul.once().await,
        }
    }

    /// Follows its changes for as long as the tasks are kept.
    pub(super) async fn follow(self) -> (FleetWatch<Site>, JoinSet<Infallible>) {
        match self {
            Self::Fixed(daemons) => (fixed(daemons), JoinSet::new()),
            Self::Consul(consul) => consul.follow(PATIENCE).await,
        }
    }

    /// How many daemons it may come to have.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Fixed(daemons) => daemons.len() as u64,
            Self::Consul(_) => EXPECTED,
        }
    }

    /// The most containers it may hold; `None` when that is not known.
    pub(super) fn capacity(&self) -> Option<u64> {
        match self {
            Self::Fixed(daemons) => Some(daemons.iter().map(|d| u64::from(d.max_containers)).sum()),
            Self::Consul(_) => None,
        }
    }
}

fn daemon(daemon: &config::Daemon) -> DaemonSpec<Site> {
    DaemonSpec {
        name: daemon.name.as_str().into(),
        endpoint: Site { endpoint: daemon.url.clone(), publish_on: daemon.publish_on },
        max_containers: daemon.max_containers,
        tier: 0,
        max_launches: daemon.max_launches,
    }
}
