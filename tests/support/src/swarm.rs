//! A real Docker Swarm of hosts of the fleet.

use std::process::Command;

use crate::fleet::Host;

/// A rule that lets the hosts' packets through: they meet in the machine's own namespace,
/// where an engine drops unknown ones. From 10.208 to 10.223, which has the addresses
/// of every fleet.
const LET_THROUGH: [&str; 6] = ["-s", "10.208.0.0/12", "-d", "10.208.0.0/12", "-j", "ACCEPT"];

/// A Swarm. Its nodes leave it when this is dropped.
#[derive(Debug)]
pub struct Swarm<'a> {
    nodes: Vec<&'a Host>,
}

// === impl Swarm ===

impl<'a> Swarm<'a> {
    /// Makes the first host a manager and has the others join it. The fleet has to
    /// be this test's alone.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn start(hosts: &[&'a Host]) -> Self {
        let (first, others) = hosts.split_first().expect("a manager");
        forward("-I");
        let mut swarm = Self { nodes: vec![first] };
        let address = first.address();
        let _ = first.docker(&["swarm", "init", "--advertise-addr", &address]);
        let token = first.docker(&["swarm", "join-token", "-q", "worker"]);
        for host in others {
            swarm.nodes.push(host);
            let to = format!("{address}:2377");
            let own = host.address();
            let _ =
                host.docker(&["swarm", "join", "--token", &token, "--advertise-addr", &own, &to]);
        }
        swarm
    }

    /// Sets what a node is there for: `active`, `pause` or `drain`.
    ///
    /// # Panics
    /// When that fails.
    pub fn set_availability(&self, host: &Host, availability: &str) {
        let id = host.docker(&["info", "--format", "{{.Swarm.NodeID}}"]);
        let _ = self.nodes[0].docker(&["node", "update", "--availability", availability, &id]);
    }
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        for host in self.nodes.iter().rev() {
            let _ = host.try_docker(&["swarm", "leave", "--force"]);
            // A Swarm leaves its bridge behind.
            let _ = host.try_docker(&["network", "rm", "docker_gwbridge"]);
        }
        forward("-D");
    }
}

fn forward(what: &str) {
    let done = Command::new("iptables").arg(what).arg("FORWARD").args(LET_THROUGH).status();
    assert!(done.expect("iptables").success(), "iptables {what} FORWARD");
}
