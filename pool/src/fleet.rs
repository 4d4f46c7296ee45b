//! Follows discovery, and keeps contact with each daemon in a task of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::broker::Broker;
use crate::core::{Backoff, DaemonName, Event, ServiceName};
use crate::discovery::{DaemonSpec, FleetWatch};
use crate::nudge::{Nudge, Nudges};
use crate::options::ServiceOptions;
use crate::runtime::{CallError, ContainerRuntime, DaemonFacts, RuntimeEventKind};

/// How often a daemon is asked for its list: the liveness of its event stream.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// So many failed calls in a row make a daemon down; one condemns nothing.
const MISSES: u32 = 3;
/// How often a daemon is asked again whether it is ready for every service.
const PREPARE_EVERY: Duration = Duration::from_secs(30);
const CONTACT: Backoff = Backoff { first: Duration::from_millis(200), cap: Duration::from_secs(5) };

pub(crate) struct Fleet<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) services: Arc<BTreeMap<ServiceName, ServiceOptions<R::Spec>>>,
    pub(crate) nudges: Arc<Nudges>,
}

struct Monitor<R: ContainerRuntime> {
    fleet: Arc<Fleet<R>>,
    daemon: DaemonSpec<R::Endpoint>,
    nudge: Arc<Nudge>,
}

// === impl Fleet ===

impl<R: ContainerRuntime> Fleet<R> {
    /// Runs until discovery ends, then keeps what it found last. Dropping it
    /// ends all contact.
    pub(crate) async fn run(self, mut watch: FleetWatch<R::Endpoint>) {
        let this = Arc::new(self);
        let mut monitors = JoinSet::new();
        let mut known: BTreeMap<DaemonName, (DaemonSpec<R::Endpoint>, AbortHandle)> =
            BTreeMap::new();
        loop {
            let fleet = watch.borrow_and_update().clone();
            known.retain(|name, (_, monitor)| {
                let stays = fleet.iter().any(|daemon| daemon.name == *name);
                if !stays {
                    info!(daemon = %name, "left the fleet; draining it");
                    monitor.abort();
                    this.broker.tell(Event::DaemonLeft { daemon: name.clone() });
                }
                stays
            });
            for daemon in fleet.iter() {
                if known.get(&daemon.name).is_some_and(|(spec, _)| spec == daemon) {
                    continue;
                }
                this.broker.tell(Event::DaemonJoined {
                    daemon: daemon.name.clone(),
                    capacity: daemon.max_containers,
                });
                let nudge = this.nudges.of(&daemon.name);
                let monitor = Monitor { fleet: this.clone(), daemon: daemon.clone(), nudge };
                let handle = monitors.spawn(monitor.run());
                if let Some((_, old)) = known.insert(daemon.name.clone(), (daemon.clone(), handle))
                {
                    old.abort();
                }
            }
            if watch.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

// === impl Monitor ===

impl<R: ContainerRuntime> Monitor<R> {
    async fn run(self) {
        let mut misses = 0;
        // Whether anybody was told that the daemon is down.
        let mut told = false;
        let mut first = true;
        loop {
            match self.fleet.runtime.connect(&self.daemon.name, &self.daemon.endpoint).await {
                Ok(facts) => {
                    info!(
                        daemon = %self.daemon.name, version = %facts.version, cpus = facts.cpus,
                        "contact made"
                    );
                    let error = self.stay(&facts).await;
                    warn!(daemon = %self.daemon.name, %error, "contact lost");
                    self.down(&error);
                    (misses, told) = (1, true);
                }
                Err(error) => {
                    misses += 1;
                    if !told && (first || misses >= MISSES) {
                        warn!(daemon = %self.daemon.name, %error, "no contact");
                        self.down(&error);
                        told = true;
                    }
                }
            }
            first = false;
            tokio::select! {
                () = tokio::time::sleep(CONTACT.after(misses)) => {}
                () = self.nudge.look.notified() => tokio::time::sleep(CONTACT.first).await,
            }
        }
    }

    fn down(&self, error: &CallError) {
        let reason = error.to_string().into();
        self.tell(Event::DaemonDown { daemon: self.daemon.name.clone(), reason });
    }

    /// Keeps contact until it is lost.
    async fn stay(&self, facts: &DaemonFacts) -> CallError {
        let daemon = self.daemon.name.clone();
        let max_launches =
            self.daemon.max_launches.unwrap_or_else(|| facts.cpus.saturating_mul(2).clamp(1, 8));
        self.tell(Event::DaemonUp { daemon: daemon.clone(), max_launches });
        self.nudge.regained.notify_waiters();
        let prepare = self.prepare();
        let hear = self.hear();
        let list = self.list();
        tokio::select! {
            never = prepare => match never {},
            never = hear => match never {},
            error = list => error,
        }
    }

    /// Has the daemon get ready for every service, again and again: an image may
    /// be removed under us, and what could not be had may be there now.
    async fn prepare(&self) -> Infallible {
        let mut results: BTreeMap<ServiceName, Result<(), CallError>> = BTreeMap::new();
        loop {
            let mut soon = false;
            let mut work = JoinSet::new();
            for (name, options) in self.fleet.services.iter() {
                let (runtime, daemon) = (self.fleet.runtime.clone(), self.daemon.name.clone());
                let (name, spec) = (name.clone(), options.spec.clone());
                work.spawn(async move {
                    let result = runtime.prepare(&daemon, &name, &spec).await;
                    (name, result)
                });
            }
            while let Some(done) = work.join_next().await {
                let Ok((service, result)) = done else { continue };
                let before = results.get(&service);
                if let Err(error) = &result
                    && error.unreachable
                {
                    // No answer says nothing against what was answered before;
                    // whether there is contact at all, the list tells.
                    soon = true;
                    if before.is_some() {
                        continue;
                    }
                }
                if let Err(error) = &result
                    && before != Some(&result)
                {
                    warn!(daemon = %self.daemon.name, %service, %error, "cannot run this service");
                }
                results.insert(service.clone(), result.clone());
                let daemon = self.daemon.name.clone();
                let result = result.map_err(|error| error.to_string().into());
                self.tell(Event::Prepared { daemon, service, result });
            }
            tokio::select! {
                () = tokio::time::sleep(if soon { CONTACT.cap } else { PREPARE_EVERY }) => {}
                () = self.nudge.prepare.notified() => {}
            }
        }
    }

    /// Passes on the daemon's events; each gap is closed by a list.
    async fn hear(&self) -> Infallible {
        let (sink, mut events) = mpsc::unbounded_channel();
        let stream = async {
            loop {
                let error = self.fleet.runtime.events(&self.daemon.name, sink.clone()).await;
                debug!(daemon = %self.daemon.name, %error, "event stream broke");
                self.nudge.look.notify_one();
                tokio::time::sleep(CONTACT.first).await;
            }
        };
        let pass_on = async {
            loop {
                let Some(event) = events.recv().await else { std::future::pending().await };
                let launch = event.launch;
                self.tell(match event.kind {
                    RuntimeEventKind::Died => Event::Died { launch },
                    RuntimeEventKind::OutOfMemory => Event::OutOfMemory { launch },
                });
            }
        };
        tokio::select! {
            never = stream => never,
            never = pass_on => never,
        }
    }

    /// Lists every few seconds, and at once when nudged.
    async fn list(&self) -> CallError {
        let mut misses = 0;
        loop {
            let began = Instant::now().into_std();
            let daemon = self.daemon.name.clone();
            match self.fleet.runtime.owned(&daemon).await {
                Ok(owned) => {
                    misses = 0;
                    self.tell(Event::Listed { daemon, began, owned });
                }
                Err(error) => {
                    misses += 1;
                    debug!(%daemon, %error, misses, "no list");
                    if misses >= MISSES {
                        return error;
                    }
                }
            }
            let pause = if misses == 0 { LIST_EVERY } else { CONTACT.after(misses) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.nudge.look.notified() => tokio::time::sleep(CONTACT.first).await,
            }
        }
    }

    fn tell(&self, event: Event) {
        self.fleet.broker.tell(event);
    }
}
