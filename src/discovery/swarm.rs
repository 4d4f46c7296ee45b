//! Discovery from a Docker Swarm: its nodes that are ready and active are the fleet.
//!
//! A manager is asked every few seconds; its stream of events says less than a
//! list. While it does not answer, the fleet stays as it was known last.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::discovery::DaemonSpec;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::members::Members;
use super::{Discovered, Following};
use crate::endpoint::{Endpoint, Site};
use crate::fleet::Swarm;
use crate::http::{HttpError, Transport};

/// The pause between two questions.
const EVERY: Duration = Duration::from_secs(3);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// So much of a node's id makes its name unique.
const ID: usize = 8;
/// The label of a node that says how many containers it may hold.
const MAX: &str = "max_containers";

/// A node, with the fields that matter of an answer to `/nodes`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    manager_status: Option<ManagerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Spec {
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
struct Status {
    state: String,
    addr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatus {
    addr: String,
}

// === impl Swarm ===

impl Swarm {
    /// Begins to follow. The first value is there once the manager has answered,
    /// or `patience` is over. Dropping the tasks ends it.
    pub async fn follow(self, patience: Duration) -> Following {
        let (fleet, mut watch) = watch::channel(Arc::from(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(self.run(fleet));
        let answered = timeout(patience, watch.changed()).await.is_ok();
        watch.mark_changed();
        Following { fleet: watch, tasks, answered }
    }

    /// Asks once for the whole fleet.
    ///
    /// # Errors
    /// Why the manager could not be asked.
    pub async fn once(&self) -> Result<Discovered, String> {
        let transport = Transport::new(self.manager.clone());
        let nodes = ask(&transport).await;
        nodes.map(|nodes| self.sorted(&nodes)).map_err(|error| {
            let advice = match error {
                HttpError::Status { code: 503, .. } => ": `manager` has to be one of the Swarm's",
                _ => "",
            };
            format!("the Swarm's manager at {}: {error}{advice}", self.manager)
        })
    }

    async fn run(self, fleet: watch::Sender<Arc<[DaemonSpec<Site>]>>) -> Infallible {
        let transport = Transport::new(self.manager.clone());
        let (mut members, mut failures, mut first) = (Members::default(), 0_u32, true);
        let mut told = BTreeSet::new();
        loop {
            match ask(&transport).await {
                Ok(nodes) => {
                    if failures > 0 {
                        info!(manager = %self.manager, "the Swarm's manager answers again");
                    }
                    failures = 0;
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

    /// Those that are ready and active; a node that is drained has left.
    fn sorted(&self, nodes: &[Node]) -> Discovered {
        let mut found = Discovered::default();
        let used =
            |node: &&Node| node.status.state == "ready" && node.spec.availability == "active";
        for node in nodes.iter().filter(used) {
            match node.daemon(self) {
                Ok(daemon) => found.daemons.push(daemon),
                Err(why) => found.unfit.push(format!("{}: {why}", node.name())),
            }
        }
        found
    }
}

async fn ask(transport: &Transport) -> Result<Vec<Node>, HttpError> {
    timeout(DEADLINE, transport.get("/nodes")).await.unwrap_or(Err(HttpError::Late(DEADLINE)))
}

// === impl Node ===

impl Node {
    /// A name that stays the same and is unique: nodes may have one host name.
    fn name(&self) -> String {
        format!("{}.{}", self.description.hostname, self.id.get(..ID).unwrap_or(&self.id))
    }

    /// Where it is reached, as the Swarm knows it. A manager does not know its own
    /// address as a node, but the one at which the others reach it.
    fn host(&self) -> Option<String> {
        let manager = self.manager_status.as_ref();
        let manager = manager.and_then(|manager| manager.addr.parse::<SocketAddr>().ok());
        let known = !["", "0.0.0.0", "127.0.0.1"].contains(&self.status.addr.as_str());
        match manager {
            Some(address) => Some(address.ip().to_string()),
            None => known.then(|| self.status.addr.clone()),
        }
    }

    /// The daemon.
    ///
    /// # Errors
    /// Why it cannot be one.
    fn daemon(&self, swarm: &Swarm) -> Result<DaemonSpec<Site>, String> {
        let host = self.host().ok_or("the Swarm does not know its address")?;
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("tcp://{bracketed}:{}", swarm.port);
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
            name: self.name().as_str().into(),
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
        let nodes: Vec<Node> = serde_json::from_value(nodes).unwrap();
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
}
