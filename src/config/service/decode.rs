//! Reads a service from the file.

use std::net::SocketAddr;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Connect, Env, Limits, Mount, Network, Publish, Pull, Queue, Reach, Service, Timeouts};
use crate::config::decode::{Cx, Decode, Fields, Flaw, Spanned, similar};
use crate::config::report::{Mistake, Span};
use crate::config::tree::Node;
use crate::config::value::{AbsolutePath, Count, Name, Port, Positive, Size, Text};

const DEFAULT_WARM: u32 = 1;
const DEFAULT_MAX: u32 = 16;

/// Docker refuses less.
const LEAST_MEMORY: u64 = 6 << 20;
/// Every session may hold as much.
const MOST_REPLAY: u64 = 16 << 20;

/// Every capability of Linux 6, without `CAP_`.
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// A service, as far as it could be read, with the places the checks across
/// services need.
pub(in crate::config) struct Found {
    pub(in crate::config) name: Name,
    pub(in crate::config) listen: Option<Spanned<SocketAddr>>,
    /// How many are kept warm, and where that is said: else the service's name.
    pub(in crate::config) warm: Spanned<u32>,
    pub(in crate::config) service: Option<Service>,
}

/// The name of an environment variable.
#[derive(Clone, PartialEq, Eq, Hash)]
struct EnvKey(String);

/// `USER[:GROUP]`.
struct User(String);

/// A capability without `CAP_`.
struct Capability(&'static str);

/// Reads a service.
pub(in crate::config) fn service(
    name: &Spanned<Name>,
    node: &Node,
    cx: &mut Cx<'_>,
) -> Option<Found> {
    cx.fields(node, &format!("service \"{}\"", name.value), |f| {
        let listen = f.required::<Spanned<SocketAddr>>("listen");
        let image = f.required("image");
        let port = f.required::<Port>("port");
        let (warm, max) = warm_and_max(f, &name.span);
        let (network, reach) = network_and_reach(f);
        let (tmpfs, mounts) = tmpfs_and_mounts(f);
        let rest = |f: &mut Fields<'_, '_, '_>| {
            Some(Service {
                name: name.value.clone(),
                command: command(f),
                env: env(f),
                reuse: f.or("reuse", 0),
                warm: warm.value,
                max,
                max_age: max_age(f),
                queue: f.optional("queue").unwrap_or_default(),
                ready: f.optional("ready").unwrap_or_default(),
                connect: f.optional("connect").unwrap_or_default(),
                timeouts: f.optional("timeouts").unwrap_or_default(),
                pull: f.optional("pull").unwrap_or_default(),
                limits: f.optional("limits").unwrap_or_default(),
                network,
                reach,
                publish: f.optional("publish").unwrap_or_default(),
                surplus_after: f.or("surplus_after", Duration::from_secs(30)),
                user: f.optional::<User>("user").map(|user| user.0),
                read_only: f.or("read_only", false),
                tmpfs,
                cap_add: cap_add(f),
                mounts,
                runtime: f.optional("runtime"),
                // Last, so that the others are read before these give up.
                listen: listen.as_ref()?.value,
                image: image?,
                port: port?.0,
            })
        };
        let service = rest(f);
        later(f);
        Found {
            name: name.value.clone(),
            listen,
            warm,
            service,
        }
    })
}

fn warm_and_max(f: &mut Fields<'_, '_, '_>, name: &Span) -> (Spanned<u32>, u32) {
    let warm = f.optional::<Spanned<u32>>("warm");
    let max = f.optional::<Spanned<Count>>("max");
    // A `max` that cannot be read has been reported; it clashes with nothing.
    let unread = max.is_none() && f.given("max");
    let limit = max.as_ref().map_or(DEFAULT_MAX, |max| max.value.0);
    if let Some(warm) = &warm
        && warm.value > limit
        && !unread
    {
        let source = if max.is_some() { "" } else { ", its default" };
        let title = format!("`warm` is {}, but `max` is {limit}{source}", warm.value);
        let mistake = Mistake::new(&warm.span, title)
            .help("`warm` containers count towards `max`: lower one or raise the other");
        f.cx.report(match &max {
            Some(max) => mistake.also(&max.span, "`max`"),
            None => mistake,
        });
    }
    let default = Spanned {
        value: DEFAULT_WARM,
        span: name.clone(),
    };
    (warm.unwrap_or(default), limit)
}

fn network_and_reach(f: &mut Fields<'_, '_, '_>) -> (Network, Reach) {
    let network = f.optional("network").unwrap_or_default();
    let reach = f.optional::<Spanned<Reach>>("reach");
    if let (
        Network::Sealed,
        Some(Spanned {
            value: Reach::Published,
            span,
        }),
    ) = (&network, &reach)
    {
        let title = "a sealed container has no network to publish a port on";
        let mistake = Mistake::new(span, title);
        f.cx.report(mistake.help("use `reach: Namespace` or `Auto`, or another `network`"));
    }
    (network, reach.map(|reach| reach.value).unwrap_or_default())
}

fn tmpfs_and_mounts(f: &mut Fields<'_, '_, '_>) -> (IndexMap<String, String>, Vec<Mount>) {
    let mut taken: Vec<Spanned<String>> = Vec::new();
    let mut take = |path: &Spanned<String>, cx: &mut Cx<'_>| {
        let same = |other: &&Spanned<String>| {
            other.value.trim_end_matches('/') == path.value.trim_end_matches('/')
        };
        if let Some(first) = taken.iter().find(same) {
            let first = first.span.clone();
            cx.repeated(&path.span, &first);
        }
        taken.push(path.clone());
    };
    let tmpfs = f.node("tmpfs").and_then(|node| {
        let entries =
            f.cx.map::<AbsolutePath>(node, "a map such as {\"/tmp\": \"size=16m\"}")?;
        let mut tmpfs = IndexMap::new();
        for (path, options) in entries {
            let options = f.cx.decode::<String>(options);
            take(
                &Spanned {
                    value: path.value.0.clone(),
                    span: path.span,
                },
                f.cx,
            );
            tmpfs.insert(path.value.0, options.unwrap_or_default());
        }
        Some(tmpfs)
    });
    let mounts = f.node("mounts").and_then(|node| {
        let what = "a list such as [(source: \"/srv/data\", target: \"/data\")]";
        let mounts = f.cx.list::<FoundMount>(node, what)?;
        for mount in &mounts {
            take(&mount.value.target, f.cx);
        }
        Some(mounts.into_iter().map(|mount| mount.value.mount).collect())
    });
    (tmpfs.unwrap_or_default(), mounts.unwrap_or_default())
}

fn command(f: &mut Fields<'_, '_, '_>) -> Option<Vec<String>> {
    let node = f.node("command")?;
    let words =
        f.cx.list::<String>(node, "a list such as [\"/echo\", \"--loud\"]")?;
    if node.is_empty() {
        let title = "this command is empty";
        let help = "leave `command` out to run what the image runs";
        f.cx.report(Mistake::new(&node.span, title).help(help));
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

fn env(f: &mut Fields<'_, '_, '_>) -> Env {
    let entries = f.node("env").and_then(|node| {
        let entries =
            f.cx.map::<EnvKey>(node, "a map such as {\"KEY\": \"value\"}")?;
        let read = |(key, value): (Spanned<EnvKey>, &Node)| {
            Some((key.value.0, f.cx.decode::<String>(value)?))
        };
        Some(entries.into_iter().filter_map(read).collect())
    });
    Env(entries.unwrap_or_default())
}

fn max_age(f: &mut Fields<'_, '_, '_>) -> Option<Duration> {
    let age = f.optional::<Spanned<Duration>>("max_age")?;
    if age.value < Duration::from_secs(1) {
        let title = "`max_age` is shorter than a second";
        f.cx.report(Mistake::new(&age.span, title).help("leave it out for no limit"));
    }
    Some(age.value)
}

fn cap_add(f: &mut Fields<'_, '_, '_>) -> Vec<String> {
    let names = f.node("cap_add").and_then(|node| {
        f.cx.list::<Capability>(node, "a list such as [\"NET_BIND_SERVICE\"]")
    });
    names
        .unwrap_or_default()
        .into_iter()
        .map(|name| name.value.0.to_owned())
        .collect()
}

/// Settings that are agreed on, of which only today's way works yet.
fn later(f: &mut Fields<'_, '_, '_>) {
    for (name, now, others) in [
        ("sandbox", "Fresh", &["Pooled"][..]),
        ("preconnect", "Off", &["Tcp", "Banner"]),
    ] {
        let Some(node) = f.node(name) else { continue };
        let known: Vec<_> = std::iter::once(now).chain(others.iter().copied()).collect();
        if let Some(variant) = f.cx.variant(node, &known)
            && variant != now
        {
            let help = format!("leave it out, or write `{name}: {now}`");
            f.cx.not_yet(&node.span, &format!("`{name}: {variant}`"), &help);
        }
    }
}

// === impl Decode for the parts ===

impl Decode for Queue {
    const WHAT: &'static str = "(length: 64, timeout: \"30s\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        cx.fields(node, "`queue`", |f| Self {
            length: f.or("length", default.length),
            timeout: f.or("timeout", Positive(default.timeout)).0,
        })
    }
}

impl Decode for Connect {
    const WHAT: &'static str = "(timeout: \"5s\", retries: 6, replay: \"64KiB\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        cx.fields(node, "`connect`", |f| Self {
            timeout: f.or("timeout", Positive(default.timeout)).0,
            retries: f.or("retries", default.retries),
            replay: replay(f).unwrap_or(default.replay),
        })
    }
}

fn replay(f: &mut Fields<'_, '_, '_>) -> Option<usize> {
    let size = f.optional::<Spanned<Size>>("replay")?;
    if size.value.0 > MOST_REPLAY {
        let title = "`replay` is more than 16MiB, and every session may hold as much";
        f.cx.report(Mistake::new(&size.span, title));
    }
    usize::try_from(size.value.0).ok()
}

impl Decode for Timeouts {
    const WHAT: &'static str = "(start: \"30s\", idle: \"10m\", session: \"0s\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        let limit = |time: Duration| (!time.is_zero()).then_some(time);
        cx.fields(node, "`timeouts`", |f| Self {
            start: f.or("start", Positive(default.start)).0,
            idle: f.optional("idle").map_or(default.idle, limit),
            session: f.optional("session").map_or(default.session, limit),
        })
    }
}

impl Decode for Limits {
    const WHAT: &'static str = "(memory: \"512MiB\", cpus: 0.5, pids: 256)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        cx.fields(node, "`limits`", |f| Self {
            memory: memory(f).unwrap_or(default.memory),
            cpus: cpus(f),
            pids: f.or("pids", Count(default.pids)).0,
        })
    }
}

fn memory(f: &mut Fields<'_, '_, '_>) -> Option<u64> {
    let size = f.optional::<Spanned<Size>>("memory")?;
    if size.value.0 < LEAST_MEMORY {
        let title = "`memory` is less than 6MiB, the least that Docker gives";
        f.cx.report(Mistake::new(&size.span, title));
    }
    Some(size.value.0)
}

fn cpus(f: &mut Fields<'_, '_, '_>) -> Option<f64> {
    let cpus = f.optional::<Spanned<f64>>("cpus")?;
    if !(0.01..=100_000.0).contains(&cpus.value) {
        let title = "`cpus` is a number of processors from 0.01 on";
        f.cx.report(Mistake::new(&cpus.span, title).help("leave it out for no limit"));
    }
    Some(cpus.value)
}

impl Decode for Pull {
    const WHAT: &'static str = "`IfMissing`, `Always` or `Never`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = [
            ("IfMissing", Self::IfMissing),
            ("Always", Self::Always),
            ("Never", Self::Never),
        ];
        cx.choice(node, &known)
    }
}

impl Decode for Reach {
    const WHAT: &'static str = "`Auto`, `Namespace` or `Published`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = [
            ("Auto", Self::Auto),
            ("Namespace", Self::Namespace),
            ("Published", Self::Published),
        ];
        cx.choice(node, &known)
    }
}

impl Decode for Publish {
    const WHAT: &'static str = "`Own` or `Any`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(node, &[("Own", Self::Own), ("Any", Self::Any)])
    }
}

impl Decode for Network {
    const WHAT: &'static str = "`Bridge`, `Sealed` or `Named(\"net\")`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if cx.variant(node, &["Bridge", "Sealed", "Named"])? != "Named" {
            let sealed = cx.choice(node, &[("Bridge", false), ("Sealed", true)])?;
            return Some(if sealed { Self::Sealed } else { Self::Bridge });
        }
        let name = cx.payload::<Spanned<Name>>(node)?;
        let flaw = match name.value.as_str() {
            "bridge" | "default" => "this is Docker's default network: write `Bridge`",
            "none" => "this is no network: write `Sealed`",
            "host" => "the network of the daemon's machine keeps containers apart from nothing",
            _ => return Some(Self::Named(name.value)),
        };
        cx.report(Mistake::new(&name.span, flaw));
        None
    }
}

/// A mount and the place of its target.
struct FoundMount {
    mount: Mount,
    target: Spanned<String>,
}

impl Decode for FoundMount {
    const WHAT: &'static str = "(source: \"/srv/data\", target: \"/data\", read_only: true)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "the mount", |f| {
            let source = f.required::<AbsolutePath>("source");
            let target = f.required::<Spanned<AbsolutePath>>("target");
            let read_only = f.or("read_only", true);
            let (
                source,
                Spanned {
                    value: target,
                    span,
                },
            ) = (source?, target?);
            let mount = Mount {
                source: source.0.into(),
                target: target.0.clone().into(),
                read_only,
            };
            Some(Self {
                mount,
                target: Spanned {
                    value: target.0,
                    span,
                },
            })
        })?
    }
}

impl Decode for EnvKey {
    const WHAT: &'static str = "the name of a variable in quotes";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let key = cx.decode::<Spanned<Text>>(node)?;
        if key.value.0.contains('=') {
            let title = "the name of an environment variable cannot hold `=`";
            let mistake = Mistake::new(&key.span, title);
            cx.report(mistake.help("write `\"KEY\": \"value\"`"));
            return None;
        }
        Some(Self(key.value.0))
    }
}

impl Decode for User {
    const WHAT: &'static str = "a user such as \"65534:65534\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let part =
                |part: &str| !part.is_empty() && !part.contains(|c: char| !c.is_ascii_graphic());
            let well = text.split(':').all(part) && text.split(':').count() <= 2;
            if !well {
                return Err(
                    Flaw::new(format!("{text:?} is not a user")).help("write USER or USER:GROUP")
                );
            }
            Ok(Self(text))
        })
    }
}

impl Decode for Capability {
    const WHAT: &'static str = "a capability such as \"NET_BIND_SERVICE\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let name = text.to_uppercase();
            let name = name.strip_prefix("CAP_").unwrap_or(&name);
            if let Some(known) = CAPABILITIES.iter().find(|known| **known == name) {
                return Ok(Self(known));
            }
            let flaw = Flaw::new(format!("{text:?} is not a capability of Linux"));
            Err(match similar(name, CAPABILITIES) {
                _ if name == "ALL" => flaw.help("name those the service needs"),
                Some(meant) => flaw.help(format!("did you mean \"{meant}\"?")),
                None => flaw.help("capabilities(7) lists them"),
            })
        })
    }
}
