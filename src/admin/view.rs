//! The answers, as they go over the wire. Times are seconds, and say so in their names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use std::time::{Duration, Instant};

use ganger_pool::core::{
    AdminState, ContainerView, Counts, DaemonView, ServiceView, StartKind, State,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::latencies::Percentiles;
use crate::proxy::SessionView;

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct About {
    /// Of the program.
    pub version: String,
    /// The name on its containers.
    pub instance: String,
    /// This run of it.
    pub boot: String,
    /// Its process id.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_seconds: f64,
    /// It was told to stop.
    pub stopping: bool,
    /// Whoever asks may change something.
    pub may_act: bool,
}

/// All at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The process.
    pub about: About,
    /// In the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// By name.
    pub daemons: Vec<DaemonStatus>,
    /// Connections that are there.
    pub sessions: usize,
    /// The most that may be there at a time.
    pub sessions_max: usize,
}

/// Containers by what they do. All of them count against capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerCounts {
    /// Being created, started, or not yet ready.
    pub starting: u32,
    /// In stock.
    pub ready: u32,
    /// Held by a connection.
    pub leased: u32,
    /// Yet to prove that they can serve again.
    pub checking: u32,
    /// On a daemon that is out of reach.
    pub unknown: u32,
    /// Being removed.
    pub stopping: u32,
}

/// Leases that were given, by how they were served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseCounts {
    /// From stock, unused.
    pub warm: u64,
    /// From stock, leased before.
    pub reused: u64,
    /// Waited for a container to start.
    pub cold: u64,
}

/// How a service or a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// A service whose stock is full.
    Ready,
    /// A service whose stock is not full.
    Filling,
    /// A service whose containers fail.
    Failing,
    /// A service that refuses whoever finds nothing in stock.
    Refusing,
    /// A daemon that has yet to answer a list.
    Joining,
    /// A daemon that launches.
    Up,
    /// A daemon that one launch at a time tries.
    Degraded,
    /// A daemon that does not answer.
    Down,
    /// The operator has it drained.
    Drain,
    /// The operator works on it.
    Maint,
    /// It is drained, and is no part of the configuration or the fleet any more.
    Leaving,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: Condition,
    /// Why, where it fails or refuses.
    pub reason: Option<String>,
    /// The version of its settings.
    pub generation: u64,
    /// How many ready containers are to be kept.
    pub target: u32,
    /// The most containers that it may have.
    pub max: u32,
    /// The operator has set `target` or `max`, until the next reload.
    pub is_scaled: bool,
    /// Until leases are cut, where the operator has it drained with a deadline.
    pub deadline_seconds: Option<f64>,
    /// Its containers.
    pub containers: ContainerCounts,
    /// Connections that wait for one.
    pub waiting: u32,
    /// How long the first of them has been waiting.
    pub oldest_wait_seconds: Option<f64>,
    /// From accept to the lease, lately.
    pub wait: Option<Percentiles>,
    /// From accept to the container's first byte, lately.
    pub first_byte: Option<Percentiles>,
    /// Leases since it was added.
    pub leases: LeaseCounts,
    /// Connections that got nothing, by reason, since it was added.
    pub refused: BTreeMap<String, u64>,
    /// How far a rollout is: `trial`, `canary` or `taking over`.
    pub rollout: Option<String>,
    /// The last failure of a launch, whoever was at fault.
    pub last_error: Option<String>,
}

/// A daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DaemonStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: Condition,
    /// Why, where it is down or degraded.
    pub reason: Option<String>,
    /// The most containers that it may hold.
    pub capacity: u32,
    /// Launches go to the lowest tier that has room.
    pub tier: u32,
    /// The version of its engine.
    pub engine: Option<String>,
    /// Until leases there are cut, where the operator has it drained with a deadline.
    pub deadline_seconds: Option<f64>,
    /// Its containers that are this process's.
    pub containers: ContainerCounts,
    /// Launches that are under way there.
    pub launches: u32,
    /// The most launches at a time, as far as was learnt.
    pub launch_limit: u32,
    /// How long a launch takes there, until its container is ready.
    pub start_seconds: Option<f64>,
    /// What failed there last.
    pub last_error: Option<String>,
    /// What earlier runs left there, and is still to be removed.
    pub strays: u32,
    /// Containers of others who share the capacity.
    pub others: u32,
}

/// A connection that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionStatus {
    /// Its number.
    pub id: u64,
    /// The service.
    pub service: String,
    /// The client's address.
    #[schema(value_type = String)]
    pub client: SocketAddr,
    /// How long it has been there.
    pub age_seconds: f64,
    /// The id of the container that serves it, if it has one.
    pub container: Option<String>,
    /// The daemon of that.
    pub daemon: Option<String>,
    /// Leases of that container, with this one.
    pub uses: Option<u32>,
    /// From the client so far.
    pub in_bytes: u64,
    /// To the client so far.
    pub out_bytes: u64,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerStatus {
    /// The number of its launch.
    pub launch: u64,
    /// The engine's id, once it has one.
    pub id: Option<String>,
    /// The service.
    pub service: String,
    /// The version of the service's settings.
    pub generation: u64,
    /// The daemon.
    pub daemon: String,
    /// One of the words of [`ContainerCounts`].
    pub state: String,
    /// Since when, in seconds.
    pub state_seconds: f64,
    /// Since its launch was ordered.
    pub age_seconds: f64,
    /// Leases that it has had.
    pub uses: u32,
    /// Why it goes, if it does.
    pub retire_reason: Option<String>,
}

// === impl Condition ===

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Filling => "filling",
            Self::Failing => "failing",
            Self::Refusing => "refusing",
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Leaving => "leaving",
        })
    }
}

// === impl ContainerCounts ===

impl ContainerCounts {
    /// Counts a container in the state with this word.
    pub fn add(&mut self, word: &str) {
        let count = match word {
            "starting" => &mut self.starting,
            "ready" => &mut self.ready,
            "leased" => &mut self.leased,
            "checking" => &mut self.checking,
            "unknown" => &mut self.unknown,
            _ => &mut self.stopping,
        };
        *count += 1;
    }

    /// By the words that are used for them everywhere.
    pub(super) fn by_word(self) -> [(&'static str, u32); 6] {
        [
            ("starting", self.starting),
            ("ready", self.ready),
            ("leased", self.leased),
            ("checking", self.checking),
            ("unknown", self.unknown),
            ("stopping", self.stopping),
        ]
    }
}

impl From<Counts> for ContainerCounts {
    fn from(counts: Counts) -> Self {
        Self {
            starting: counts[State::Launching] + counts[State::Probing],
            ready: counts[State::Idle],
            leased: counts[State::Leased],
            checking: counts[State::Checking],
            unknown: counts[State::Unknown],
            stopping: counts[State::Retiring],
        }
    }
}

// === impl ServiceStatus ===

impl ServiceStatus {
    /// Whether clients are served, as far as is known.
    pub(super) fn is_serving(&self) -> bool {
        use Condition::{Drain, Leaving, Maint, Refusing};
        !matches!(self.state, Refusing | Drain | Maint | Leaving)
    }

    /// Whether clients are refused although no operator has ordered that.
    pub(super) fn is_refusing(&self) -> bool {
        self.state == Condition::Refusing
    }
}

impl From<&ServiceView> for ServiceStatus {
    fn from(view: &ServiceView) -> Self {
        let (state, reason) = match view {
            ServiceView { leaving: true, .. } => (Condition::Leaving, None),
            ServiceView { admin: AdminState::Drain, .. } => (Condition::Drain, None),
            ServiceView { admin: AdminState::Maint, .. } => (Condition::Maint, None),
            ServiceView { refusing: Some(why), .. } => (Condition::Refusing, Some(why)),
            ServiceView { failing: Some(why), .. } => (Condition::Failing, Some(why)),
            view if view.stocked() => (Condition::Ready, None),
            _ => (Condition::Filling, None),
        };
        let mut leases = LeaseCounts::default();
        for (kind, count) in &view.totals.leases {
            match kind {
                StartKind::Warm => leases.warm = *count,
                StartKind::Reused => leases.reused = *count,
                StartKind::Cold => leases.cold = *count,
            }
        }
        let refused = view.totals.refused.iter();
        Self {
            name: view.name.to_string(),
            state,
            reason: reason.map(ToString::to_string),
            generation: view.generation.0.into(),
            target: view.warm,
            max: view.max,
            is_scaled: false,
            deadline_seconds: None,
            containers: view.counts.into(),
            waiting: view.waiting,
            oldest_wait_seconds: view.oldest_wait.map(|since| elapsed(since).as_secs_f64()),
            wait: None,
            first_byte: None,
            leases,
            refused: refused.map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            rollout: view.rollout.as_ref().map(|rollout| rollout.stage.to_string()),
            last_error: view.last_error.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&DaemonView> for DaemonStatus {
    fn from(view: &DaemonView) -> Self {
        let (state, reason) = match view {
            DaemonView { leaving: true, .. } => (Condition::Leaving, None),
            DaemonView { admin: AdminState::Drain, .. } => (Condition::Drain, None),
            DaemonView { admin: AdminState::Maint, .. } => (Condition::Maint, None),
            DaemonView { down: Some(why), .. } => (Condition::Down, Some(why)),
            DaemonView { listed: false, .. } => (Condition::Joining, None),
            DaemonView { degraded: Some(why), .. } => (Condition::Degraded, Some(why)),
            _ => (Condition::Up, None),
        };
        Self {
            name: view.name.to_string(),
            state,
            reason: reason.map(ToString::to_string),
            capacity: view.capacity,
            tier: view.tier,
            engine: None,
            deadline_seconds: None,
            containers: view.counts.into(),
            launches: view.in_flight,
            launch_limit: view.launch_limit,
            start_seconds: None,
            last_error: None,
            strays: view.strays,
            others: view.others,
        }
    }
}

impl From<SessionView> for SessionStatus {
    fn from(view: SessionView) -> Self {
        let uses = view.container.as_ref().map(|serving| serving.uses);
        let (container, daemon) = view
            .container
            .map(|serving| (serving.id.to_string(), serving.daemon.to_string()))
            .unzip();
        Self {
            id: view.id.0,
            service: view.service.to_string(),
            client: view.client,
            age_seconds: view.age.as_secs_f64(),
            container,
            daemon,
            uses,
            in_bytes: view.bytes_in,
            out_bytes: view.bytes_out,
        }
    }
}

// === impl ContainerStatus ===

impl From<ContainerView> for ContainerStatus {
    fn from(view: ContainerView) -> Self {
        Self {
            launch: view.launch.0,
            id: None,
            service: view.service.to_string(),
            generation: view.generation.0.into(),
            daemon: view.daemon.to_string(),
            state: word(view.state).to_owned(),
            state_seconds: elapsed(view.since).as_secs_f64(),
            age_seconds: elapsed(view.launched).as_secs_f64(),
            uses: view.uses,
            retire_reason: view.retire_reason.map(|reason| reason.to_string()),
        }
    }
}

/// The word of [`ContainerCounts`] for a state.
pub(super) const fn word(state: State) -> &'static str {
    match state {
        State::Launching | State::Probing => "starting",
        State::Idle => "ready",
        State::Leased => "leased",
        State::Checking => "checking",
        State::Unknown => "unknown",
        State::Retiring | State::Removed => "stopping",
    }
}

/// How long ago that was, by the clock of the pool.
fn elapsed(since: Instant) -> Duration {
    tokio::time::Instant::now().into_std().saturating_duration_since(since)
}
