//! The daemons of the configuration.

use std::net::IpAddr;

use super::decode::{Cx, Decode, Fields, Flaw, Spanned};
use super::name::Name;
use super::report::{Mistake, Span};
use super::tree::Node;
use super::value::{Containers, Launches, Port};
use crate::discovery::{Consul, Swarm};
use crate::endpoint::{Endpoint, EndpointError};
use crate::tls;

/// One container engine API endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Unique in the file.
    pub name: Name,
    /// Where its API is.
    pub url: Endpoint,
    /// The most containers it may hold, of all instances together, counting those
    /// being launched and removed. At least 1.
    pub max_containers: u32,
    /// Launches in flight on it, 1 to 32; `None` learns how many pay.
    pub max_launches: Option<u32>,
    /// The address of its machine to publish ports on and to dial. `None` takes
    /// loopback for a socket, else the address its API is reached at.
    pub publish_on: Option<IpAddr>,
}

/// Where the fleet is listed.
#[derive(Debug, Clone, PartialEq)]
pub enum Daemons {
    /// In the file, in its order. Never empty.
    Static(Vec<Daemon>),
    /// In Consul.
    Consul(Consul),
    /// By a Docker Swarm.
    Swarm(Swarm),
}

/// A daemon, as far as it could be read.
pub(super) struct FoundDaemon {
    pub(super) name: Spanned<Name>,
    pub(super) url: Option<Spanned<Endpoint>>,
    pub(super) daemon: Option<Daemon>,
}

// === impl Swarm ===

impl Decode for Swarm {
    const WHAT: &'static str =
        "(manager: \"unix:///var/run/docker.sock\", port: 2376, max_containers: 10)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.variant_fields(node, "`Swarm`", |f| {
            let manager = f.required::<Spanned<Endpoint>>("manager");
            let port = f.required::<Port>("port");
            let max_containers = f.required::<Containers>("max_containers");
            let insecure = f.or("insecure", false);
            let tls = f.optional::<Spanned<tls::Files>>("tls");
            match (&manager, &tls) {
                (_, Some(tls)) if insecure => both_secure_and_not(f, tls),
                // Its nodes are on other machines, wherever the manager is.
                (Some(manager), None) if !insecure && !f.given("tls") => plain(f, &manager.span),
                _ => {}
            }
            let tls = tls.map(|tls| tls.value);
            let manager = match &tls {
                Some(files) => manager?.value.with_tls(files.clone()),
                None => manager?.value,
            };
            Some(Self { manager, port: port?.0, max_containers: max_containers?.0, tls })
        })?
    }
}

// === impl FoundDaemon ===

impl Decode for FoundDaemon {
    const WHAT: &'static str = "a daemon such as (name: \"local\", url: \"unix:///var/run/docker.sock\", max_containers: 20)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "the daemon", |f| {
            let name = f.required("name");
            let url = f.required::<Spanned<Endpoint>>("url");
            let max_containers = f.required::<Containers>("max_containers");
            let max_launches = f.optional::<Launches>("max_launches");
            let insecure = f.or("insecure", false);
            let publish_on = f.optional::<Spanned<IpAddr>>("publish_on");
            let tls = f.optional::<Spanned<tls::Files>>("tls");
            if let Some(url) = &url {
                check_tls(f, url, tls.as_ref(), insecure);
            }
            let publish_on = publish_on.map(|ip| check_publish(f, ip));
            let name: Spanned<Name> = name?;
            let daemon = || {
                Some(Daemon {
                    name: name.value.clone(),
                    url: match tls {
                        Some(tls) => url.clone()?.value.with_tls(tls.value),
                        None => url.clone()?.value,
                    },
                    max_containers: max_containers?.0,
                    max_launches: max_launches.map(|count| count.0),
                    publish_on,
                })
            };
            Some(Self { daemon: daemon(), url, name })
        })?
    }
}

/// Whoever can talk to a daemon is root on its machine.
fn check_tls(
    f: &mut Fields<'_, '_, '_>,
    url: &Spanned<Endpoint>,
    tls: Option<&Spanned<tls::Files>>,
    insecure: bool,
) {
    if let (Some(tls), Endpoint::Unix(_)) = (tls, &url.value) {
        let title = "there is no `tls` on a socket: what it is for stays on this machine";
        f.cx.report(Mistake::new(&tls.span, title).help("leave `tls` out"));
    }
    if let (Some(tls), true) = (tls, insecure) {
        both_secure_and_not(f, tls);
    }
    if insecure || url.value.is_loopback() || f.given("tls") {
        return;
    }
    plain(f, &url.span);
}

fn both_secure_and_not(f: &mut Fields<'_, '_, '_>, tls: &Spanned<tls::Files>) {
    let title = "`tls` and `insecure: true` exclude each other";
    let help = "leave out `insecure`, which allows plain tcp";
    f.cx.report(Mistake::new(&tls.span, title).help(help));
}

fn plain(f: &mut Fields<'_, '_, '_>, span: &Span) {
    let title = "plain tcp to another machine: whoever can read or reach it is root there";
    f.cx.report(Mistake::new(span, title).help(
        "add `tls: (ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")`, or `insecure: true` if its network is private to you",
    ));
}

fn check_publish(f: &mut Fields<'_, '_, '_>, ip: Spanned<IpAddr>) -> IpAddr {
    if ip.value.is_unspecified() {
        let title = format!("{} is not one address: it lets anyone past the proxy", ip.value);
        let help = "name an address of the daemon's machine; a service that may be reached by all says `publish: Any`";
        f.cx.report(Mistake::new(&ip.span, title).help(help));
    }
    ip.value
}

// === impl Endpoint ===

impl Decode for Endpoint {
    const WHAT: &'static str = "a url such as \"unix:///var/run/docker.sock\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            text.parse().map_err(|EndpointError { what, help }| Flaw::new(what).help(help))
        })
    }
}
