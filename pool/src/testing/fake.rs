//! A fake engine: containers in memory, and a gate before every call.

mod gate;
mod world;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::core::{ContainerKey, DaemonName, Fault, LaunchId, Owned, Proof, ServiceName};
use crate::probe::{NotYet, Probe, ProbeError};
use crate::runtime::{
    CallError, ContainerRuntime, DaemonFacts, LaunchError, LaunchOrder, Listing, PostMortem,
    Removal, RuntimeEvent, Target,
};
pub use gate::{Gate, Op};
use world::{FakeWorld, Preparation};

/// How long a call that is gated with `Never` takes to give up.
const GIVE_UP: Duration = Duration::from_secs(10);

/// A fleet of fake daemons, which hold containers in memory.
pub struct FakeEngine {
    world: Arc<Mutex<FakeWorld>>,
    /// A container died: its probes look again.
    deaths: Arc<Notify>,
}

/// A container of a [`FakeEngine`].
#[derive(Debug, PartialEq, Eq)]
pub struct FakeContainer {
    /// Which launch it came of.
    pub launch: LaunchId,
    /// The daemon it is on.
    pub daemon: DaemonName,
    /// Its spec.
    pub spec: u32,
}

/// The probe of a [`FakeEngine`]'s containers.
pub struct FakeProbe(Arc<FakeEngine>);

// === impl FakeEngine ===

impl FakeEngine {
    /// Daemons without containers; latencies depend on the seed.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let world = Arc::new(Mutex::new(FakeWorld::new(seed)));
        Arc::new(Self { world, deaths: Arc::default() })
    }

    /// The probe that goes with it.
    #[must_use]
    pub fn probe(self: &Arc<Self>) -> Arc<FakeProbe> {
        Arc::new(FakeProbe(self.clone()))
    }

    /// Sets the gate of such calls from now on.
    pub fn gate(&self, daemon: &str, op: Op, gate: Gate) {
        self.world.lock().gates.insert((daemon.into(), op), gate);
    }

    /// Sets the gate for the preparation of one service from now on.
    pub fn gate_prepare(&self, daemon: &str, service: &str, gate: Gate) {
        self.world.lock().prepare_gates.insert((daemon.into(), service.into()), gate);
    }

    /// Sets the gate for the readiness of containers with that spec from now on.
    pub fn gate_spec(&self, spec: u32, gate: Gate) {
        self.world.lock().spec_gates.insert(spec, gate);
    }

    /// Sets how long a check may take from now on.
    pub fn limit_checks(&self, limit: Duration) {
        self.world.lock().check_limit = limit;
    }

    /// How often a call was made.
    #[must_use]
    pub fn calls(&self, daemon: &str, op: Op) -> u64 {
        self.world.lock().calls.get(&(daemon.into(), op)).copied().unwrap_or(0)
    }

    /// How many preparations began while one of the same pair was under way.
    #[must_use]
    pub fn overlaps(&self) -> u64 {
        self.world.lock().overlaps
    }

    /// Where contact with a daemon was made last, unless it was forgotten since.
    #[must_use]
    pub fn place(&self, daemon: &str) -> Option<u32> {
        self.world.lock().places.get(&DaemonName::from(daemon)).copied()
    }

    /// A container of an earlier boot.
    pub fn add_stray(&self, daemon: &str, id: &str) {
        let key = (daemon.into(), ContainerKey::Stray(id.into()));
        self.world.lock().real.insert(key, true);
    }

    /// A container's process ends; `said` whether the event stream says so.
    pub fn kill(&self, container: &FakeContainer, said: bool) {
        let mut world = self.world.lock();
        let key = (container.daemon.clone(), ContainerKey::Launch(container.launch));
        if let Some(running) = world.real.get_mut(&key) {
            *running = false;
        }
        if said {
            world.say(&container.daemon, RuntimeEvent::Died(container.launch));
        }
        self.deaths.notify_waiters();
    }

    /// Somebody removes a container, and the event stream says so.
    pub fn remove(&self, container: &FakeContainer) {
        self.vanish(container);
        let (launch, mut world) = (container.launch, self.world.lock());
        world.say(&container.daemon, RuntimeEvent::Signalled(launch));
        world.say(&container.daemon, RuntimeEvent::Died(launch));
        world.say(&container.daemon, RuntimeEvent::Taken(launch));
    }

    /// Somebody removes a container, and nothing is said.
    pub fn vanish(&self, container: &FakeContainer) {
        let key = (container.daemon.clone(), ContainerKey::Launch(container.launch));
        self.world.lock().real.remove(&key);
        self.deaths.notify_waiters();
    }

    /// Somebody stops a container, and the event stream says so.
    pub fn stop(&self, container: &FakeContainer) {
        self.world.lock().say(&container.daemon, RuntimeEvent::Signalled(container.launch));
        self.kill(container, true);
    }

    /// Somebody pauses a container, and the event stream says so.
    pub fn pause(&self, container: &FakeContainer) {
        self.world.lock().say(&container.daemon, RuntimeEvent::Taken(container.launch));
    }

    /// From now on, others have so many containers on a daemon; `said` whether
    /// the event stream says so.
    pub fn set_others(&self, daemon: &str, others: u32, said: bool) {
        let mut world = self.world.lock();
        let daemon = DaemonName::from(daemon);
        world.others.insert(daemon.clone(), others);
        if said {
            world.say(&daemon, RuntimeEvent::Others);
        }
    }

    /// The kernel kills a process of a container for memory; it runs on.
    pub fn exhaust(&self, container: &FakeContainer) {
        let event = RuntimeEvent::OutOfMemory(container.launch);
        self.world.lock().say(&container.daemon, event);
    }

    /// The containers that really exist on a daemon.
    #[must_use]
    pub fn real(&self, daemon: &str) -> Vec<ContainerKey> {
        let name = DaemonName::from(daemon);
        let world = self.world.lock();
        world.real.keys().filter(|key| key.0 == name).map(|key| key.1.clone()).collect()
    }

    /// The most containers that existed on a daemon at once.
    #[must_use]
    pub fn peak(&self, daemon: &str) -> usize {
        self.world.lock().peak.get(&DaemonName::from(daemon)).copied().unwrap_or(0)
    }

    /// How many launches were asked for.
    #[must_use]
    pub fn launched(&self) -> u64 {
        self.world.lock().launched
    }

    fn is_running(&self, container: &FakeContainer) -> bool {
        let key = (container.daemon.clone(), ContainerKey::Launch(container.launch));
        self.world.lock().real.get(&key).copied().unwrap_or(false)
    }

    /// Waits at the gate.
    async fn pass(&self, daemon: &DaemonName, op: Op) -> Result<(), CallError> {
        self.pass_at(self.gate_of(daemon, op), daemon, op).await
    }

    #[expect(clippy::panic, reason = "a gate is for it")]
    async fn pass_at(&self, gate: Gate, daemon: &DaemonName, op: Op) -> Result<(), CallError> {
        let latency = {
            let mut world = self.world.lock();
            *world.calls.entry((daemon.clone(), op)).or_default() += 1;
            Duration::from_millis(1 + world.rng.below(20))
        };
        match gate {
            Gate::Ok | Gate::Unprepared | Gate::Lost | Gate::Late(_) | Gate::Pending => {
                tokio::time::sleep(latency).await;
            }
            Gate::Slow(time) => tokio::time::sleep(time).await,
            Gate::Panic => panic!("{op:?} panicked"),
            Gate::Err => return Err(CallError::refused(format!("{op:?} was refused"))),
            Gate::Never => {
                tokio::time::sleep(GIVE_UP).await;
                // The same words for every call, as for a socket that is gone.
                return Err(CallError::unreachable("the call was not answered"));
            }
        }
        Ok(())
    }

    fn gate_of(&self, daemon: &DaemonName, op: Op) -> Gate {
        self.world.lock().gates.get(&(daemon.clone(), op)).copied().unwrap_or(Gate::Ok)
    }
}

impl ContainerRuntime for FakeEngine {
    /// Any number.
    type Spec = u32;
    type Handle = FakeContainer;
    /// Any number: all of them lead to the same daemon.
    type Endpoint = u32;

    async fn connect(&self, daemon: &DaemonName, place: &u32) -> Result<DaemonFacts, CallError> {
        self.pass(daemon, Op::Connect).await?;
        self.world.lock().places.insert(daemon.clone(), *place);
        Ok(DaemonFacts { version: "fake".into(), cpus: 2 })
    }

    async fn prepare(
        &self,
        daemon: &DaemonName,
        service: &ServiceName,
        spec: &Arc<u32>,
    ) -> Result<(), CallError> {
        let pair = (daemon.clone(), service.clone());
        let gate = self.world.lock().prepare_gates.get(&pair).copied();
        let gate = gate.unwrap_or_else(|| self.gate_of(daemon, Op::Prepare));
        let _under_way = Preparation::begin(&self.world, (pair, **spec));
        self.pass_at(gate, daemon, Op::Prepare).await
    }

    async fn launch(&self, order: &LaunchOrder<u32>) -> Result<Arc<FakeContainer>, LaunchError> {
        let key = ContainerKey::Launch(order.launch);
        self.world.lock().launched += 1;
        let gate = self.gate_of(&order.daemon, Op::Launch);
        let failed = |message: &str| LaunchError::new(Fault::Daemon, message);
        self.pass(&order.daemon, Op::Launch).await.map_err(|error| {
            let fault = if error.unreachable { Fault::Daemon } else { Fault::Service };
            LaunchError::new(fault, error.message)
        })?;
        match gate {
            Gate::Unprepared => Err(LaunchError::new(Fault::Unprepared, "the image is gone")),
            Gate::Lost => {
                self.world.lock().create(&order.daemon, key);
                Err(failed("the reply was lost"))
            }
            Gate::Late(time) => {
                self.world.lock().unsettled.push(key.clone());
                let (world, daemon) = (self.world.clone(), order.daemon.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    let mut world = world.lock();
                    world.create(&daemon, key.clone());
                    world.unsettled.retain(|other| *other != key);
                });
                Err(failed("no reply in time"))
            }
            _ => {
                let mut world = self.world.lock();
                world.create(&order.daemon, key);
                if world.on(&order.daemon) > order.max_containers {
                    return Err(LaunchError::new(Fault::Full, "others were faster"));
                }
                drop(world);
                let (launch, daemon, spec) = (order.launch, order.daemon.clone(), *order.spec);
                Ok(Arc::new(FakeContainer { launch, daemon, spec }))
            }
        }
    }

    async fn post_mortem(&self, target: &Target) -> Option<PostMortem> {
        let running = {
            let world = self.world.lock();
            world.real.get(&(target.daemon.clone(), target.key.clone())).copied()
        };
        let Some(running) = running else {
            return Some(PostMortem { removed: PostMortem::BY_SOMEBODY, ..PostMortem::default() });
        };
        let exit_code = (!running).then_some(3);
        Some(PostMortem { exit_code, log: vec!["last words".into()], ..PostMortem::default() })
    }

    async fn retire(&self, target: &Target) -> Result<Removal, CallError> {
        let gate = self.gate_of(&target.daemon, Op::Retire);
        self.pass(&target.daemon, Op::Retire).await?;
        if gate == Gate::Pending {
            return Ok(Removal::Pending);
        }
        let mut world = self.world.lock();
        world.real.remove(&(target.daemon.clone(), target.key.clone()));
        if gate == Gate::Lost {
            return Err(CallError::unreachable("the reply was lost"));
        }
        let settled = !world.unsettled.contains(&target.key);
        Ok(if settled { Removal::Gone } else { Removal::Pending })
    }

    async fn list(&self, daemon: &DaemonName) -> Result<Listing, CallError> {
        self.pass(daemon, Op::List).await?;
        let world = self.world.lock();
        let on_it = world.real.iter().filter(|((name, _), _)| name == daemon);
        let owned = on_it.map(|((_, key), running)| Owned { key: key.clone(), running: *running });
        let others = world.others.get(daemon).copied().unwrap_or_default();
        Ok(Listing { owned: owned.collect(), others })
    }

    async fn events(
        &self,
        daemon: &DaemonName,
        sink: mpsc::UnboundedSender<RuntimeEvent>,
        opened: impl FnOnce() + Send,
    ) -> CallError {
        if let Err(error) = self.pass(daemon, Op::Events).await {
            return error;
        }
        self.world.lock().listeners.push((daemon.clone(), sink));
        opened();
        std::future::pending().await
    }

    fn forget(&self, daemon: &DaemonName) {
        self.world.lock().places.remove(daemon);
    }
}

// === impl FakeProbe ===

impl Probe<FakeContainer> for FakeProbe {
    async fn ready(&self, container: &FakeContainer, not_yet: &NotYet) -> Result<(), ProbeError> {
        not_yet.note("it is a fake");
        let gate = self.0.world.lock().spec_gates.get(&container.spec).copied();
        let gate = gate.unwrap_or_else(|| self.0.gate_of(&container.daemon, Op::Ready));
        let gate = self.0.pass_at(gate, &container.daemon, Op::Ready);
        let died = async {
            loop {
                let death = self.0.deaths.notified();
                if !self.0.is_running(container) {
                    break;
                }
                death.await;
            }
        };
        tokio::select! {
            // A container that has ended is not ready, however late that is noticed.
            biased;
            () = died => Err(ProbeError("it ended".into())),
            passed = gate => passed.map_err(|error| ProbeError(error.message)),
        }
    }

    async fn check(&self, container: &FakeContainer) -> Result<Proof, ProbeError> {
        self.0.pass(&container.daemon, Op::Check).await.map_err(|e| ProbeError(e.message))?;
        let ended = || ProbeError("it ended".into());
        self.0.is_running(container).then_some(Proof::Itself).ok_or_else(ended)
    }

    fn check_limit(&self, _: &FakeContainer) -> Duration {
        self.0.world.lock().check_limit
    }

    fn check_at_once(&self, container: &FakeContainer) -> Option<Result<Proof, ProbeError>> {
        let op = Op::CheckAtOnce;
        let gate = self.0.world.lock().gates.get(&(container.daemon.clone(), op)).copied()?;
        *self.0.world.lock().calls.entry((container.daemon.clone(), op)).or_default() += 1;
        match gate {
            Gate::Ok => Some(Ok(Proof::Itself)),
            Gate::Panic => panic!("{op:?} panicked, as it was told to"),
            _ => Some(Err(ProbeError(format!("{op:?} was refused")))),
        }
    }
}
