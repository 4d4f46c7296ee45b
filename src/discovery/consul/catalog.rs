//! An instance in Consul's answer, as a daemon.

use std::collections::BTreeMap;

use ganger_pool::discovery::DaemonSpec;
use serde::Deserialize;

use crate::discovery::Consul;
use crate::endpoint::{Endpoint, Site};

/// The key that says how many containers a daemon may hold: of the service's
/// meta, or `KEY:N` among its tags.
const MAX: &str = "max_containers";

/// An instance, with the fields that matter of an answer to `/v1/health/service/NAME`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CatalogEntry {
    node: CatalogNode,
    service: CatalogService,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CatalogNode {
    node: String,
    address: String,
    #[serde(default)]
    datacenter: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CatalogService {
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

// === impl CatalogEntry ===

impl CatalogEntry {
    /// A name that stays the same and is unique: of the node, with the instance's
    /// id where a node may have several, and the datacenter where there are several.
    pub(super) fn name(&self, consul: &Consul) -> String {
        let CatalogNode { node, datacenter, .. } = &self.node;
        let own = match &self.service {
            CatalogService { id, service, .. } if id == service => node.clone(),
            CatalogService { id, .. } => format!("{node}.{id}"),
        };
        if consul.datacenters.len() > 1 { format!("{datacenter}.{own}") } else { own }
    }

    /// The daemon.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(super) fn daemon(&self, consul: &Consul, tier: u32) -> Result<DaemonSpec<Site>, String> {
        let CatalogService { address, port, .. } = &self.service;
        let host = if address.is_empty() { &self.node.address } else { address };
        let scheme = self.meta("scheme").unwrap_or("tcp");
        let known = ["http", "https", "tcp+tls"].contains(&scheme);
        let scheme = if known { "tcp" } else { scheme };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let url = format!("{scheme}://{bracketed}:{port}");
        let endpoint: Endpoint = url.parse().map_err(|error| format!("{error}"))?;
        let endpoint = match (self.wants_tls(consul)?, &consul.tls) {
            (true, Some(files)) => endpoint.with_tls(files.clone()),
            (true, None) => {
                return Err(format!(
                    "it is to be reached with TLS ({url}), and `Consul` has no `tls`: add \
                     `tls: (ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")`"
                ));
            }
            (false, _) if consul.insecure || endpoint.is_loopback() => endpoint,
            (false, _) => {
                return Err(format!(
                    "plain tcp to another machine ({url}): whoever can read or reach it is root \
                     there; add `tls`, or `insecure: true` if its network is private to you"
                ));
            }
        };
        Ok(DaemonSpec {
            name: self.name(consul).as_str().into(),
            endpoint: Site::of(endpoint),
            max_containers: self.capacity()?.unwrap_or(consul.max_containers),
            tier,
            max_launches: None,
        })
    }

    /// Whether it is to be reached with TLS. Where there are files for it, only `tls = "false"`
    /// turns it off.
    fn wants_tls(&self, consul: &Consul) -> Result<bool, String> {
        match self.meta("tls") {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!("its tls is \"{other}\", not true or false")),
            None => {
                let by_scheme =
                    self.meta("scheme").is_some_and(|s| ["https", "tcp+tls"].contains(&s));
                Ok(by_scheme || consul.tls.is_some())
            }
        }
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
    use crate::discovery::Consistency;
    use crate::tls;

    fn consul(datacenters: &[&str], insecure: bool) -> Consul {
        Consul {
            servers: Vec::new(),
            token_file: None,
            service: "docker".to_owned(),
            datacenters: datacenters.iter().map(ToString::to_string).collect(),
            consistency: Consistency::Default,
            max_containers: 10,
            insecure,
            tls: None,
        }
    }

    fn entry(id: &str, address: &str, tags: &[&str], meta: &[(&str, &str)]) -> CatalogEntry {
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
        let daemon = |entry: CatalogEntry| entry.daemon(&consul(&[], true), 3);
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
    fn tls_is_used_where_there_is_a_word_or_a_file_for_it() {
        let files = || Some(tls::Files { ca: "ca.pem".into(), identity: None });
        for (meta, files, insecure, tls) in [
            (&[][..], files(), false, Some(true)),
            (&[("tls", "true")], files(), false, Some(true)),
            (&[("scheme", "tcp+tls")], files(), true, Some(true)),
            (&[("scheme", "http")], files(), true, Some(true)),
            (&[("tls", "false")], files(), true, Some(false)),
            (&[("tls", "false")], files(), false, None),
            (&[("tls", "true")], None, true, None),
            (&[("scheme", "https")], None, true, None),
            (&[], None, true, Some(false)),
        ] {
            let consul = Consul { tls: files, ..consul(&[], insecure) };
            let daemon = entry("docker", "", &[], meta).daemon(&consul, 0);
            let found = daemon.ok().map(|daemon| daemon.endpoint.endpoint.tls().is_some());
            assert_eq!(found, tls, "{meta:?} insecure: {insecure}");
        }
    }

    #[test]
    fn what_cannot_be_one_says_why() {
        for (entry, insecure, why) in [
            (entry("docker", "", &[], &[]), false, "insecure: true"),
            (entry("docker", "", &["max_containers:0"], &[]), true, "from 1 on"),
            (entry("docker", "", &["max_containers:many"], &[]), true, "\"many\""),
            (entry("docker", "", &[], &[("scheme", "https")]), true, "has no `tls`"),
            (entry("docker", "", &[], &[("tls", "yes")]), true, "not true or false"),
            (entry("docker", "a b", &[], &[]), true, "not a name or address"),
        ] {
            let error = entry.daemon(&consul(&[], insecure), 0).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let local = entry("docker", "127.0.0.1", &[], &[]);
        assert!(local.daemon(&consul(&[], false), 0).is_ok());
    }
}
