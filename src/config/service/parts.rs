//! Reads the parts of a service.

use std::time::Duration;

use super::{Client, Connect, Limits, Publish, Queue, Timeouts};
use crate::config::decode::{Cx, Decode, Fields, Flaw, Spanned, similar};
use crate::config::name::Name;
use crate::config::quantity::{Positive, Size};
use crate::config::report::Mistake;
use crate::config::tree::Node;
use crate::config::value::{AbsolutePath, Count, Text, Waiting};
use crate::spec::{Mount, Network, Preconnect, Pull, Reach, Sandbox};

/// Docker refuses less.
const LEAST_MEMORY: u64 = 6 << 20;
/// Every session may hold as much.
const MOST_REPLAY: u64 = 16 << 20;

/// Less than a network is out now and then; and what the kernel's options can say.
const KEEPALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 60 * 60);

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

/// More processors than any machine has.
const MOST_CPUS: f64 = 100_000.0;

/// The name of an environment variable.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct EnvKey(pub(super) String);

/// `USER[:GROUP]`.
pub(super) struct User(pub(super) String);

/// A capability without `CAP_`.
pub(super) struct Capability(pub(super) &'static str);

/// A mount and the place of its target.
pub(super) struct FoundMount {
    pub(super) mount: Mount,
    pub(super) target: Spanned<String>,
}

// === impl Decode for the parts ===

impl Decode for Queue {
    const WHAT: &'static str = "(length: 64, timeout: \"30s\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        cx.fields(node, "`queue`", |f| Self {
            length: f.or("length", Waiting(default.length)).0,
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

impl Decode for Client {
    const WHAT: &'static str = "(keepalive: \"60s\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`client`", |f| match f.optional::<Spanned<Duration>>("keepalive") {
            None => Self::default(),
            Some(Spanned { value, .. }) if value.is_zero() => Self { keepalive: None },
            Some(Spanned { value, span }) => {
                if !KEEPALIVE.contains(&value) {
                    let title = "`keepalive` is from 10s to 1day";
                    let help = "or \"0s\", for as long as the kernel goes on";
                    f.cx.report(Mistake::new(&span, title).help(help));
                }
                Self { keepalive: Some(value) }
            }
        })
    }
}

impl Decode for Timeouts {
    const WHAT: &'static str =
        "(start: \"30s\", first_byte: \"0s\", idle: \"10m\", session: \"0s\")";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        let limit = |time: Duration| (!time.is_zero()).then_some(time);
        cx.fields(node, "`timeouts`", |f| Self {
            start: f.or("start", Positive(default.start)).0,
            first_byte: f.optional("first_byte").map_or(default.first_byte, limit),
            idle: f.optional("idle").map_or(default.idle, limit),
            session: f.optional("session").map_or(default.session, limit),
        })
    }
}

impl Decode for Limits {
    const WHAT: &'static str = "(memory: \"512MiB\", cpus: 0.5, pids: 256, enforce: true)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let default = Self::default();
        cx.fields(node, "`limits`", |f| Self {
            memory: memory(f).unwrap_or(default.memory),
            cpus: cpus(f),
            pids: f.or("pids", Count(default.pids)).0,
            enforce: f.or("enforce", default.enforce),
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
    if cpus.value > MOST_CPUS {
        let title = format!("`cpus` is too large: {} is more than any machine has", cpus.value);
        f.cx.report(Mistake::new(&cpus.span, title).help("leave it out for no limit"));
    } else if !(0.01..).contains(&cpus.value) {
        let title = "`cpus` is a number of processors from 0.01 on";
        f.cx.report(Mistake::new(&cpus.span, title).help("leave it out for no limit"));
    }
    Some(cpus.value)
}

impl Decode for Pull {
    const WHAT: &'static str = "`IfMissing`, `Always` or `Never`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known =
            [("IfMissing", Self::IfMissing), ("Always", Self::Always), ("Never", Self::Never)];
        cx.choice(node, &known)
    }
}

impl Decode for Preconnect {
    const WHAT: &'static str = "`Off`, `Tcp` or `Banner`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = [("Off", Self::Off), ("Tcp", Self::Tcp), ("Banner", Self::Banner)];
        cx.choice(node, &known)
    }
}

impl Decode for Sandbox {
    const WHAT: &'static str = "`Fresh` or `Pooled`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(node, &[("Fresh", Self::Fresh), ("Pooled", Self::Pooled)])
    }
}

impl Decode for Reach {
    const WHAT: &'static str = "`Auto`, `Namespace` or `Published`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known =
            [("Auto", Self::Auto), ("Namespace", Self::Namespace), ("Published", Self::Published)];
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
            _ => return Some(Self::Named(name.value.to_string())),
        };
        cx.report(Mistake::new(&name.span, flaw));
        None
    }
}

impl Decode for FoundMount {
    const WHAT: &'static str = "(source: \"/srv/data\", target: \"/data\", read_only: true)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "the mount", |f| {
            let source = f.required::<AbsolutePath>("source");
            let target = f.required::<Spanned<AbsolutePath>>("target");
            let read_only = f.or("read_only", true);
            let (source, Spanned { value: target, span }) = (source?, target?);
            let mount = Mount { source: source.0, target: target.0.clone(), read_only };
            Some(Self { mount, target: Spanned { value: target.0, span } })
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
