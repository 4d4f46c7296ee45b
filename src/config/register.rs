//! `register`: where clients are to find the services.

use std::net::IpAddr;
use std::time::Duration;

use super::consul::{Server, secured};
use super::decode::{Cx, Decode, Fields, Spanned};
use super::name::Name;
use super::report::Mistake;
use super::tree::Node;
use super::value::Text;
use crate::consul::TokenFile;
use crate::endpoint::Endpoint;
use crate::tls;

const AGENT: &str = "http://127.0.0.1:8500";
/// Three reports have to fit in, on a machine that has much else to do.
const SHORTEST_TTL: Duration = Duration::from_secs(3);
/// Consul takes nothing shorter.
const SHORTEST_MEMORY: Duration = Duration::from_secs(60);

/// That, and how, the services are registered in Consul.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// The agent that they are registered with, with the TLS it is reached with.
    pub agent: Endpoint,
    /// What it is asked with, where it has ACLs.
    pub token_file: Option<TokenFile>,
    /// Before the name of each service.
    pub prefix: Option<Name>,
    /// Of all services.
    pub tags: Vec<String>,
    /// Where clients are sent to. `None` is where the service listens, and where
    /// that is everywhere, the agent's own address.
    pub address: Option<IpAddr>,
    /// How long Consul believes the last report. At least 3 s.
    pub ttl: Duration,
    /// How long Consul remembers a service of which no report comes any more. At
    /// least a minute.
    pub forget_after: Duration,
}

// === impl Register ===

impl Register {
    /// What a service is called in Consul.
    #[must_use]
    pub fn name(&self, service: &str) -> String {
        format!("{}{service}", self.prefix.as_ref().map_or("", Name::as_str))
    }
}

impl Decode for Register {
    const WHAT: &'static str = "Consul(agent: \"http://127.0.0.1:8500\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.variant(node, &["Consul"])?;
        cx.variant_fields(node, "`register`", |f| {
            let agent = f.optional::<Spanned<Server>>("agent");
            let tls = f.optional::<Spanned<tls::Files>>("tls");
            let agent = agent_of(f, agent, tls);
            let address = f.optional::<Spanned<IpAddr>>("address");
            let address = address.map(|address| one(f, &address));
            Self {
                agent,
                token_file: f.optional("token_file"),
                prefix: f.optional("prefix"),
                tags: f.optional::<Tags>("tags").map_or_else(Vec::new, |tags| tags.0),
                address,
                ttl: at_least(f, "ttl", SHORTEST_TTL, Duration::from_secs(15)),
                forget_after: at_least(
                    f,
                    "forget_after",
                    SHORTEST_MEMORY,
                    Duration::from_secs(600),
                ),
            }
        })
    }
}

fn agent_of(
    f: &mut Fields<'_, '_, '_>,
    agent: Option<Spanned<Server>>,
    tls: Option<Spanned<tls::Files>>,
) -> Endpoint {
    let unread = agent.is_none() && f.given("agent");
    if let (None, Some(tls), false) = (&agent, &tls, unread) {
        let title = format!("`tls` is for https, and without `agent` it is {AGENT}");
        let help = "add `agent: \"https://HOST:PORT\"`, or leave out `tls`";
        f.cx.report(Mistake::new(&tls.span, title).help(help));
    }
    let given = secured(f, agent.into_iter().collect(), tls, "tls").pop();
    given.unwrap_or(Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 8500, tls: None })
}

fn one(f: &mut Fields<'_, '_, '_>, ip: &Spanned<IpAddr>) -> IpAddr {
    if ip.value.is_unspecified() {
        let title = format!("{} is not one address: nobody can be sent there", ip.value);
        let help = "name an address of this machine, or leave out `address`: then it is the one \
                    of the agent for a service that listens on all";
        f.cx.report(Mistake::new(&ip.span, title).help(help));
    }
    ip.value
}

fn at_least(
    f: &mut Fields<'_, '_, '_>,
    name: &'static str,
    least: Duration,
    default: Duration,
) -> Duration {
    let Some(time) = f.optional::<Spanned<Duration>>(name) else { return default };
    if time.value < least {
        let title = format!("`{name}` is too short: at least \"{}s\"", least.as_secs());
        f.cx.report(Mistake::new(&time.span, title));
    }
    time.value
}

struct Tags(Vec<String>);

impl Decode for Tags {
    const WHAT: &'static str = "a list of tags `[\"edge\"]`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let tags = cx.list::<Text>(node, Self::WHAT)?;
        for (i, tag) in tags.iter().enumerate() {
            if let Some(first) = tags[..i].iter().find(|first| first.value == tag.value) {
                cx.repeated(&tag.span, &first.span);
            }
        }
        Some(Self(tags.into_iter().map(|tag| tag.value.0).collect()))
    }
}
