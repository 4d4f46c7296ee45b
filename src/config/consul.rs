//! Consul in the configuration: where the fleet is listed, and how a Consul is
//! reached.

use super::decode::{Cx, Decode, Fields, Flaw, Spanned};
use super::keys::{Key, Tell, keys, optional, or, required};
use super::report::Mistake;
use super::tree::Node;
use super::value::{Containers, Text};
use crate::discovery::{Consistency, Consul};
use crate::endpoint::{Endpoint, EndpointError};
use crate::tls;
use crate::token::TokenFile;

/// The url of a server or agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConsulServer {
    pub(super) endpoint: Endpoint,
    https: bool,
}

keys! {
    /// The keys of `Consul`, as a fleet.
    CONSUL, ConsulKeys, CONSUL_ROWS;
    servers: Servers = required(
        "[\"http://127.0.0.1:8500\"]",
        "Servers or agents, with http or https, tried in turn.",
    );
    token_file: TokenFile = optional(
        "none",
        "\"consul.token\"",
        "A file that holds an ACL token with `service:read` of `service` and `node:read`. It is read for \
         each query.",
    );
    server_tls: tls::Files = optional(
        "none",
        "(ca: \"consul-ca.pem\")",
        "What https is made with, with `cert` and `key` if it asks for them.",
    )
    .see("See [TLS](daemons.md#tls).");
    service: Text = required(
        "\"docker\"",
        "The service whose instances are the daemons: those that pass their checks.",
    )
    .open();
    max_containers: Containers = required(
        "10",
        "The most containers on a daemon that has no key `max_containers` in its meta and no tag `max_containers:N`.",
    );
    datacenters: Datacenters = optional(
        "that of the server",
        "[\"eu\", \"us\"]",
        "In order of preference: launches go to the first that has room.",
    );
    consistency: Consistency = or("Default", "How a query is answered.");
    tls: tls::Files = optional(
        "none",
        "(ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")",
        "As that of a daemon: all daemons are reached with it, but those with `tls = \"false\"` in their \
         meta.",
    );
    insecure: bool = or("false", "Allows plain tcp to other machines.");
}

// === impl Consul ===

impl Decode for Consul {
    const WHAT: &'static str =
        "(servers: [\"http://127.0.0.1:8500\"], service: \"docker\", max_containers: 10)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.variant_fields(node, "`Consul`", |f| {
            let servers = f.required(CONSUL.servers);
            let token_file = f.optional(CONSUL.token_file);
            let server_tls = f.optional(CONSUL.server_tls);
            let servers =
                servers.map(|servers| secured(f, servers.0, server_tls, CONSUL.server_tls));
            let service = f.required(CONSUL.service);
            let datacenters = f.optional(CONSUL.datacenters).map_or_else(Vec::new, |names| names.0);
            let consistency = f.or(CONSUL.consistency);
            let max_containers = f.required(CONSUL.max_containers);
            let insecure = f.or(CONSUL.insecure);
            let tls = f.optional(CONSUL.tls);
            Some(Self {
                servers: servers?,
                token_file,
                service: service?.0,
                datacenters,
                consistency,
                max_containers: max_containers?.0,
                insecure,
                tls,
            })
        })?
    }
}

impl Decode for Consistency {
    const WHAT: &'static str = "`Stale`, `Default` or `Consistent`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(
            node,
            &[("Stale", Self::Stale), ("Default", Self::Default), ("Consistent", Self::Consistent)],
        )
    }
}

/// Consul's datacenters, in order of preference.
#[derive(Clone, PartialEq)]
pub(super) struct Datacenters(Vec<String>);

impl Decode for Datacenters {
    const WHAT: &'static str = "a list of datacenters `[\"eu\", \"us\"]`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let names = cx.list::<Text>(node, Self::WHAT)?;
        for (i, name) in names.iter().enumerate() {
            if let Some(first) = names[..i].iter().find(|first| first.value == name.value) {
                cx.repeated(&name.span, &first.span);
            }
        }
        Some(Self(names.into_iter().map(|name| name.value.0).collect()))
    }
}

/// Consul's servers or agents.
#[derive(Clone, PartialEq)]
pub(super) struct Servers(Vec<Spanned<ConsulServer>>);

impl Decode for Servers {
    const WHAT: &'static str = "a list of urls `[\"http://127.0.0.1:8500\"]`";
    const TELL: Tell = Tell::Url;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let servers = cx.list::<ConsulServer>(node, Self::WHAT)?;
        if node.is_empty() {
            let help = "add \"http://127.0.0.1:8500\"";
            cx.report(Mistake::new(&node.span, "there is no Consul to ask").help(help));
        }
        Some(Self(servers))
    }
}

// === impl ConsulServer ===

impl Decode for ConsulServer {
    const WHAT: &'static str = "a url such as \"http://127.0.0.1:8500\"";
    const TELL: Tell = Tell::Url;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let flaw = || {
                Flaw::new(format!("{text:?} is not the url of a Consul"))
                    .help("write \"http://HOST:PORT\" or \"https://HOST:PORT\"")
            };
            let (scheme, rest) = text.split_once("://").ok_or_else(flaw)?;
            let https = match scheme {
                "http" => false,
                "https" => true,
                _ => return Err(flaw()),
            };
            let endpoint = format!("tcp://{rest}").parse();
            let endpoint = endpoint.map_err(|EndpointError { .. }| flaw())?;
            Ok(Self { endpoint, https })
        })
    }
}

/// Servers, with the files of the setting `key` where they are reached by https.
pub(super) fn secured(
    f: &mut Fields<'_, '_, '_>,
    servers: Vec<Spanned<ConsulServer>>,
    files: Option<tls::Files>,
    of: Key<tls::Files>,
) -> Vec<Endpoint> {
    let key = of.row.name;
    let plain = !servers.is_empty() && servers.iter().all(|server| !server.value.https);
    if let Some(place) = f.place(of).filter(|_| plain) {
        let title = format!("`{key}` is for https, and no Consul is reached by it");
        let help = format!("write \"https://HOST:PORT\", or leave out `{key}`");
        f.cx.report(Mistake::new(&place, title).help(help));
    }
    let mut endpoints = Vec::new();
    for Spanned { value: ConsulServer { endpoint, https }, span } in servers {
        endpoints.push(match &files {
            Some(files) if https => endpoint.with_tls(files.clone()),
            _ => endpoint,
        });
        // An unreadable value was reported.
        if https && files.is_none() && !f.given(of) {
            let title = "only given authorities are trusted, and none is given for this Consul";
            let help =
                format!("add `{key}: (ca: \"ca.pem\")`, with `cert` and `key` if it asks for them");
            f.cx.report(Mistake::new(&span, title).help(help));
        }
    }
    endpoints
}

// === impl TokenFile ===

impl Decode for TokenFile {
    const WHAT: &'static str = "the path of a file that holds a token";
    const TELL: Tell = Tell::Path;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let name = cx.decode::<Text>(node)?;
        let file = Self(cx.path(&name.0, &node.span));
        if let Err(why) = file.read() {
            let help = "it holds a token (of Consul, its SecretID), and nothing else";
            cx.report(Mistake::new(&node.span, why).help(help));
        }
        Some(file)
    }
}
