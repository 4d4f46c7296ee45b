//! What is told, as it goes over the wire. Times are seconds, and say so in their names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use ganger_pool::core::{Counts, DaemonView, ServiceView, StartKind, State};
use serde::{Deserialize, Serialize};

use crate::proxy::SessionView;

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub about: About,
    /// In the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// By name.
    pub daemons: Vec<DaemonStatus>,
    /// Connections that are there.
    pub sessions: usize,
}

/// Containers by what they do. All of them count against capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseCounts {
    /// From stock, unused.
    pub warm: u64,
    /// From stock, leased before.
    pub reused: u64,
    /// Waited for a container to start.
    pub cold: u64,
}

/// How a service or a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// It is drained, and is no part of the configuration or the fleet any more.
    Leaving,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Its containers.
    pub containers: ContainerCounts,
    /// Connections that wait for one.
    pub waiting: u32,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Its containers that are this process's.
    pub containers: ContainerCounts,
    /// What earlier runs left there, and is still to be removed.
    pub strays: u32,
    /// Containers of others who share the capacity.
    pub others: u32,
}

/// A connection that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its number.
    pub id: u64,
    /// The service.
    pub service: String,
    /// The client's address.
    pub client: SocketAddr,
    /// How long it has been there.
    pub age_seconds: f64,
    /// The id of the container that serves it, if it has one.
    pub container: Option<String>,
    /// The daemon of that.
    pub daemon: Option<String>,
    /// From the client so far.
    pub in_bytes: u64,
    /// To the client so far.
    pub out_bytes: u64,
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
            Self::Leaving => "leaving",
        })
    }
}

// === impl ContainerCounts ===

impl ContainerCounts {
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
        self.state != Condition::Refusing
    }
}

impl From<&ServiceView> for ServiceStatus {
    fn from(view: &ServiceView) -> Self {
        let (state, reason) = match view {
            ServiceView { leaving: true, .. } => (Condition::Leaving, None),
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
            containers: view.counts.into(),
            waiting: view.waiting,
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
            containers: view.counts.into(),
            strays: view.strays,
            others: view.others,
        }
    }
}

impl From<SessionView> for SessionStatus {
    fn from(view: SessionView) -> Self {
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
            in_bytes: view.bytes_in,
            out_bytes: view.bytes_out,
        }
    }
}
