//! The parts of an engine's answers that are read: as few as will do, as loosely as possible.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use super::naming;

/// A container in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    /// Each name may have a slash before it.
    #[serde(default)]
    pub(super) names: Option<Vec<String>>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) state: Option<String>,
}

// === impl Listed ===

impl Listed {
    /// A label that is set.
    pub(super) fn label(&self, key: &str) -> Option<&String> {
        naming::value(self.labels.as_ref()?.get(key))
    }

    /// The name that its labels give it.
    pub(super) fn own_name(&self) -> Option<String> {
        naming::name_by(|key| self.label(key))
    }

    /// Whether it bears the name that its labels give it.
    pub(super) fn bears_its_name(&self) -> bool {
        let own = self.own_name();
        let bears = |own: &String| {
            let mut names = self.names.iter().flatten();
            names.any(|name| name.strip_prefix('/').unwrap_or(name) == own)
        };
        own.as_ref().is_some_and(bears)
    }
}

/// A network, inspected.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkInspected {
    pub(super) name: Option<String>,
    pub(super) options: Option<HashMap<String, String>>,
    /// By the ids of the containers, or of the endpoints of containers that are gone.
    pub(super) containers: Option<HashMap<String, AttachedEndpoint>>,
}

/// An endpoint of an inspected network.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AttachedEndpoint {
    /// The name of its container.
    name: Option<String>,
}

// === impl NetworkInspected ===

impl NetworkInspected {
    /// The names of the containers on it: of those that its run has made, and of others. Names of
    /// the former are never given again.
    pub(super) fn on_it(self) -> (Vec<String>, Vec<String>) {
        let boot = self.name.as_deref().and_then(naming::run_of_network).map(str::to_owned);
        let names = self.containers.into_iter().flatten();
        let names = names.map(|(id, endpoint)| endpoint.name.unwrap_or(id));
        names.partition(|name| boot.as_ref().is_some_and(|boot| naming::is_of_run(name, boot)))
    }
}

/// A container, inspected.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Inspected {
    pub(crate) id: String,
    pub(crate) state: ContainerState,
    pub(crate) network_settings: NetworkSettings,
    pub(super) host_config: HostConfig,
    pub(super) graph_driver: GraphDriver,
    /// The runtime, where Podman is asked by its own API.
    #[serde(rename = "OCIRuntime")]
    pub(super) oci_runtime: Option<String>,
}

/// The settings of a container that the engine has kept.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostConfig {
    pub(super) runtime: Option<String>,
    pub(super) memory: Option<i64>,
    pub(super) nano_cpus: Option<i64>,
    pub(super) pids_limit: Option<i64>,
}

/// The driver that keeps the layers of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GraphDriver {
    pub(super) name: String,
    pub(super) data: Option<Layers>,
}

/// The layers of a container's image and its own lowest one, the uppermost first, with colons between.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Layers {
    pub(super) lower_dir: String,
}

/// The state of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerState {
    pub(super) status: String,
    pub(crate) running: bool,
    pub(crate) paused: bool,
    pub(crate) pid: i32,
    pub(crate) exit_code: i64,
    #[serde(rename = "OOMKilled")]
    pub(crate) oom_killed: bool,
    pub(crate) health: Option<Health>,
}

/// The health of a container, by its HEALTHCHECK.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    pub(crate) status: String,
    pub(crate) log: Option<Vec<HealthLog>>,
}

/// A run of a HEALTHCHECK.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthLog {
    pub(crate) output: String,
}

/// Where a container is on its networks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkSettings {
    pub(crate) ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
    pub(crate) networks: Option<BTreeMap<String, Attached>>,
}

/// A published port.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Binding {
    pub(crate) host_ip: String,
    pub(crate) host_port: String,
}

/// A container's place on one network.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Attached {
    #[serde(rename = "IPAddress", default)]
    pub(crate) ip_address: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    pub(crate) v6_address: String,
}

/// The engine itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "NCPU")]
    pub(super) cpus: u32,
    #[serde(rename = "ServerVersion")]
    pub(super) version: String,
    #[serde(rename = "OSType")]
    pub(super) os: String,
    #[serde(rename = "KernelVersion")]
    pub(super) kernel: String,
    #[serde(rename = "Name")]
    pub(super) name: String,
    #[serde(rename = "DockerRootDir")]
    pub(super) root_dir: String,
    #[serde(rename = "MemoryLimit")]
    pub(super) memory_limit: Option<bool>,
    // Engines before 20.10 write it in the second way.
    #[serde(rename = "CpuCfsQuota", alias = "CPUCfsQuota")]
    pub(super) cpu_quota: Option<bool>,
    #[serde(rename = "PidsLimit")]
    pub(super) pids_limit: Option<bool>,
    #[serde(rename = "CgroupDriver")]
    pub(super) cgroup_driver: Option<String>,
    #[serde(rename = "SecurityOptions")]
    pub(super) security_options: Option<Vec<String>>,
}

// === impl Info ===

impl Info {
    /// Whether the engine runs as a user who is not root.
    pub(super) fn is_rootless(&self) -> bool {
        self.security_options.iter().flatten().any(|option| option == "name=rootless")
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessEnd {
    /// Its process exited, or was killed.
    Exited {
        /// Exit code; 128 and the signal's number when it was killed.
        code: i64,
        /// The kernel killed it for memory.
        out_of_memory: bool,
    },
    /// The container was removed.
    Removed,
    /// Its process is gone and the engine does not say how it ended.
    Unknown,
}

// === impl NetworkSettings ===

impl NetworkSettings {
    /// Its addresses on its networks.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let attached = self.networks.iter().flatten().map(|(_, attached)| attached);
        let both = attached.flat_map(|attached| [&attached.ip_address, &attached.v6_address]);
        both.filter_map(|address| address.parse().ok())
    }
}

// === impl ContainerState ===

impl ContainerState {
    /// How it ended; `None` while it runs. Podman reports a container that it stops as not
    /// running before it has ended.
    pub(crate) fn end(&self) -> Option<ProcessEnd> {
        (!self.running && self.status != "stopping")
            .then_some(ProcessEnd::Exited { code: self.exit_code, out_of_memory: self.oom_killed })
    }
}

// === impl ProcessEnd ===

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code, out_of_memory: false } => write!(f, "exited with code {code}"),
            Self::Exited { code, out_of_memory: true } => {
                write!(f, "exited with code {code}, out of memory")
            }
            Self::Removed => f.write_str("was removed"),
            Self::Unknown => f.write_str("its process ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_container_does_not_blind_the_list() {
        let list = r#"[
            {"Id": "a", "Labels": {"io.ganger.boot": "x"}, "State": "running"},
            {"Id": "b", "Labels": null, "State": "configured", "Ports": [{"PublicPort": 70000}]},
            {"Id": "c"}
        ]"#;
        let listed: Vec<Listed> = serde_json::from_str(list).unwrap();
        let ids: Vec<_> = listed.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert_eq!(listed[1].state.as_deref(), Some("configured"));
    }

    #[test]
    fn an_inspection_is_read_across_dialects() {
        // 20.10 has nulls where later engines leave fields out.
        let old = r#"{"Id": "a", "State": {"Status": "exited", "Running": false, "ExitCode": 137,
            "OOMKilled": true, "Pid": 0}, "NetworkSettings": {"IPAddress": "172.17.0.2",
            "Ports": {"7000/tcp": null}, "Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}}"#;
        let seen: Inspected = serde_json::from_str(old).unwrap();
        assert_eq!(seen.state.end().unwrap().to_string(), "exited with code 137, out of memory");
        let new = r#"{"State": {"Running": true, "Pid": 12, "Health": {"Status": "odd"}},
            "NetworkSettings": {"Ports": {}, "Networks": null}}"#;
        let seen: Inspected = serde_json::from_str(new).unwrap();
        assert_eq!((seen.state.end(), seen.state.pid), (None, 12));
    }

    #[test]
    fn a_container_that_is_being_stopped_has_not_ended() {
        // As Podman 5.4 says it: the code is the one of its end when that has come.
        let state = |status: &str, pid: i32| {
            let seen = format!(
                r#"{{"State": {{"Status": "{status}", "Running": false, "Pid": {pid},
                    "ExitCode": 0}}}}"#
            );
            serde_json::from_str::<Inspected>(&seen).unwrap().state.end()
        };
        assert_eq!(state("stopping", 5284), None);
        let ended = Some(ProcessEnd::Exited { code: 0, out_of_memory: false });
        assert_eq!((state("stopped", 0), state("exited", 0)), (ended, ended));
    }
}
