//! Where a fleet is listed, and how that is asked for.

use crate::consul::TokenFile;
use crate::endpoint::Endpoint;
use crate::tls;

/// What to ask of which Consul.
#[derive(Debug, Clone, PartialEq)]
pub struct Consul {
    /// Servers or agents, tried in turn, with the TLS they are reached with. Never empty.
    pub servers: Vec<Endpoint>,
    /// What they are asked with, where they have ACLs.
    pub token_file: Option<TokenFile>,
    /// The service whose healthy instances are daemons.
    pub service: String,
    /// In order of preference; empty is that of the server that is asked.
    pub datacenters: Vec<String>,
    /// How fresh an answer has to be.
    pub consistency: Consistency,
    /// What a daemon may hold that does not say.
    pub max_containers: u32,
    /// Plain tcp to daemons on other machines is allowed.
    pub insecure: bool,
    /// What daemons are reached with that do not say `tls = "false"`.
    pub tls: Option<tls::Files>,
}

/// Which Docker Swarm's nodes are daemons.
#[derive(Debug, Clone, PartialEq)]
pub struct Swarm {
    /// The API of one of its managers.
    pub manager: Endpoint,
    /// Where the nodes' APIs listen, at their addresses in the Swarm.
    pub port: u16,
    /// What a node may hold that has no label `max_containers`.
    pub max_containers: u32,
    /// What nodes are reached with; `None` is plain tcp.
    pub tls: Option<tls::Files>,
}

/// How fresh Consul's answers have to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Any server answers, even without a leader.
    Stale,
    /// The leader answers, as far as it knows that it is one.
    #[default]
    Default,
    /// The leader asks the others whether it is one.
    Consistent,
}
