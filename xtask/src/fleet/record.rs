//! The record of a fleet, for tests and for the next `cargo xtask`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::remnants::Used;
use super::site::{Host, Site};
use super::{daemon, network};

/// The set-up of a fleet's daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Containers outlive their daemon.
    pub(crate) live_restore: bool,
    /// Published ports go through docker-proxy.
    pub(crate) userland_proxy: bool,
}

/// The content of `fleet.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) settings: Settings,
    pub(super) before: Before,
    /// A real Consul, for tests of discovery.
    #[serde(default)]
    pub(super) consul: PathBuf,
    pub(super) hosts: Vec<HostRecord>,
}

/// The state of the machine before the fleet, which stays.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Before {
    /// `ip netns` had been used.
    pub(super) namespaces: bool,
    #[serde(flatten)]
    pub(super) engines: Used,
    /// The kernel passed packets on.
    #[serde(default = "yes")]
    pub(super) forwarding: bool,
}

/// A host, as tests know it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HostRecord {
    pub(super) name: String,
    pub(super) number: u8,
    #[serde(default)]
    pub(super) kind: Kind,
    /// The version of its engine.
    #[serde(default)]
    pub(super) version: String,
    pub(super) socket: PathBuf,
    pub(super) tcp_url: Option<String>,
    pub(super) netns: Option<String>,
    /// The machine's end of the link into its namespace.
    pub(super) link: Option<String>,
    /// The machine's address on the link.
    pub(super) gateway: Option<String>,
    /// How many containers it is to hold.
    pub(super) capacity: u32,
    /// Its dockerd or Podman.
    pub(super) pid: i32,
    /// Its containerd; 0 for a Podman, which has none.
    pub(super) containerd_pid: i32,
    /// The file of the number of the first when a test has started it again.
    pub(super) pidfile: PathBuf,
    pub(super) log: PathBuf,
    /// The command that starts its dockerd or Podman.
    pub(super) command: Vec<String>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { live_restore: false, userland_proxy: true }
    }
}

// === impl Before ===

impl Before {
    /// Where the machine has another fleet, the state before that one: the fleet that goes last
    /// takes all of it down.
    pub(super) fn now(site: &Site) -> Self {
        let others = Site::all().filter(|other| other.dir != site.dir);
        let other = others.filter_map(|other| read(&other).ok().flatten()).next();
        if let Some(other) = other {
            return other.before;
        }
        Self {
            namespaces: network::namespaces_known(),
            engines: Used::now(),
            forwarding: network::forwards(),
        }
    }

    /// Assumes all, to be careful with what may be another's.
    pub(super) fn unknown() -> Self {
        Self { namespaces: true, engines: Used::all(), forwarding: true }
    }
}

// === impl HostRecord ===

impl HostRecord {
    /// A host as it is to be, before it runs.
    pub(super) fn new(site: &Site, host: &Host, settings: Settings, capacity: &[u32]) -> Self {
        let given = usize::from(host.number).checked_sub(1).and_then(|index| capacity.get(index));
        Self {
            name: host.name(),
            number: host.number,
            kind: host.kind,
            version: String::new(),
            socket: host.socket.clone(),
            tcp_url: host.tcp_url(),
            netns: host.netns(),
            link: host.link(),
            gateway: host.link().map(|_| host.gateway()),
            capacity: given.copied().unwrap_or(4 * u32::from(host.number.max(1))),
            pid: 0,
            containerd_pid: 0,
            pidfile: host.pidfile(),
            log: host.log(),
            command: daemon::start_command(site, host, settings),
        }
    }
}

fn yes() -> bool {
    true
}

/// The path of the record.
pub(super) fn path(site: &Site) -> PathBuf {
    site.dir.join("fleet.json")
}

/// The record of the fleet, if there is any.
pub(super) fn read(site: &Site) -> Result<Option<Record>> {
    let path = path(site);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| path.display().to_string())?,
    };
    serde_json::from_str(&text).map(Some).with_context(|| path.display().to_string())
}

/// Writes the record.
pub(super) fn write(site: &Site, record: &Record) -> Result<()> {
    let path = path(site);
    let text = serde_json::to_string_pretty(record)?;
    fs::write(&path, text).with_context(|| path.display().to_string())
}
