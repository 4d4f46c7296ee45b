//! A Docker Swarm in the configuration, as a fleet.

use super::daemon::{both_secure_and_not, plain};
use super::decode::{Cx, Decode};
use super::keys::{keys, optional, or, required};
use super::tree::Node;
use super::value::{Containers, Port};
use crate::discovery::Swarm;
use crate::endpoint::Endpoint;
use crate::tls::Files;

keys! {
    /// The keys of `Swarm`.
    SWARM, SwarmKeys, SWARM_ROWS;
    manager: Endpoint = required("\"unix:///var/run/docker.sock\"", "The API of a manager.");
    port: Port = required("2376", "Where each node's engine listens.");
    max_containers: Containers = required(
        "10",
        "The most containers on a node that has no label `max_containers`.",
    );
    insecure: bool = or("false", "Allows plain tcp to other machines.");
    tls: Files = optional(
        "none",
        "(ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")",
        "What the manager and the nodes are reached with.",
    );
}

// === impl Swarm ===

impl Decode for Swarm {
    const WHAT: &'static str =
        "(manager: \"unix:///var/run/docker.sock\", port: 2376, max_containers: 10)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.variant_fields(node, "`Swarm`", |f| {
            let manager = f.required(SWARM.manager);
            let port = f.required(SWARM.port);
            let max_containers = f.required(SWARM.max_containers);
            let insecure = f.or(SWARM.insecure);
            let tls = f.optional(SWARM.tls);
            match (f.place(SWARM.manager), f.place(SWARM.tls)) {
                (_, Some(place)) if insecure => both_secure_and_not(f, &place),
                // Its nodes are on other machines, wherever the manager is.
                (Some(manager), None) if !insecure && !f.given(SWARM.tls) => plain(f, &manager),
                _ => {}
            }
            let manager = match &tls {
                Some(files) => manager?.with_tls(files.clone()),
                None => manager?,
            };
            Some(Self { manager, port: port?.0, max_containers: max_containers?.0, tls })
        })?
    }
}
