//! Discovery from a Docker Swarm: its nodes that are ready and active are the fleet.
//!
//! A manager is asked every few seconds; its stream of events says less than a
//! list. While it does not answer, the fleet stays as it was known last.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ganger_pool::discovery::DaemonSpec;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::membership::Membership;
use super::{Discovered, FleetSource, SourceHealth, Subscription};
use crate::endpoint::{Endpoint, Site};
use crate::http::{HttpError, Transport};
use crate::tls;

/// The pause between two requests.
const EVERY: Duration = Duration::from_secs(3);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The length of a node's id that makes its name unique.
const ID: usize = 8;
/// The longest host name that Linux has.
const HOST_NAME: usize = 64;
/// The label of a node that says how many containers it may hold.
const MAX: &str = "max_containers";

/// A Docker Swarm whose nodes are daemons.
#[derive(Debug, Clone, PartialEq)]
pub struct Swarm {
    /// The API of one of its managers.
    pub manager: Endpoint,
    /// The port of the nodes' APIs, at their addresses in the Swarm.
    pub port: u16,
    /// The capacity of a node without a label `max_containers`.
    pub max_containers: u32,
    /// The files for TLS to the nodes; `None` is plain tcp.
    pub tls: Option<tls::Files>,
}

/// A node, with the fields that matter of an answer to `/nodes`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmNode {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    spec: SwarmSpec,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    status: NodeStatus,
    #[serde(default)]
    manager_status: Option<ManagerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SwarmSpec {
    availability: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    hostname: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    state: String,
    addr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatus {
    addr: String,
}

// === impl Swarm ===

impl FleetSource for Swarm {
    fn kind(&self) -> &'static str {
        "swarm"
    }

    fn origin(&self) -> &'static str {
        "from a Swarm"
    }

    fn no_daemon_message(&self) -> String {
        "the Swarm has no node that is ready, active and can be used".to_owned()
    }

    fn once(&self) -> BoxFuture<'_, Result<Discovered, String>> {
        Box::pin(async move {
            let transport = Transport::new(self.manager.clone());
            let nodes = ask(&transport).await;
            nodes.map(|nodes| self.sorted(&nodes)).map_err(|error| {
                let advice = match error {
                    HttpError::Status { code: 503, .. } => {
                        ": `manager` has to be one of the Swarm's"
                    }
                    _ => "",
                };
                format!("the Swarm's manager at {}: {error}{advice}", self.manager)
            })
        })
    }

    fn follow(&self, patience: Duration) -> BoxFuture<'_, Subscription> {
        Box::pin(async move {
            let (fleet, mut watch) = watch::channel(Arc::from(Vec::new()));
            let mut tasks = JoinSet::new();
            let health = Arc::new(SourceHealth::of_parts(1));
            tasks.spawn(self.clone().run(fleet, Arc::clone(&health)));
            let answered = timeout(patience, watch.changed()).await.is_ok();
            watch.mark_changed();
            Subscription { fleet: watch, tasks, health, answered }
        })
    }
}

impl Swarm {
    async fn run(
        self,
        fleet: watch::Sender<Arc<[DaemonSpec<Site>]>>,
        health: Arc<SourceHealth>,
    ) -> Infallible {
        let transport = Transport::new(self.manager.clone());
        let (mut members, mut failures, mut first) = (Membership::default(), 0_u32, true);
        let mut told = BTreeSet::new();
        loop {
            match ask(&transport).await {
                Ok(nodes) => {
                    if failures > 0 {
                        info!(manager = %self.manager, "the Swarm's manager answers again");
                    }
                    failures = 0;
                    health.answered(0);
                    let Discovered { daemons, unfit } = self.sorted(&nodes);
                    for why in unfit.into_iter().filter(|why| told.insert(why.clone())) {
                        warn!(why, "a node of the Swarm cannot be a daemon");
                    }
                    members.update(Instant::now(), daemons, false);
                    let found: Arc<[_]> = members.daemons().cloned().collect();
                    fleet.send_if_modified(|known| {
                        let changed = **known != *found || first;
                        *known = found;
                        changed
                    });
                    first = false;
                }
                Err(error) => {
                    failures += 1;
                    health.failed(0, true);
                    let error = error.to_string();
                    if failures == 1 {
                        warn!(
                            manager = %self.manager, error,
                            "the Swarm's manager does not answer; the fleet stays as it is known"
                        );
                    } else {
                        debug!(manager = %self.manager, error, failures, "still no answer");
                    }
                }
            }
            sleep(EVERY).await;
        }
    }

    /// The nodes that are ready and active; a node that is drained has left.
    fn sorted(&self, nodes: &[SwarmNode]) -> Discovered {
        let mut found = Discovered::default();
        let used =
            |node: &&SwarmNode| node.status.state == "ready" && node.spec.availability == "active";
        let mut names = BTreeSet::new();
        for node in nodes.iter().filter(used) {
            let daemon =
                node.daemon(self).and_then(|daemon| match names.insert(daemon.name.clone()) {
                    true => Ok(daemon),
                    false => {
                        Err("another node has this name and the beginning of its id".to_owned())
                    }
                });
            match daemon {
                Ok(daemon) => found.daemons.push(daemon),
                // The name is escaped: it may hold anything.
                Err(why) => found.unfit.push(format!("{}: {why}", node.name().escape_debug())),
            }
        }
        found
    }
}

/// Whether the address may be that of one machine, and is not every machine's own.
fn is_a_machine_s(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || broadcast)
}

async fn ask(transport: &Transport) -> Result<Vec<SwarmNode>, HttpError> {
    timeout(DEADLINE, transport.get("/nodes")).await.unwrap_or(Err(HttpError::Late(DEADLINE)))
}

// === impl SwarmNode ===

impl SwarmNode {
    /// A name that stays the same and is unique: nodes may have one host name.
    fn name(&self) -> String {
        format!("{}.{}", self.description.hostname, self.id.get(..ID).unwrap_or(&self.id))
    }

    /// Checks that its name is valid: it goes into logs, and to terminals.
    ///
    /// # Errors
    /// The fault in the name or the id.
    fn checked_name(&self) -> Result<String, String> {
        let host = &self.description.hostname;
        let fit = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || host.len() > HOST_NAME || !host.chars().all(fit) {
            return Err(format!("its host name {host:?} is none"));
        }
        if self.id.len() < ID || !self.id.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("its id {:?} is none", self.id));
        }
        Ok(self.name())
    }

    /// Where it is reached, as the Swarm knows it. A manager does not know its own
    /// address as a node, but the one at which the others reach it.
    ///
    /// # Errors
    /// Why there is no such address.
    fn address(&self) -> Result<IpAddr, String> {
        let manager = self.manager_status.as_ref();
        let manager = manager.and_then(|manager| manager.addr.parse::<SocketAddr>().ok());
        let own = self.status.addr.as_str();
        let address = match (manager.map(|address| address.ip()), own) {
            (Some(ip), _) if is_a_machine_s(ip) => ip,
            (_, "") => return Err("the Swarm does not know its address".to_owned()),
            (_, own) => own.parse().map_err(|_| format!("its address {own:?} is none"))?,
        };
        if is_a_machine_s(address) {
            Ok(address)
        } else {
            Err(format!("the Swarm does not know its address, and says {address}"))
        }
    }

    /// The daemon.
    ///
    /// # Errors
    /// Why it cannot be one.
    fn daemon(&self, swarm: &Swarm) -> Result<DaemonSpec<Site>, String> {
        let name = self.checked_name()?;
        let url = format!("tcp://{}", SocketAddr::new(self.address()?, swarm.port));
        let endpoint: Endpoint = url.parse().map_err(|error| format!("{error}"))?;
        let endpoint = match &swarm.tls {
            Some(files) => endpoint.with_tls(files.clone()),
            None => endpoint,
        };
        let labels = self.spec.labels.as_ref();
        let max = match labels.and_then(|labels| labels.get(MAX)) {
            None => swarm.max_containers,
            Some(text) => text.parse().ok().filter(|max| *max > 0).ok_or_else(|| {
                format!("its label {MAX} is {text:?}: a number from 1 on is needed")
            })?,
        };
        Ok(DaemonSpec {
            name: name.as_str().into(),
            endpoint: Site::of(endpoint),
            max_containers: max,
            tier: 0,
            max_launches: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_ready_and_active_is_the_fleet() {
        let node = |id: &str, state: &str, availability: &str, addr: &str, label: Option<&str>| {
            let labels = label.map(|max| json!({"max_containers": max}));
            json!({
                "ID": id, "Spec": {"Availability": availability, "Labels": labels},
                "Description": {"Hostname": "rack"}, "Status": {"State": state, "Addr": addr},
            })
        };
        let mut manager = node("1111111111", "ready", "active", "0.0.0.0", None);
        manager["ManagerStatus"] = json!({"Addr": "192.0.2.1:2377", "Leader": true});
        let nodes = json!([
            manager,
            node("2222222222", "ready", "active", "192.0.2.2", Some("7")),
            node("3333333333", "ready", "drain", "192.0.2.3", None),
            node("4444444444", "down", "active", "192.0.2.4", None),
            node("5555555555", "ready", "pause", "192.0.2.5", None),
            node("6666666666", "ready", "active", "192.0.2.6", Some("many")),
            node("7777777777", "ready", "active", "", None),
        ]);
        let nodes: Vec<SwarmNode> = serde_json::from_value(nodes).unwrap();
        let swarm = Swarm {
            manager: "unix:///run/docker.sock".parse().unwrap(),
            port: 2376,
            max_containers: 10,
            tls: None,
        };
        let Discovered { daemons, unfit } = swarm.sorted(&nodes);
        let found: Vec<_> = daemons
            .iter()
            .map(|daemon| {
                let url = daemon.endpoint.endpoint.to_string();
                (daemon.name.as_str(), url, daemon.max_containers)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("rack.11111111", "tcp://192.0.2.1:2376".to_owned(), 10),
                ("rack.22222222", "tcp://192.0.2.2:2376".to_owned(), 7),
            ]
        );
        assert_eq!(unfit.len(), 2);
        assert!(unfit[0].contains("\"many\"") && unfit[1].contains("its address"), "{unfit:?}");
    }
    #[test]
    fn what_a_manager_says_of_a_node_is_checked_before_it_is_used() {
        let node = |id: &str, host: &str, addr: &str, manager: &str| {
            json!({
                "ID": id, "Spec": {"Availability": "active"}, "Description": {"Hostname": host},
                "Status": {"State": "ready", "Addr": addr}, "ManagerStatus": {"Addr": manager},
            })
        };
        let long = "a".repeat(HOST_NAME + 1);
        let odd = [
            (node("1111111111", "rack\n\u{1b}[31mERROR", "192.0.2.1", ""), "host name"),
            (node("2222222222", "", "192.0.2.1", ""), "host name"),
            (node("3333333333", &long, "192.0.2.1", ""), "host name"),
            (node("../../../x", "rack", "192.0.2.1", ""), "its id"),
            (node("44", "rack", "192.0.2.1", ""), "its id"),
            (node("5555555555", "rack", "192.0.2.1:80/x?", ""), "its address"),
            (node("6666666666", "rack", "example.org", ""), "its address"),
            (node("7777777777", "rack", "127.0.0.2", ""), "does not know its address"),
            (node("8888888888", "rack", "::", "0.0.0.0:2377"), "does not know its address"),
            (node("9999999999", "rack", "255.255.255.255", ""), "does not know its address"),
            (node("0000000000aaa", "rack", "192.0.2.2", ""), "another node"),
        ];
        let good = [
            node("0000000000", "rack_1.example-2", "2001:db8::1", ""),
            node("00000000bb", "rack", "192.0.2.1", "127.0.0.1:2377"),
        ];
        let all: Vec<_> =
            good.into_iter().chain(odd.iter().map(|(node, _)| node.clone())).collect();
        let nodes: Vec<SwarmNode> = serde_json::from_value(json!(all)).unwrap();
        let swarm = Swarm {
            manager: "unix:///run/docker.sock".parse().unwrap(),
            port: 2376,
            max_containers: 10,
            tls: None,
        };
        let Discovered { daemons, unfit } = swarm.sorted(&nodes);
        let found: Vec<_> =
            daemons.iter().map(|daemon| daemon.endpoint.endpoint.to_string()).collect();
        assert_eq!(found, ["tcp://[2001:db8::1]:2376", "tcp://192.0.2.1:2376"]);
        assert_eq!(unfit.len(), odd.len(), "{unfit:?}");
        for (why, (_, expected)) in unfit.iter().zip(&odd) {
            assert!(why.contains(expected) && !why.contains(char::is_control), "{why:?}");
        }
    }
}
