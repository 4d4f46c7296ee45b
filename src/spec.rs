//! The spec of a service, and its session settings: types that the configuration shares with the
//! adapter and the proxy.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

/// Spec of a service's containers: image, process, limits, how they are reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Reference of the image; without tag or digest, `latest` is meant.
    pub image: String,
    /// Arguments for the image's entrypoint, or the program when it has none. Not empty.
    pub command: Option<Vec<String>>,
    /// The program, with its first arguments, in place of the image's entrypoint and command. Not
    /// empty.
    pub entrypoint: Option<Vec<String>>,
    /// Absolute path of the directory that it is started in; `None` takes the image's.
    pub working_dir: Option<String>,
    /// Environment, added to the image's.
    pub env: Env,
    /// TCP port that the service listens on in its container. Never 0.
    pub port: u16,
    /// When the image is fetched.
    pub pull: Pull,
    /// Resource limits.
    pub limits: Limits,
    /// Its network access.
    pub network: Network,
    /// How the container is reached.
    pub reach: Reach,
    /// The addresses to publish a port on, where `reach` needs one.
    pub publish: Publish,
    /// Whose network namespace it has.
    pub sandbox: Sandbox,
    /// How far containers in stock are.
    pub stock: StockedAs,
    /// The sign that a container can serve.
    pub ready: Ready,
    /// Whether a connection is made ahead.
    pub preconnect: Preconnect,
    /// Its host name; `None` leaves that to the engine, which takes the container's id.
    pub hostname: Option<String>,
    /// A process that reaps orphans and passes signals on is started before the program.
    pub init: bool,
    /// Bytes of /dev/shm; `None` leaves that to the engine, which takes 64 MiB.
    pub shm_size: Option<u64>,
    /// Name servers in place of the engine's.
    pub dns: Vec<IpAddr>,
    /// Lines of /etc/hosts: name to address, or `host-gateway` for the daemon's machine.
    pub extra_hosts: IndexMap<String, String>,
    /// Parameters of its own kernel namespaces.
    pub sysctls: IndexMap<String, String>,
    /// Limits of its processes, by setrlimit(2), in place of the engine's. Without `RLIMIT_`, in
    /// small letters.
    pub ulimits: IndexMap<String, Ulimit>,
    /// User, and group after a colon; `None` takes the image's.
    pub user: Option<String>,
    /// Mounts the root file system read-only.
    pub read_only: bool,
    /// File systems in memory: path in the container to mount options.
    pub tmpfs: IndexMap<String, String>,
    /// Capabilities, without `CAP_`; it has no others.
    pub capabilities: Vec<String>,
    /// No program gains rights by being started, as set-user-id programs do.
    pub no_new_privileges: bool,
    /// Paths of the daemon's machine that the container sees.
    pub mounts: Vec<Mount>,
    /// Volumes of the engine, by their paths in the container.
    pub volumes: IndexMap<String, Volume>,
    /// Files in memory, in the directory [`SECRETS`].
    pub secrets: Secrets,
    /// Devices of the daemon's machine that the container has.
    pub devices: Vec<Device>,
    /// GPUs of the daemon's machine that the container has.
    pub gpus: Option<Gpus>,
    /// Bytes that the container may write to its own file system; `None` is no limit.
    pub storage: Option<u64>,
    /// The engine's runtime, for example `runsc`; `None` takes its default.
    pub runtime: Option<String>,
    /// How long after its creation anybody may remove a container; `None` is never. A service with
    /// such a deadline has a `session_timeout`, and leases no container that may be in use when the
    /// deadline passes.
    pub overdue_after: Option<Duration>,
}

/// Where a container has its secrets.
pub const SECRETS: &str = "/run/secrets";

/// Files by their names. `Debug` hides their content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(pub Arc<IndexMap<String, Vec<u8>>>);

/// Environment variables. `Debug` hides the values, which may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(pub IndexMap<String, String>);

/// Resource limits of a container. `None` is no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of memory, without any swap.
    pub memory: Option<u64>,
    /// Processors, in parts.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// A daemon that cannot keep the limits launches nothing; else it launches without them.
    pub enforce: bool,
}

/// A limit of each process; -1 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// In force.
    pub soft: i64,
    /// A process may raise `soft` to this.
    pub hard: i64,
}

/// On which addresses of a daemon's machine ports are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Publish {
    /// The daemon's `publish_on`.
    #[default]
    Own,
    /// All addresses: who reaches the machine can bypass the proxy.
    Any,
}

/// How the connections of a service's clients are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// From accept, how long a connection may wait for a container. Never 0.
    pub queue_timeout: Duration,
    /// Reaching the leased container.
    pub connect: Connect,
    /// How long a container that has to answer may take from the last byte that it was sent to its
    /// first byte. A slower container has failed, and another one is tried. `None` is no limit.
    pub first_byte: Option<Duration>,
    /// How long a client may leave data and probes unanswered before Ganger takes it to be gone;
    /// `None` leaves that to the kernel. Whole seconds: the kernel needs at least 6, the file takes
    /// 10 and more.
    pub keepalive: Option<Duration>,
    /// A session is cut when no byte has moved in either direction for so long. `None` is no limit.
    pub idle: Option<Duration>,
    /// A session is cut so long after it was connected to its first container. `None` is no limit.
    pub session_timeout: Option<Duration>,
}

/// Reaching a leased container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// From the first dial until a container took the connection, all retries included. The time
    /// restarts when a container fails later. Never 0.
    pub timeout: Duration,
    /// Further containers that are tried when one fails before its first byte.
    pub retries: u32,
    /// The most bytes of a client that are kept to be sent again to another container.
    pub replay: usize,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When the daemon does not have it.
    #[default]
    IfMissing,
    /// Once per daemon after each start of Ganger, and when it is missing.
    Always,
    /// Never: it must be there.
    Never,
}

/// Whether a connection into a container is made before a client wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preconnect {
    /// No.
    #[default]
    Off,
    /// Made once the container is ready.
    Tcp,
    /// Made, and the service's first bytes are awaited for a moment.
    Banner,
}

/// Containers' network access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// The Internet and the daemon's machine, as from Docker's default network, and no other
    /// container.
    #[default]
    Isolated,
    /// The engine's default network, with every container on it.
    Bridge,
    /// Nothing at all.
    Sealed,
    /// A network of the user's.
    Named(String),
}

/// Whose network namespace a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// Its own, made and removed with it.
    #[default]
    Fresh,
    /// A namespace made ahead, which other containers had before, one at a time.
    Pooled,
    /// Its own, made without the engine where that is possible, as all of the container is.
    Cell,
}

/// How far containers in stock are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StockedAs {
    /// Their command runs, and the service was ready.
    #[default]
    Started,
    /// They are made, and the first lease starts their command, where they are cells of a service that
    /// is ready at once.
    Created,
}

/// How a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// By namespace where that works, else by published port.
    #[default]
    Auto,
    /// From inside its network namespace: same kernel and `CAP_SYS_ADMIN` needed.
    Namespace,
    /// Through a port that the engine publishes for it.
    Published,
}

/// The sign that a container can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Accepts a connection and keeps it.
    Tcp {
        /// How long it must keep it where something else accepts on its behalf.
        linger: Duration,
    },
    /// Sends this first.
    Banner(Vec<u8>),
    /// Answers `send` with `expect`.
    Exchange {
        /// Bytes sent.
        send: Vec<u8>,
        /// The start of its answer.
        expect: Vec<u8>,
    },
    /// Answers HTTP with `status`.
    Http {
        /// The path and query asked for, from the `/` on.
        path: String,
        /// The status of the answer.
        status: u16,
    },
    /// Passes its HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// Prints this to stdout or stderr.
    Log {
        /// The text: a part of a line, or across lines.
        text: String,
        /// How often it has to be there. At least 1.
        times: u32,
    },
    /// A program, run in the container, exits with code 0. Never empty.
    Exec(Vec<String>),
    /// Its process runs.
    Started,
}

/// How an engine checks a container's health. `None` takes the image's setting, or else
/// the engine's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// The command run in the container, as engines write it: `CMD` and its words, or
    /// `CMD-SHELL` and a line for the shell.
    pub test: Option<Vec<String>>,
    /// From the end of one run to the next, and before the first run. At least a
    /// millisecond, as the other two.
    pub interval: Option<Duration>,
    /// How long one run may take.
    pub timeout: Option<Duration>,
    /// How many runs must fail in a row for the container to count as unhealthy. At least 1.
    pub retries: Option<u32>,
    /// Runs that fail so soon after the start do not count.
    pub start_period: Option<Duration>,
}

/// A path of the daemon's machine that the container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the daemon's machine; it must exist.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// The container cannot write to it.
    pub read_only: bool,
}

/// A volume of the engine, which makes it where it is absent, and keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the engine.
    pub name: String,
    /// The container cannot write to it.
    pub read_only: bool,
}

/// A device of the daemon's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its absolute path there.
    pub host: String,
    /// Its absolute path in the container.
    pub container: String,
    /// The rights to it: some of `r`, `w` and `m`.
    pub rights: String,
}

/// GPUs of the daemon's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpus {
    /// All that there are.
    All,
    /// A count; never 0.
    Count(u32),
    /// GPUs with these ids; not empty.
    Ids(Vec<String>),
}

// === impl Spec ===

impl Spec {
    /// A service with nothing set but its image and port.
    #[must_use]
    pub fn new(image: impl Into<String>, port: u16) -> Self {
        Self {
            image: image.into(),
            command: None,
            entrypoint: None,
            working_dir: None,
            env: Env::default(),
            port,
            pull: Pull::default(),
            limits: Limits::NONE,
            network: Network::default(),
            reach: Reach::default(),
            publish: Publish::Own,
            ready: Ready::default(),
            stock: StockedAs::Started,
            preconnect: Preconnect::Off,
            sandbox: Sandbox::Fresh,
            hostname: None,
            init: false,
            shm_size: None,
            dns: Vec::new(),
            extra_hosts: IndexMap::new(),
            sysctls: IndexMap::new(),
            ulimits: IndexMap::new(),
            user: None,
            read_only: false,
            tmpfs: IndexMap::new(),
            capabilities: Vec::new(),
            no_new_privileges: true,
            mounts: Vec::new(),
            volumes: IndexMap::new(),
            secrets: Secrets::default(),
            devices: Vec::new(),
            gpus: None,
            storage: None,
            runtime: None,
            overdue_after: None,
        }
    }
}

// === impl Env ===

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// === impl Secrets ===

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// === impl Limits ===

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self { memory: None, cpus: None, pids: None, enforce: true };
}

// === impl Ready ===

impl Default for Ready {
    fn default() -> Self {
        Self::Tcp { linger: Duration::from_millis(50) }
    }
}

/// Whether containers of an engine's runtime may have a network stack of their own, out of
/// reach of the kernel's.
#[must_use]
pub fn has_own_network(runtime: &str) -> bool {
    !["runc", "crun"].contains(&runtime)
}
