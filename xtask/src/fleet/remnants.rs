//! Things that containers leave outside of their host's directories when their engine is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::podman;
use super::site::Host;
use crate::command;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Below it every dockerd of a machine makes the cgroups of its containers.
const DOCKER: &str = "docker";
/// Below it every Podman does, and those of its supervisors.
const PODMAN: &str = "libpod_parent";
/// Where every containerd of a machine puts the sockets of its shims.
const SHIMS: [&str; 2] = ["/run/containerd/s", "/run/containerd"];

/// Which engines had been used on the machine before the fleet: their remnants stay.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Used {
    /// A dockerd had had containers.
    cgroups: bool,
    /// A Podman had been used.
    #[serde(default = "yes")]
    podman: bool,
}

/// The remnants to remove once the host's processes have ended.
#[derive(Debug)]
pub(super) struct Remnants {
    ids: BTreeSet<String>,
    shim_sockets: Vec<PathBuf>,
    bridges: Vec<String>,
}

/// The ids of the host's containers, as far as its files know them.
pub(super) fn container_ids(host: &Host) -> BTreeSet<String> {
    [host.data.join("containers"), tasks(host), host.data.join("storage/overlay-containers")]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.len() == 64)
        .collect()
}

fn tasks(host: &Host) -> PathBuf {
    host.exec_root().join("containerd/io.containerd.runtime.v2.task/moby")
}

fn yes() -> bool {
    true
}

/// Removes what is shared by all engines of the machine, where it is empty, but for what was
/// there before.
pub(super) fn forget(before: Used) {
    for dir in SHIMS {
        let _ = fs::remove_dir(dir);
    }
    for parent in parents(DOCKER).iter().filter(|_| !before.cgroups) {
        let _ = fs::remove_dir(parent);
    }
    if before.podman {
        return;
    }
    for parent in parents(PODMAN) {
        let _ = fs::remove_dir(parent.join("conmon"));
        let _ = fs::remove_dir(parent);
    }
    podman::fixed_directories().for_each(|dir| {
        let _ = fs::remove_dir(dir);
    });
}

/// The bridges of networks that were made on a host in the machine's own namespace. Those of the
/// other hosts go with their namespaces.
fn bridges(host: &Host) -> Vec<String> {
    if host.netns().is_some() {
        return Vec::new();
    }
    // dockerd names a bridge after its network, and keeps the networks' ids as text in there.
    let kept = fs::read(host.data.join("network/files/local-kv.db")).unwrap_or_default();
    let words = kept.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    let names = words.map(|id| format!("br-{}", String::from_utf8_lossy(&id[..12])));
    let names: BTreeSet<_> = names.collect();
    names.into_iter().filter(|name| Path::new("/sys/class/net").join(name).exists()).collect()
}

/// Version 2 of cgroups has one tree, version 1 one for each controller.
fn parents(name: &str) -> Vec<PathBuf> {
    let trees = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    let parents = trees.chain([PathBuf::from(CGROUPS)]).map(|tree| tree.join(name));
    parents.filter(|parent| parent.is_dir()).collect()
}

// === impl Used ===

impl Used {
    pub(super) fn now() -> Self {
        Self {
            cgroups: !parents(DOCKER).is_empty(),
            podman: !parents(PODMAN).is_empty() || podman::fixed_directories().next().is_some(),
        }
    }

    /// Assumes all, to be careful with what may be another's.
    pub(super) const fn all() -> Self {
        Self { cgroups: true, podman: true }
    }
}

// === impl Remnants ===

impl Remnants {
    /// Notes the remnants. To be called while the host's processes still run.
    pub(super) fn of(host: &Host) -> Self {
        let ids = container_ids(host);
        let address = |id| fs::read_to_string(tasks(host).join(id).join("address"));
        let shim_sockets = ids.iter().filter_map(|id| {
            let address = address(id).ok()?;
            let socket = PathBuf::from(address.trim().strip_prefix("unix://")?);
            socket.starts_with(Path::new(SHIMS[0])).then_some(socket)
        });
        Self { shim_sockets: shim_sockets.collect(), bridges: bridges(host), ids }
    }

    /// Removes the remnants; an engine that had time to clean up has left none.
    pub(super) fn remove(&self) {
        for socket in &self.shim_sockets {
            let _ = fs::remove_file(socket);
        }
        for bridge in &self.bridges {
            let _ = command::output("ip", &["link", "delete", bridge]);
        }
        for id in &self.ids {
            for parent in parents(DOCKER) {
                let _ = fs::remove_dir(parent.join(id));
            }
            for parent in parents(PODMAN) {
                let _ = fs::remove_dir(parent.join(format!("libpod-{id}")));
            }
        }
    }
}
