//! `register`: where clients are to find the services.

use std::net::IpAddr;
use std::time::Duration;

use super::consul::{ConsulServer, secured};
use super::decode::{Cx, Decode, Fields, Spanned};
use super::keys::{Key, Tell, keys, optional, or};
use super::name::Name;
use super::report::{Mistake, Span};
use super::tree::Node;
use super::value::Text;
use crate::endpoint::Endpoint;
use crate::tls;
use crate::token::TokenFile;

/// Three reports have to fit in, on a busy machine.
const SHORTEST_TTL: Duration = Duration::from_secs(3);
/// Consul takes nothing shorter.
const SHORTEST_MEMORY: Duration = Duration::from_secs(60);

/// How the services are registered in Consul.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// The agent that registers them, with the TLS to reach it.
    pub agent: Endpoint,
    /// Its ACL token, where it has ACLs.
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

keys! {
    /// The keys of `register`.
    REGISTER, RegisterKeys, REGISTER_ROWS;
    agent: ConsulServer = or(
        "\"http://127.0.0.1:8500\"",
        "The agent of this machine. It knows the services, no other does.",
    );
    token_file: TokenFile = optional(
        "none",
        "\"consul.token\"",
        "A file that holds an ACL token with `service:write` of each service.",
    );
    tls: tls::Files = optional(
        "none",
        "(ca: \"consul-ca.pem\")",
        "What https is made with, with `cert` and `key` if it asks for them.",
    );
    prefix: Name = optional("none", "\"ganger-\"", "Before the name of each service.");
    tags: Tags = optional("none", "[\"edge\"]", "Of all services.");
    address: IpAddr = optional(
        "that of `listen`; of the agent where that is everywhere",
        "\"192.0.2.1\"",
        "Where clients are sent.",
    );
    ttl: Duration = or(
        "\"15s\"",
        "How long Consul believes the last report, which comes three times as often.",
    );
    forget_after: Duration = or(
        "\"10m\"",
        "How long a service of which no report comes stays listed, as critical.",
    );
}

// === impl Register ===

impl Register {
    /// The name of a service in Consul.
    #[must_use]
    pub fn name(&self, service: &str) -> String {
        format!("{}{service}", self.prefix.as_ref().map_or("", Name::as_str))
    }
}

impl Decode for Register {
    const WHAT: &'static str = "Consul(agent: \"http://127.0.0.1:8500\")";
    const TELL: Tell = Tell::Keys(&[("Consul", REGISTER_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.variant(node, &["Consul"])?;
        cx.variant_fields(node, "`register`", |f| {
            let agent = agent_of(f);
            let address = f.optional(REGISTER.address);
            if let (Some(ip), Some(place)) = (address, f.place(REGISTER.address)) {
                check_one(f, ip, &place);
            }
            Self {
                agent,
                token_file: f.optional(REGISTER.token_file),
                prefix: f.optional(REGISTER.prefix),
                tags: f.optional(REGISTER.tags).map_or_else(Vec::new, |tags| tags.0),
                address,
                ttl: at_least(f, REGISTER.ttl, SHORTEST_TTL),
                forget_after: at_least(f, REGISTER.forget_after, SHORTEST_MEMORY),
            }
        })
    }
}

fn agent_of(f: &mut Fields<'_, '_, '_>) -> Endpoint {
    let (agent, tls) = (f.or(REGISTER.agent), f.optional(REGISTER.tls));
    let Some(span) = f.place(REGISTER.agent) else {
        let unused = f.place(REGISTER.tls).filter(|_| !f.unread(REGISTER.agent));
        if let Some(place) = unused {
            let default = REGISTER.agent.row.default_text().trim_matches('"');
            let title = format!("`tls` is for https, and without `agent` it is {default}");
            let help = "add `agent: \"https://HOST:PORT\"`, or leave out `tls`";
            f.cx.report(Mistake::new(&place, title).help(help));
        }
        return agent.endpoint;
    };
    let endpoint = agent.endpoint.clone();
    let given = secured(f, vec![Spanned { value: agent, span }], tls, REGISTER.tls).pop();
    given.unwrap_or(endpoint)
}

fn check_one(f: &mut Fields<'_, '_, '_>, ip: IpAddr, place: &Span) {
    if ip.is_unspecified() {
        let title = format!("{ip} is not one address: nobody can be sent there");
        let help = "name an address of this machine, or leave out `address`: then it is the one \
                    of the agent for a service that listens on all";
        f.cx.report(Mistake::new(place, title).help(help));
    }
}

fn at_least(f: &mut Fields<'_, '_, '_>, key: Key<Duration>, least: Duration) -> Duration {
    let time = f.or(key);
    if let Some(place) = f.place(key).filter(|_| time < least) {
        let name = key.row.name;
        let title = format!("`{name}` is too short: at least \"{}s\"", least.as_secs());
        f.cx.report(Mistake::new(&place, title));
    }
    time
}

/// Tags, each of which is there once.
#[derive(Clone, PartialEq)]
pub(super) struct Tags(Vec<String>);

impl Decode for Tags {
    const WHAT: &'static str = "a list of tags `[\"edge\"]`";
    const TELL: Tell = Tell::Whole;

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
