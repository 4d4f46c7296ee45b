//! The daemons of the configuration.

use std::net::IpAddr;

use super::decode::{Cx, Decode, Fields, Flaw, Spanned, Values};
use super::keys::{Tell, keys, optional, or, required};
use super::name::Name;
use super::report::{Mistake, Span};
use super::tree::Node;
use super::value::{Containers, Launches};
use crate::endpoint::{Endpoint, EndpointError};
use crate::tls::Files;

/// A container engine's API endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedDaemon {
    /// Unique in the file.
    pub name: Name,
    /// Where its API is.
    pub url: Endpoint,
    /// The most containers it may hold, of all instances together, counting those
    /// being launched and removed. At least 1.
    pub max_containers: u32,
    /// Launches in flight on it, 1 to 32; `None` learns the number.
    pub max_launches: Option<u32>,
    /// The address of its machine to publish ports on and to dial. `None` takes
    /// loopback for a socket, else the address its API is reached at.
    pub publish_on: Option<IpAddr>,
    /// The value of each key.
    pub(crate) values: Values,
}

/// A daemon, as far as it could be read.
#[derive(Clone, PartialEq)]
pub(super) struct FoundDaemon {
    pub(super) name: Spanned<Name>,
    pub(super) url: Option<Spanned<Endpoint>>,
    pub(super) daemon: Option<ListedDaemon>,
}

keys! {
    /// The keys of a daemon.
    DAEMON, DaemonKeys, DAEMON_ROWS;
    name: Name = required("\"local\"", "Unique in the file.");
    url: Endpoint = required("\"unix:///var/run/docker.sock\"", "`unix:///PATH` or `tcp://HOST:PORT`.");
    max_containers: Containers = required(
        "20",
        "The most containers of Ganger's on it, of all instances together, with those being launched \
         and removed.",
    );
    max_launches: Launches = optional("learnt", "4", "Launches at a time, at most 32.").see(
        "Unless it is set it is learnt: it begins with min(2 × cpus, 8), rises while launches are as \
         fast as before, falls while each takes more than three times as long as one alone, and is \
         halved when several fail.",
    );
    insecure: bool = or("false", "Allows plain tcp to another machine: nothing is encrypted or checked.");
    tls: Files = optional(
        "none",
        "(ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")",
        "The files that TLS is made with.",
    )
    .see("See [TLS](daemons.md#tls).");
    publish_on: IpAddr = optional(
        "loopback for a socket, else the address of `url`",
        "\"192.0.2.7\"",
        "Where it publishes ports, and where they are dialled. It is needed where the loopback of the \
         engine is not ours: behind a tunnel, or in another network namespace (Docker in Docker, a \
         rootless engine).",
    );
}

// === impl FoundDaemon ===

impl Decode for FoundDaemon {
    const WHAT: &'static str = "a daemon such as (name: \"local\", url: \"unix:///var/run/docker.sock\", max_containers: 20)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "the daemon", |f| {
            let name = f.required(DAEMON.name);
            let url = f.required(DAEMON.url).zip(f.place(DAEMON.url));
            let url = url.map(|(value, span)| Spanned { value, span });
            let max_containers = f.required(DAEMON.max_containers);
            let max_launches = f.optional(DAEMON.max_launches);
            let insecure = f.or(DAEMON.insecure);
            let publish_on = f.optional(DAEMON.publish_on);
            let tls = f.optional(DAEMON.tls);
            if let Some(url) = &url {
                check_tls(f, url, insecure);
            }
            // The key only affects these checks, and nothing that runs.
            f.comes_to(DAEMON.insecure, ());
            if let (Some(ip), Some(place)) = (publish_on, f.place(DAEMON.publish_on)) {
                check_publish(f, ip, &place);
            }
            let (value, span) = name.zip(f.place(DAEMON.name))?;
            let name = Spanned { value, span };
            let daemon = || {
                Some(ListedDaemon {
                    name: name.value.clone(),
                    url: match tls {
                        Some(tls) => url.clone()?.value.with_tls(tls),
                        None => url.clone()?.value,
                    },
                    max_containers: max_containers?.0,
                    max_launches: max_launches.map(|count| count.0),
                    publish_on,
                    values: f.values(),
                })
            };
            Some(Self { daemon: daemon(), url, name })
        })?
    }
}

/// Access to a daemon's API is root on its machine.
fn check_tls(f: &mut Fields<'_, '_, '_>, url: &Spanned<Endpoint>, insecure: bool) {
    if let Some(place) = f.place(DAEMON.tls) {
        if let Endpoint::Unix(_) = url.value {
            let title = "there is no `tls` on a socket: what it is for stays on this machine";
            f.cx.report(Mistake::new(&place, title).help("leave `tls` out"));
        }
        if insecure {
            both_secure_and_not(f, &place);
        }
    }
    if insecure || url.value.is_loopback() || f.given(DAEMON.tls) {
        return;
    }
    plain(f, &url.span);
}

pub(super) fn both_secure_and_not(f: &mut Fields<'_, '_, '_>, tls: &Span) {
    let title = "`tls` and `insecure: true` exclude each other";
    let help = "leave out `insecure`, which allows plain tcp";
    f.cx.report(Mistake::new(tls, title).help(help));
}

pub(super) fn plain(f: &mut Fields<'_, '_, '_>, span: &Span) {
    let title = "plain tcp to another machine: whoever can read or reach it is root there";
    f.cx.report(Mistake::new(span, title).help(
        "add `tls: (ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")`, or `insecure: true` if its network is private to you",
    ));
}

fn check_publish(f: &mut Fields<'_, '_, '_>, ip: IpAddr, place: &Span) {
    if ip.is_unspecified() {
        let title = format!("{ip} is not one address: it lets anyone past the proxy");
        let help = "name an address of the daemon's machine; a service that may be reached by all says `publish: Any`";
        f.cx.report(Mistake::new(place, title).help(help));
    }
}

// === impl Endpoint ===

impl Decode for Endpoint {
    const WHAT: &'static str = "a url such as \"unix:///var/run/docker.sock\"";
    const TELL: Tell = Tell::Url;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            text.parse().map_err(|EndpointError { what, help }| Flaw::new(what).help(help))
        })
    }
}
