//! The fleet: from the file, or from the discovery service that the file names.

mod naming;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use ganger_pool::discovery::{DaemonSpec, FleetWatch, fixed};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::config::{self, Daemons};
use crate::discovery::{Discovered, FleetSource, SourceHealth, Subscription};
use crate::docker::{Docker, Site};
use naming::Names;
pub(super) use sources::FleetSources;

/// How long a start waits for discovery. Daemons found later join the fleet then.
const PATIENCE: Duration = Duration::from_secs(10);
/// The number of daemons from discovery for which descriptors are kept free.
const EXPECTED: u64 = 16;

/// Where the fleet comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Fleet {
    /// The file.
    Fixed(Vec<DaemonSpec<Site>>),
    /// A discovery service.
    Source(Arc<dyn FleetSource>),
}

/// The fleet that is followed, and may be exchanged for another.
#[derive(Debug)]
pub(super) struct FleetFollower {
    fleet: Fleet,
    teller: Arc<Teller>,
    forward: AbortOnDropHandle<()>,
}

/// Publishes the daemons of the fleet, whichever source lists them.
#[derive(Debug)]
struct Teller {
    docker: Arc<Docker>,
    names: Mutex<Names>,
    sources: Arc<FleetSources>,
    known: watch::Sender<Arc<[DaemonSpec<Site>]>>,
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(daemons: &Daemons) -> Self {
        match daemons {
            Daemons::Static(daemons) => Self::Fixed(daemons.iter().map(daemon).collect()),
            Daemons::Source(source) => Self::Source(source.clone()),
        }
    }

    /// The daemons of the fleet now.
    ///
    /// # Errors
    /// Discovery cannot be asked.
    pub async fn once(&self) -> Result<Discovered, String> {
        match self {
            Self::Fixed(daemons) => Ok(Discovered { daemons: daemons.clone(), unfit: Vec::new() }),
            Self::Source(source) => source.once().await,
        }
    }

    /// Follows its changes for as long as the tasks are kept.
    async fn follow(&self) -> Subscription {
        match self {
            Self::Fixed(daemons) => {
                let (fleet, health) = (fixed(daemons.clone()), Arc::new(SourceHealth::known()));
                Subscription { fleet, tasks: JoinSet::new(), health, answered: true }
            }
            Self::Source(source) => source.follow(PATIENCE).await,
        }
    }

    /// The kind of its source, in one word.
    fn kind(&self) -> &'static str {
        match self {
            Self::Fixed(_) => "config",
            Self::Source(source) => source.kind(),
        }
    }

    /// How many daemons it may come to have.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Fixed(daemons) => daemons.len() as u64,
            Self::Source(_) => EXPECTED,
        }
    }

    /// The most containers it may hold; `None` when that is not known.
    pub(super) fn capacity(&self) -> Option<u64> {
        match self {
            Self::Fixed(daemons) => Some(daemons.iter().map(|d| u64::from(d.max_containers)).sum()),
            Self::Source(_) => None,
        }
    }
}

// === impl FleetFollower ===

impl FleetFollower {
    /// Follows a fleet. Returns once discovery has answered, or not in time.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn start(fleet: Fleet, docker: Arc<Docker>) -> (Self, FleetWatch<Site>) {
        let subscription = fleet.follow().await;
        if !subscription.answered {
            warn!("discovery has not answered, or not all of it; starting with what is known");
        }
        let (known, watch) = watch::channel(Arc::from(Vec::new()));
        let (names, sources) = Default::default();
        let teller = Arc::new(Teller { docker, names, sources, known });
        let forward = teller.forward(fleet.kind(), subscription);
        (Self { fleet, teller, forward }, watch)
    }

    /// The answers of its sources.
    pub(super) fn sources(&self) -> Arc<FleetSources> {
        Arc::clone(&self.teller.sources)
    }

    /// Begins to follow a fleet, if it differs from this one; the fleet in use stays.
    ///
    /// # Errors
    /// Why it must not replace the fleet in use: discovery has not answered in full.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn prepare(&self, fleet: &Fleet) -> Result<Option<Subscription>, String> {
        if self.fleet == *fleet {
            return Ok(None);
        }
        let subscription = fleet.follow().await;
        if subscription.answered {
            Ok(Some(subscription))
        } else {
            Err("discovery does not answer, or not all of it: whom the fleet consists of is not \
                 known"
                .to_owned())
        }
    }

    /// Notes that the file was read again and lists the same fleet.
    pub(super) fn confirm(&self) {
        if let Fleet::Fixed(_) = self.fleet {
            self.teller.sources.confirm();
        }
    }

    /// Follows the new fleet from now on.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future may leave nothing followed.
    pub(super) async fn change(&mut self, fleet: Fleet, subscription: Subscription) {
        self.fleet = fleet;
        // The old task ends first: it may be about to tell of a fleet that no longer holds.
        self.forward.abort();
        _ = (&mut self.forward).await;
        self.forward = self.teller.forward(self.fleet.kind(), subscription);
    }
}

// === impl Teller ===

impl Teller {
    /// Passes a fleet on, and its changes.
    fn forward(
        self: &Arc<Self>,
        kind: &'static str,
        subscription: Subscription,
    ) -> AbortOnDropHandle<()> {
        let Subscription { fleet: mut source, tasks, health, .. } = subscription;
        self.sources.follow(kind, health);
        self.tell(&source.borrow_and_update());
        let this = Arc::clone(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _discovery = tasks;
            while source.changed().await.is_ok() {
                this.tell(&source.borrow_and_update());
            }
            // A fleet that never changes.
        }))
    }

    fn tell(&self, listed: &[DaemonSpec<Site>]) {
        let fleet = self.names.lock().assign(listed, |name| self.docker.knows(name));
        let daemons = fleet.len();
        let changed = self.known.send_if_modified(|known| {
            let changed = **known != *fleet;
            *known = fleet;
            changed
        });
        self.sources.told(daemons, changed);
    }
}

fn daemon(daemon: &config::ListedDaemon) -> DaemonSpec<Site> {
    DaemonSpec {
        name: daemon.name.as_str().into(),
        endpoint: Site { endpoint: daemon.url.clone(), publish_on: daemon.publish_on },
        max_containers: daemon.max_containers,
        tier: 0,
        max_launches: daemon.max_launches,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::SourceReading;
    use crate::docker::Identity;

    fn fixed_at(places: &[(&str, u16)]) -> Fleet {
        let daemon = |&(name, port): &(&str, u16)| DaemonSpec {
            name: name.into(),
            endpoint: Site::of(format!("tcp://127.0.0.1:{port}").parse().unwrap()),
            max_containers: 1,
            tier: 0,
            max_launches: None,
        };
        Fleet::Fixed(places.iter().map(daemon).collect())
    }

    #[tokio::test]
    async fn another_url_under_an_old_name_is_another_daemon_to_the_pool() {
        let identity = Identity { instance: "i".into(), boot: "3fa9c1d2".into() };
        let docker = Arc::new(Docker::new(identity, Vec::new()));
        let (mut followed, mut told) = FleetFollower::start(fixed_at(&[("a", 1)]), docker).await;
        let names = |told: &mut FleetWatch<Site>| {
            let fleet = told.borrow_and_update().clone();
            fleet.iter().map(|d| format!("{} {}", d.name, d.endpoint.endpoint)).collect::<Vec<_>>()
        };
        assert_eq!(names(&mut told), ["a tcp://127.0.0.1:1"]);
        // Out by one reload, in by the next; and at once.
        for (places, expected) in [
            (&[("b", 9)][..], &["b tcp://127.0.0.1:9"][..]),
            (&[("a", 2)], &["a~2 tcp://127.0.0.1:2"]),
            (&[("a", 3), ("b", 9)], &["a~3 tcp://127.0.0.1:3", "b tcp://127.0.0.1:9"]),
            (&[("a", 1)], &["a tcp://127.0.0.1:1"]),
        ] {
            let fleet = fixed_at(places);
            let subscription = followed.prepare(&fleet).await.unwrap().unwrap();
            followed.change(fleet, subscription).await;
            assert_eq!(names(&mut told), expected);
        }
        let read = followed.sources().read();
        let [SourceReading { source: "config", updates: 5, failures: 0, now: Some(now) }] =
            &read[..]
        else {
            panic!("{read:?}")
        };
        assert!(now.is_up && now.daemons == 1 && now.answered.is_some(), "{now:?}");
    }
}
