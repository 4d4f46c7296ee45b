//! Where the fleet comes from: the file, or who the file says.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::discovery::{DaemonSpec, FleetWatch, fixed};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::config::{self, Daemons};
use crate::discovery::{Discovered, Following};
use crate::docker::Site;
use crate::fleet::{Consul, Swarm};

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
    /// A Docker Swarm.
    Swarm(Swarm),
}

/// The fleet that is followed, and may be exchanged for another.
#[derive(Debug)]
pub(super) struct Followed {
    fleet: Fleet,
    known: watch::Sender<Arc<[DaemonSpec<Site>]>>,
    forward: AbortOnDropHandle<()>,
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(daemons: &Daemons) -> Self {
        match daemons {
            Daemons::Static(daemons) => Self::Fixed(daemons.iter().map(daemon).collect()),
            Daemons::Consul(consul) => Self::Consul(consul.clone()),
            Daemons::Swarm(swarm) => Self::Swarm(swarm.clone()),
        }
    }

    /// Who is in it now.
    ///
    /// # Errors
    /// Discovery cannot be asked.
    pub async fn once(&self) -> Result<Discovered, String> {
        match self {
            Self::Fixed(daemons) => Ok(Discovered { daemons: daemons.clone(), unfit: Vec::new() }),
            Self::Consul(consul) => consul.once().await,
            Self::Swarm(swarm) => swarm.once().await,
        }
    }

    /// Follows its changes for as long as the tasks are kept.
    async fn follow(self) -> Following {
        match self {
            Self::Fixed(daemons) => {
                Following { fleet: fixed(daemons), tasks: JoinSet::new(), answered: true }
            }
            Self::Consul(consul) => consul.follow(PATIENCE).await,
            Self::Swarm(swarm) => swarm.follow(PATIENCE).await,
        }
    }

    /// How many daemons it may come to have.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Fixed(daemons) => daemons.len() as u64,
            Self::Consul(_) | Self::Swarm(_) => EXPECTED,
        }
    }

    /// The most containers it may hold; `None` when that is not known.
    pub(super) fn capacity(&self) -> Option<u64> {
        match self {
            Self::Fixed(daemons) => Some(daemons.iter().map(|d| u64::from(d.max_containers)).sum()),
            Self::Consul(_) | Self::Swarm(_) => None,
        }
    }
}

// === impl Followed ===

impl Followed {
    /// Follows a fleet. Returns once discovery has answered, or not in time.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn start(fleet: Fleet) -> (Self, FleetWatch<Site>) {
        let Following { fleet: source, tasks, answered } = fleet.clone().follow().await;
        if !answered {
            warn!("discovery has not answered, or not all of it; starting with what is known");
        }
        let (known, watch) = watch::channel(source.borrow().clone());
        let forward = forward(source, known.clone(), tasks);
        (Self { fleet, known, forward }, watch)
    }

    /// Begins to follow another one, if it is another one; nothing is changed by that.
    ///
    /// # Errors
    /// Why it must not take the place of this one: it is not known, or a daemon would be
    /// taken for another.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn prepare(&self, fleet: &Fleet) -> Result<Option<Following>, String> {
        if self.fleet == *fleet {
            return Ok(None);
        }
        if let (Fleet::Fixed(before), Fleet::Fixed(after)) = (&self.fleet, fleet) {
            for daemon in after {
                let url = daemon.endpoint.endpoint.to_string();
                let known = before.iter().find(|known| known.name == daemon.name);
                let known = known.map(|known| known.endpoint.endpoint.to_string());
                if let Some(known) = known.filter(|known| *known != url) {
                    return Err(format!(
                        "daemon {} was {known} and is {url} now; what runs there would be looked \
                         for at another place: give it another name, and the old one is drained",
                        daemon.name
                    ));
                }
            }
        }
        let following = fleet.clone().follow().await;
        if following.answered {
            Ok(Some(following))
        } else {
            Err("discovery does not answer, or not all of it: whom the fleet consists of is not \
                 known"
                .to_owned())
        }
    }

    /// Follows that one from now on.
    pub(super) fn change(&mut self, fleet: Fleet, following: Following) {
        self.fleet = fleet;
        self.forward = forward(following.fleet, self.known.clone(), following.tasks);
    }
}

/// Passes a fleet on, and what becomes of it.
fn forward(
    mut source: FleetWatch<Site>,
    known: watch::Sender<Arc<[DaemonSpec<Site>]>>,
    tasks: JoinSet<Infallible>,
) -> AbortOnDropHandle<()> {
    known.send_if_modified(|known| {
        let fleet = source.borrow_and_update().clone();
        let changed = **known != *fleet;
        *known = fleet;
        changed
    });
    AbortOnDropHandle::new(tokio::spawn(async move {
        let _discovery = tasks;
        while source.changed().await.is_ok() {
            known.send_replace(source.borrow_and_update().clone());
        }
        // A fleet that never changes.
    }))
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
