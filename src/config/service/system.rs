//! Reads what the system shows a container: its host name, hosts, name servers, and the parameters
//! and limits that the kernel has for it.

use std::net::IpAddr;

use indexmap::IndexMap;

use crate::config::decode::{Cx, Decode, Flaw, similar, within};
use crate::config::keys::{Tell, keys, required};
use crate::config::report::Mistake;
use crate::config::tree::{Node, Shape};
use crate::config::value::Text;
use crate::spec::Ulimit;

/// Resources of setrlimit(2) by engines' names; engines take no `as`.
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Prefixes of the kernel parameters that a container has of its own.
const SYSCTLS: &[&str] =
    &["net.", "kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.", "kernel.domainname"];
/// In place of an address: the daemon's machine.
const GATEWAY: &str = "host-gateway";

/// A host name: labels of letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::config) struct HostName(pub(super) String);

/// Name servers.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct NameServers(pub(super) Vec<IpAddr>);

/// Lines of /etc/hosts.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Hosts(pub(super) IndexMap<String, String>);

/// An address, or what stands for one.
#[derive(Clone, PartialEq)]
struct HostAddress(String);

/// Parameters of the kernel.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Sysctls(pub(super) IndexMap<String, String>);

/// The name of a parameter that a container has of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Sysctl(String);

/// The value of one.
#[derive(Clone, PartialEq)]
struct SysctlValue(String);

/// Limits of processes.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Ulimits(pub(super) IndexMap<String, Ulimit>);

/// A ulimit's name.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Resource(&'static str);

/// A number, of which -1 is no limit.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) struct ResourceLimit(i64);

keys! {
    /// The keys of a limit of processes.
    ULIMIT, UlimitKeys, ULIMIT_ROWS;
    soft: ResourceLimit = required("1024", "What holds.");
    hard: ResourceLimit = required("4096", "What a process may raise it to.");
}

// === impl Decode ===

impl Decode for HostName {
    const WHAT: &'static str = "a host name such as \"db\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let well = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.chars().all(well)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            if text.len() <= 64 && text.split('.').all(label) {
                return Ok(Self(text));
            }
            let help =
                "letters, digits and hyphens, with dots between its parts; at most 64 in all";
            Err(Flaw::new(format!("{text:?} is not a host name")).help(help))
        })
    }
}

impl Decode for NameServers {
    const WHAT: &'static str = "a list of addresses such as [\"192.0.2.53\"]";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let servers = cx.list::<IpAddr>(node, Self::WHAT)?;
        Some(Self(servers.into_iter().map(|server| server.value).collect()))
    }
}

impl Decode for Hosts {
    const WHAT: &'static str = "a map such as {\"db\": \"192.0.2.7\"}";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let hosts = cx.pairs::<HostName, HostAddress>(node, Self::WHAT)?;
        Some(Self(hosts.into_iter().map(|(name, address)| (name.0, address.0)).collect()))
    }
}

impl Decode for HostAddress {
    const WHAT: &'static str = "an address such as \"192.0.2.7\", or \"host-gateway\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            if text == GATEWAY || text.parse::<IpAddr>().is_ok() {
                return Ok(Self(text));
            }
            let help = "or \"host-gateway\", which is the daemon's machine";
            Err(Flaw::new(format!("{text:?} is not an address")).help(help))
        })
    }
}

impl Decode for Sysctls {
    const WHAT: &'static str = "a map such as {\"net.core.somaxconn\": 1024}";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let all = cx.pairs::<Sysctl, SysctlValue>(node, Self::WHAT)?;
        Some(Self(all.into_iter().map(|(name, value)| (name.0, value.0)).collect()))
    }
}

impl Decode for Sysctl {
    const WHAT: &'static str = "the name of a kernel parameter in quotes";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            if SYSCTLS.iter().any(|own| text.starts_with(own)) {
                return Ok(Self(text));
            }
            let flaw = Flaw::new(format!("a container has no {text:?} of its own"));
            Err(flaw.help("it has those that begin with net., kernel.msg, kernel.sem, kernel.shm and fs.mqueue."))
        })
    }
}

impl Decode for SysctlValue {
    const WHAT: &'static str = "a number such as 1024, or text such as \"1024 65535\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if matches!(node.shape, Shape::Atom) && !cx.source(&node.span).contains('"') {
            return cx.scalar(node, Self::WHAT, |number: i64| Ok(Self(number.to_string())));
        }
        Text::decode(node, cx).map(|text| Self(text.0))
    }
}

impl Decode for Ulimits {
    const WHAT: &'static str = "a map such as {\"nofile\": 4096}";
    const TELL: Tell = Tell::Each(ULIMIT_ROWS);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let all = cx.pairs::<Resource, Ulimit>(node, Self::WHAT)?;
        Some(Self(all.into_iter().map(|(name, limit)| (name.0.to_owned(), limit)).collect()))
    }
}

impl Decode for Resource {
    const WHAT: &'static str = "the name of a limit such as \"nofile\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            if let Some(known) = ULIMITS.iter().find(|known| **known == text) {
                return Ok(Self(known));
            }
            let flaw = Flaw::new(format!("{text:?} is not a limit of processes"));
            Err(match similar(&text, ULIMITS) {
                Some(meant) => flaw.help(format!("did you mean \"{meant}\"?")),
                None => flaw.help("they are named as setrlimit(2) names them, in small letters"),
            })
        })
    }
}

impl Decode for Ulimit {
    const WHAT: &'static str = "a number such as 4096, or (soft: 1024, hard: 4096)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if let Shape::Struct { .. } = node.shape {
            let (limit, place) = cx.fields(node, "the limit", |f| {
                let (soft, hard) = (f.required(ULIMIT.soft), f.required(ULIMIT.hard));
                Some((Self { soft: soft?.0, hard: hard?.0 }, f.place(ULIMIT.soft)?))
            })??;
            let above = limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard);
            if above {
                let title = format!("`soft` is {}, more than `hard`: {}", limit.soft, limit.hard);
                cx.report(Mistake::new(&place, title));
            }
            return Some(limit);
        }
        let both = cx.scalar(node, Self::WHAT, bound)?;
        Some(Self { soft: both, hard: both })
    }
}

impl Decode for ResourceLimit {
    const WHAT: &'static str = "a number such as 4096; -1 is no limit";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, bound).map(Self)
    }
}

fn bound(number: i64) -> Result<i64, Flaw> {
    within(number, &(-1..=i64::MAX))
}
