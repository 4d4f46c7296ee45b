//! The adapter to Docker, and to engines that speak its API.
//!
//! The code rests on three facts, each seen on a real engine: an engine carries
//! out a call that was given up; a list answers when nothing else does; an
//! answer of 404 or 409 means different things to different calls. Therefore
//! names come before calls, a list confirms each removal, and messages are
//! read before codes.

mod address;
mod belongings;
mod body;
mod calls;
mod carrier;
mod carriers;
mod cell_launch;
mod cell_output;
mod cells;
mod clock;
mod contact;
mod container;
mod copy;
mod daemon;
mod deadlines;
mod events;
mod exec;
mod explain;
#[cfg(test)]
pub(crate) mod fake;
mod fault;
mod hints;
mod holder_removal;
mod ignored;
mod image;
mod inquiry;
mod kind;
mod launch;
mod list;
mod mount_sources;
mod naming;
mod network;
mod network_removal;
mod observers;
mod post_mortem;
mod preflight;
mod prepare;
mod retire;
mod run_network;
mod sandbox;
mod sandboxes;
mod secret_holders;
mod secrets;
mod sightings;
mod start_pace;
mod strays;
mod stuck;
mod tags;
#[cfg(test)]
mod tests;
mod view;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ganger_pool::core::{DaemonName, LaunchId, ServiceName};
use ganger_pool::runtime::{
    CallError, ContainerKey, ContainerRuntime, DaemonFacts, Fault, LaunchError, LaunchOrder,
    LaunchPhase, Listing, Owned, PostMortem, Removal, RuntimeEvent, Target,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use address::Address;
pub use belongings::is_container;
pub(crate) use carrier::why_plain;
pub use container::Container;
pub use copy::{Copied, HeldImage};
pub use deadlines::Deadlines;
pub(crate) use exec::Executed;
pub use explain::explain;
pub use image::how_to_get;
pub use inquiry::{ImageFacts, Written};
pub use naming::{BOOT, DEADLINE, GENERATION, INSTANCE, Identity, LAUNCH, SERVICE};
pub use observers::{EngineObserver, EngineRequest, RequestOutcome, Step};
pub use preflight::{Abilities, ImageLocation, Preflight};

use crate::cell::Cells;
pub use crate::endpoint::Site;
use crate::reach::hot::HotKeeper;
use crate::reach::netns::Dialer;
pub use crate::spec::{Mount, Network, Pull, Reach, Ready, Spec};
use cells::CellLaunches;
use daemon::Daemon;
use observers::Observers;

/// Runs containers on Docker engines. Clones share everything.
#[derive(Debug, Clone)]
pub struct Docker {
    identity: Arc<Identity>,
    scope: Scope,
    builtin: Arc<[Builtin]>,
    deadlines: Deadlines,
    observers: Observers,
    calls: Arc<calls::Calls>,
    others: Arc<strays::Others>,
    dialer: Arc<Dialer>,
    /// The watch over connections that are made ahead.
    keeper: Arc<HotKeeper<Address>>,
    cells: Arc<Cells>,
    cell_launches: Arc<CellLaunches>,
    daemons: Arc<Mutex<BTreeMap<DaemonName, Arc<Daemon>>>>,
    /// Daemons that have left the fleet, while sandboxes, a network, or secrets are left there.
    leaving: Arc<Mutex<Vec<Arc<Daemon>>>>,
    /// Launches whose containers cannot be looked for any more, and the daemons that they were on:
    /// another engine is there now.
    abandoned: Arc<Mutex<BTreeMap<LaunchId, DaemonName>>>,
}

/// Which containers are seen, and may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The containers of our instance.
    Instance,
    /// The containers of our run.
    Run,
    /// The containers of every instance whose deadline has passed.
    Overdue,
}

/// An image that the program brings with it. It is loaded where it is absent,
/// and never pulled.
#[derive(Clone)]
pub struct Builtin {
    /// The reference by which services name the image.
    pub reference: String,
    /// Makes the archive, as `docker save` does.
    pub archive: fn() -> Vec<u8>,
}

// === impl Builtin ===

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builtin").field("reference", &self.reference).finish_non_exhaustive()
    }
}

// === impl Docker ===

impl Docker {
    /// An adapter that makes no contact until it is told to.
    #[must_use]
    pub fn new(identity: Identity, builtin: Vec<Builtin>) -> Self {
        Self::with_deadlines(identity, builtin, Deadlines::default())
    }

    /// An adapter that is not the run of its identity, but comes after it: it sees and
    /// removes what that run made, and nothing of other runs.
    #[must_use]
    pub fn after(identity: Identity) -> Self {
        Self { scope: Scope::Run, ..Self::new(identity, Vec::new()) }
    }

    /// An adapter that sees and removes the containers of every instance whose deadline
    /// ([`DEADLINE`]) has passed by their daemon's clock, and nothing else.
    #[must_use]
    pub fn overdue() -> Self {
        // No run has this boot: no container counts as launched by this adapter.
        let identity = Identity { instance: String::new(), boot: "overdue".to_owned() };
        Self { scope: Scope::Overdue, ..Self::new(identity, Vec::new()) }
    }

    /// The same adapter, which tells these observers how long engines take.
    #[must_use]
    pub fn observed_by(self, observers: Vec<Arc<dyn EngineObserver>>) -> Self {
        Self { observers: Observers::new(observers), ..self }
    }

    /// The same adapter, which may make cells (`sandbox: Cell`): `command` starts their keeper, once it
    /// is told their control group.
    #[must_use]
    pub fn with_cells(self, mut command: std::process::Command) -> Self {
        command.args(["--group", self.cells.group()]);
        let cells = Cells::new(self.cells.group().to_owned(), Some(command));
        Self { cells: Arc::new(cells), ..self }
    }

    /// Whether there is contact with a daemon, be it only until a daemon that has
    /// left the fleet holds nothing any more.
    #[must_use]
    pub fn knows(&self, daemon: &DaemonName) -> bool {
        self.daemons.lock().contains_key(daemon)
            || self.leaving.lock().iter().any(|leaving| leaving.name == *daemon)
    }

    /// A new adapter with these deadlines.
    #[must_use]
    pub fn with_deadlines(identity: Identity, builtin: Vec<Builtin>, deadlines: Deadlines) -> Self {
        let group = naming::cells(&identity.instance, &identity.boot);
        Self {
            identity: Arc::new(identity),
            scope: Scope::Instance,
            builtin: builtin.into(),
            deadlines,
            observers: Observers::default(),
            calls: Arc::default(),
            others: Arc::default(),
            dialer: Arc::default(),
            keeper: Arc::default(),
            cells: Arc::new(Cells::new(group, None)),
            cell_launches: Arc::default(),
            daemons: Arc::default(),
            leaving: Arc::default(),
            abandoned: Arc::default(),
        }
    }

    fn daemon(&self, name: &DaemonName) -> Result<Arc<Daemon>, CallError> {
        let known = self.daemons.lock().get(name).cloned();
        known.ok_or_else(|| {
            CallError::unreachable(format!("no contact with daemon {name} has been made yet"))
        })
    }

    /// The daemon of this name. When its site changes, everything known of it is dropped but its
    /// sandboxes, its network and its secrets.
    fn daemon_at(&self, name: &DaemonName, site: &Site) -> Arc<Daemon> {
        let mut daemons = self.daemons.lock();
        let fresh =
            || Daemon::new(name.clone(), site.clone(), self.deadlines, self.observers.clone());
        let known = daemons.entry(name.clone()).or_insert_with(|| Arc::new(fresh()));
        if !known.is_at(site) {
            let mut moved = fresh();
            moved.sandboxes = Arc::clone(&known.sandboxes);
            moved.network = Arc::clone(&known.network);
            moved.secrets = Arc::clone(&known.secrets);
            moved.carriers = Arc::clone(&known.carriers);
            moved.cell_events = Arc::clone(&known.cell_events);
            *known = Arc::new(moved);
        }
        Arc::clone(known)
    }
}

impl ContainerRuntime for Docker {
    type Spec = Spec;
    type Handle = Container;
    type Endpoint = Site;

    fn salt(&self) -> u64 {
        // An identity that is no run's launches nothing.
        u64::from_str_radix(&self.identity.boot, 16).unwrap_or_default()
    }

    async fn connect(&self, daemon: &DaemonName, site: &Site) -> Result<DaemonFacts, CallError> {
        tracing::debug!(%daemon, url = %site.endpoint, "making contact");
        self.daemon_at(daemon, site).connect().await
    }

    async fn prepare(
        &self,
        daemon: &DaemonName,
        service: &ServiceName,
        spec: &Arc<Spec>,
    ) -> Result<(), CallError> {
        let daemon = self.daemon(daemon)?;
        self.prepare_service(&daemon, service, spec).await
    }

    async fn launch(&self, order: &LaunchOrder<Spec>) -> Result<Arc<Container>, LaunchError> {
        let mut begun = LaunchPhase::Create;
        let started = self.start_container(order, &mut begun).await;
        started.map_err(|error| {
            let fault = match error.fault {
                Fault::Service => self.fault_of(order.launch),
                fault @ (Fault::Daemon | Fault::Unprepared) => {
                    // The sandbox is not used again, whoever is to blame.
                    _ = self.fault_of(order.launch);
                    fault
                }
                fault => fault,
            };
            // Before the start, the error itself says whether the pull failed.
            let phase = if begun == LaunchPhase::Create { error.phase } else { begun };
            let container = self.calls.id(order.launch);
            LaunchError { fault, phase, container, ..error }
        })
    }

    fn fault_of(&self, launch: LaunchId) -> Fault {
        let daemons: Vec<_> = self.daemons.lock().values().cloned().collect();
        let blame = |daemon: &Arc<Daemon>| self.spoil_sandbox(daemon, launch);
        if self.lost_its_keeper(launch) {
            return Fault::Unwanted;
        }
        // A service does not answer for a sandbox that others had used before.
        if daemons.iter().any(blame) { Fault::Daemon } else { Fault::Service }
    }

    async fn post_mortem(&self, target: &Target) -> Option<PostMortem> {
        if let Some(post_mortem) = self.cell_post_mortem(&target.key).await {
            return Some(post_mortem);
        }
        self.look_at(target).await
    }

    async fn retire(&self, target: &Target) -> Result<Removal, CallError> {
        if let Some(removal) = self.remove_cell(&target.key).await {
            return removal;
        }
        let removal = self.remove(target).await?;
        if let (Removal::Gone, ContainerKey::Launch(launch)) = (removal, &target.key)
            && let Ok(daemon) = self.daemon(&target.daemon)
        {
            self.release_sandbox(&daemon, *launch);
        }
        Ok(removal)
    }

    async fn list(&self, daemon: &DaemonName) -> Result<Listing, CallError> {
        let daemon = self.daemon(daemon)?;
        self.tidy_sandboxes(&daemon);
        self.tidy_secrets(&daemon);
        self.tidy_carriers(&daemon);
        if self.scope == Scope::Run {
            self.sweep_cells();
        }
        let (all, lost) = self.list_counted(&daemon).await?;
        let count = |listed: &[_]| u32::try_from(listed.len()).unwrap_or(u32::MAX);
        let total = count(&all);
        if self.scope == Scope::Overdue && daemon.clock.now().is_none() {
            let message = format!("{} does not say what time it is there", daemon.endpoint);
            return Err(CallError::refused(message));
        }
        let mut ours: Vec<_> =
            all.into_iter().filter(|listed| self.is_ours(&daemon, listed)).collect();
        let belongings = self.stray_belongings(&daemon, &ours).await?;
        ours.extend(belongings);
        let ours = self.sort_out(&daemon, ours);
        let besides = ours.iter().filter(|listed| naming::is_belonging(&listed.id)).count();
        let besides = u32::try_from(besides).unwrap_or(u32::MAX);
        let others = total - (count(&ours) - besides);
        let none = BTreeMap::new();
        let owned = |container: &view::Listed| {
            let key = self.identity.key(&container.id, container.labels.as_ref().unwrap_or(&none));
            // A container without its network serves nobody, or somebody else's clients.
            let cut_off = matches!(&key, ContainerKey::Launch(launch) if lost.contains(launch));
            let running = container.state.as_deref() == Some("running") && !cut_off;
            Owned { key, running }
        };
        let mut owned: Vec<_> = ours.iter().map(owned).collect();
        owned.extend(self.listed_cells(&daemon.name));
        Ok(Listing { owned, others })
    }

    async fn events(
        &self,
        daemon: &DaemonName,
        sink: mpsc::UnboundedSender<RuntimeEvent>,
        opened: impl FnOnce() + Send,
    ) -> CallError {
        match self.daemon(daemon) {
            Ok(daemon) => {
                *daemon.cell_events.lock() = Some(sink.clone());
                self.follow(&daemon, sink, opened).await
            }
            Err(error) => error,
        }
    }

    fn forget(&self, daemon: &DaemonName) {
        let known = self.daemons.lock().remove(daemon);
        if let Some(daemon) = known {
            self.leave(daemon);
        }
    }
}
