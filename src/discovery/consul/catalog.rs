//! What Consul says of one instance, as a daemon.

use std::collections::BTreeMap;

use ganger_pool::discovery::DaemonSpec;
use serde::Deserialize;

use crate::endpoint::{Endpoint, Site};
use crate::fleet::Consul;

/// The key that says how many containers a daemon may hold: of the service's
/// meta, or `KEY:N` among its tags.
const MAX: &str = "max_containers";

/// One instance, with the fields that matter of an answer to
/// `/v1/health/service/NAME`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    node: Node,
    service: Service,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    address: String,
    #[serde(default)]
    datacenter: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    address: String,
    port: u16,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
}

// === impl Entry ===

impl Entry {
    /// A name that stays the same and is unique: of the node, with the instance's
    /// id where a node may have several, and the datacenter where there are several.
    pub(super) fn name(&self, consul: &Consul) -> String {
        let Node { node, datacenter, .. } = &self.node;
        let own = match &self.service {
            Service { id, service, .. } if id == service => node.clone(),
            Service { id, .. } => format!("{node}.{id}"),
        };
        if consul.datacenters.len() > 1 { format!("{datacenter}.{own}") } else { own }
    }

    /// The daemon.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(super) fn daemon(&self, consul: &Consul, tier: u32) -> Result<DaemonSpec<Site>, String> {
        let Service { address, port, .. } = &self.service;
        let host = if address.is_empty() { &self.node.address } else { address };
        let scheme = self.meta("scheme").unwrap_or("tcp");
        let scheme = if scheme == "http" { "tcp" } else { scheme };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let url = format!("{scheme}://{bracketed}:{port}");
        let endpoint: Endpoint = url.parse().map_err(|error| format!("{error}"))?;
        if !(consul.insecure || endpoint.is_loopback()) {
            return Err(format!(
                "plain tcp to another machine ({url}): whoever can read or reach it is root \
                 there; add `insecure: true` if its network is private to you"
            ));
        }
        Ok(DaemonSpec {
            name: self.name(consul).as_str().into(),
            endpoint: Site::of(endpoint),
            max_containers: self.capacity()?.unwrap_or(consul.max_containers),
            tier,
            max_launches: None,
        })
    }

    fn capacity(&self) -> Result<Option<u32>, String> {
        let tags = self.service.tags.iter().flatten();
        let tag = |tag| str::strip_prefix(tag, MAX)?.strip_prefix(':');
        let Some(text) = self.meta(MAX).or_else(|| tags.map(String::as_str).find_map(tag)) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(0) | Err(_) => Err(format!("its {MAX} is \"{text}\", not a number from 1 on")),
            Ok(capacity) => Ok(Some(capacity)),
        }
    }

    fn meta(&self, key: &str) -> Option<&str> {
        self.service.meta.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::Consistency;

    fn consul(datacenters: &[&str], insecure: bool) -> Consul {
        Consul {
            servers: Vec::new(),
            service: "docker".to_owned(),
            datacenters: datacenters.iter().map(ToString::to_string).collect(),
            consistency: Consistency::Default,
            max_containers: 10,
            insecure,
        }
    }

    fn entry(id: &str, address: &str, tags: &[&str], meta: &[(&str, &str)]) -> Entry {
        let meta: BTreeMap<_, _> = meta.iter().copied().collect();
        serde_json::from_value(json!({
            "Node": {"Node": "rack1", "Address": "192.0.2.1", "Datacenter": "eu", "Meta": null},
            "Service": {"ID": id, "Service": "docker", "Address": address, "Port": 2375,
                        "Tags": tags, "Meta": meta, "Weights": {"Passing": 1}},
            "Checks": [{"Status": "passing"}],
        }))
        .unwrap()
    }

    #[test]
    fn an_instance_is_a_daemon() {
        let daemon = |entry: Entry| entry.daemon(&consul(&[], true), 3);
        let plain = daemon(entry("docker", "", &[], &[])).unwrap();
        assert_eq!((plain.name.as_str(), plain.max_containers, plain.tier), ("rack1", 10, 3));
        assert_eq!(plain.endpoint.endpoint.to_string(), "tcp://192.0.2.1:2375", "the node's");
        let tag = daemon(entry("two", "192.0.2.2", &["x", "max_containers:4"], &[])).unwrap();
        assert_eq!((tag.name.as_str(), tag.max_containers), ("rack1.two", 4));
        assert_eq!(tag.endpoint.endpoint.to_string(), "tcp://192.0.2.2:2375");
        let meta = [("max_containers", "7"), ("scheme", "http")];
        let meta = daemon(entry("docker", "2001:db8::1", &["max_containers:4"], &meta)).unwrap();
        assert_eq!(meta.max_containers, 7, "meta goes before tags");
        assert_eq!(meta.endpoint.endpoint.to_string(), "tcp://[2001:db8::1]:2375");
    }

    #[test]
    fn names_tell_datacenters_apart_where_there_are_several() {
        let name =
            |datacenters: &[&str]| entry("two", "", &[], &[]).name(&consul(datacenters, true));
        assert_eq!(name(&["eu"]), "rack1.two");
        assert_eq!(name(&["eu", "us"]), "eu.rack1.two");
    }

    #[test]
    fn what_cannot_be_one_says_why() {
        for (entry, insecure, why) in [
            (entry("docker", "", &[], &[]), false, "insecure: true"),
            (entry("docker", "", &["max_containers:0"], &[]), true, "from 1 on"),
            (entry("docker", "", &["max_containers:many"], &[]), true, "\"many\""),
            (entry("docker", "", &[], &[("scheme", "https")]), true, "not supported yet"),
            (entry("docker", "a b", &[], &[]), true, "not a name or address"),
        ] {
            let error = entry.daemon(&consul(&[], insecure), 0).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let local = entry("docker", "127.0.0.1", &[], &[]);
        assert!(local.daemon(&consul(&[], false), 0).is_ok());
    }
}
