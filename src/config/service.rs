//! The services of the configuration.

mod decode;
mod groups;
mod overdue;
mod parts;
mod sandbox;
mod table;
mod tmpfs;
mod warm;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ganger_pool::core::Auto;
use indexmap::IndexMap;

use super::decode::default_of;
use super::image::ImageRef;
use super::name::Name;
use crate::spec::{Mount, Network, Preconnect, Pull, Reach, Ready, Sandbox};

pub(super) use decode::{Found, service};
pub(super) use table::SERVICE_ROWS;

/// What clients connect to, and what serves them.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique in the file.
    pub name: Name,
    /// Where clients connect. Port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// What its containers run.
    pub image: ImageRef,
    /// The port its containers listen on. Never 0.
    pub port: u16,
    /// Replaces the image's command. Not empty.
    pub command: Option<Vec<String>>,
    /// Environment of the container, besides the image's.
    pub env: Env,
    /// Leases of a container after its first; 0 is strict.
    pub reuse: u32,
    /// Ready containers kept ahead of demand; 0 is classic: launch on connect. With
    /// `auto`, the least.
    pub warm: u32,
    /// The stock sizes itself, within bounds. At most `max`.
    pub auto: Option<Auto>,
    /// The most containers over all daemons. At least 1 and `warm`.
    pub max: u32,
    /// The age at which a container is retired. At least a second.
    pub max_age: Option<Duration>,
    /// When anybody may remove a container, from its creation on: its deadline. Such a
    /// service has a `timeouts.session`, and leases no container that may be in use when
    /// its deadline passes; see [`Service::retire_after`].
    pub overdue_after: Option<Duration>,
    /// Clients that wait.
    pub queue: Queue,
    /// What shows that a container can serve.
    pub ready: Ready,
    /// Reaching the container.
    pub connect: Connect,
    /// The client's connection.
    pub client: Client,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When the image is fetched.
    pub pull: Pull,
    /// How often is looked whether the image's tag has moved in its registry; what it
    /// stands for then is switched over to. At least a second.
    pub watch_image: Option<Duration>,
    /// What a container may use.
    pub limits: Limits,
    /// What a container can reach.
    pub network: Network,
    /// How a container is reached.
    pub reach: Reach,
    /// Whose network namespace a container has.
    pub sandbox: Sandbox,
    /// Whether a connection into a container is made before a client wants it.
    pub preconnect: Preconnect,
    /// On which addresses a port is published where `reach` comes to that.
    pub publish: Publish,
    /// How many containers there may be above what is wanted while another image or
    /// setting takes over. At least 1.
    pub max_surge: u32,
    /// The share of connections, in thousandths, that another image or setting has before
    /// it takes over; 0 for none. At most 500.
    pub canary: u32,
    /// How long a ready container beyond `warm` is kept.
    pub surplus_after: Duration,
    /// For how long a ready container is leased, while its daemon is unreachable, after
    /// it has shown that it can serve; zero: it is not leased then.
    pub stale_after: Duration,
    /// `USER[:GROUP]` instead of the image's.
    pub user: Option<String>,
    /// The container's root file system cannot be written.
    pub read_only: bool,
    /// Memory file systems: absolute path to mount options.
    pub tmpfs: IndexMap<String, String>,
    /// Capabilities it gets, of which it has none otherwise. Without `CAP_`.
    pub cap_add: Vec<String>,
    /// What it sees of the daemon's machine.
    pub mounts: Vec<Mount>,
    /// The engine's name of the OCI runtime instead of its default one.
    pub runtime: Option<Name>,
}

/// Environment variables. `Debug` hides the values, which may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(pub IndexMap<String, String>);

/// Clients that wait for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The most that wait; more are refused at once.
    pub length: u32,
    /// The longest a client waits. Never 0.
    pub timeout: Duration,
}

/// Reaching a leased container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// From the first dial until a container took the connection, all retries
    /// included. Never 0.
    pub timeout: Duration,
    /// Further containers tried after the first failed.
    pub retries: u32,
    /// The most bytes of a client kept to be sent again to another container.
    pub replay: usize,
}

/// The client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// How long a client may leave unanswered what it is sent and asked, before it is taken to be
    /// gone; `None` for as long as the kernel goes on. At least 10 s.
    pub keepalive: Option<Duration>,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From its start until a container must be ready. Never 0.
    pub start: Duration,
    /// A container that is to answer without a byte in either direction, before its first;
    /// `None` for no limit of its own.
    pub first_byte: Option<Duration>,
    /// A session without a byte in either direction; `None` for no limit.
    pub idle: Option<Duration>,
    /// A whole session; `None` for no limit.
    pub session: Option<Duration>,
}

/// What a container may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of memory, without any swap. At least 6 MiB.
    pub memory: u64,
    /// Processors' worth of time, at least 0.01; `None` for all there is.
    pub cpus: Option<f64>,
    /// Processes and threads. At least 1.
    pub pids: u32,
    /// A daemon that cannot keep them launches nothing; else it launches without.
    pub enforce: bool,
}

/// On which addresses of a daemon's machine ports are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Publish {
    /// The one of [`Daemon::publish_on`](super::Daemon::publish_on).
    #[default]
    Own,
    /// All of them: whoever reaches the machine gets past the proxy.
    Any,
}

// === impl Env ===

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// === impl Default ===

impl Default for Queue {
    fn default() -> Self {
        default_of("()")
    }
}

impl Default for Connect {
    fn default() -> Self {
        default_of("()")
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        default_of("()")
    }
}
