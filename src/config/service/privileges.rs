//! Reads what a service's processes may do: `privileges`, and `cap_add`, its short form.

use crate::config::decode::{Cx, Decode, Fields, Flaw, Spanned, similar};
use crate::config::keys::{Key, Tell, keys, or};
use crate::config::report::Mistake;
use crate::config::tree::{Node, Shape};

/// The default capabilities of a container: those of Docker's own set that start scripts of images
/// need, which change owners and users, listen below port 1024, or change their root. NET_RAW
/// (forged packets), MKNOD (device files), AUDIT_WRITE (forged audit records), SETFCAP and SETPCAP
/// (capabilities for others) are left out.
const STANDARD: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
];

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

/// A capability without `CAP_`.
#[derive(Clone, PartialEq)]
struct Capability(&'static str);

/// Capabilities without `CAP_`.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Capabilities(Vec<Spanned<Capability>>);

/// `privileges`.
#[derive(Clone, PartialEq)]
pub(in crate::config) enum Privileges {
    Standard,
    None,
    /// Others than the standard ones.
    Changed {
        add: Capabilities,
        drop: Capabilities,
    },
}

keys! {
    /// The keys of `privileges: (…)`.
    PRIVILEGES, PrivilegesKeys, PRIVILEGES_ROWS;
    add: Capabilities = or("[]", "Capabilities beside the standard ones.").example("[\"SYS_NICE\"]");
    drop: Capabilities = or("[]", "Standard capabilities that it does not get.").example("[\"KILL\"]");
}

/// The capabilities of a container, in the order of the alphabet.
pub(super) fn capabilities(
    f: &mut Fields<'_, '_, '_>,
    privileges: Key<Privileges>,
    cap_add: Key<Capabilities>,
) -> Vec<String> {
    let (privileges, also) = (f.or(privileges), f.or(cap_add));
    let nothing = || Capabilities(Vec::new());
    let (base, add, drop) = match privileges {
        Privileges::Standard => (STANDARD, nothing(), nothing()),
        Privileges::None => (&[][..], nothing(), nothing()),
        Privileges::Changed { add, drop } => (STANDARD, add, drop),
    };
    let added: Vec<_> = add.0.into_iter().chain(also.0).collect();
    for dropped in &drop.0 {
        if let Some(added) = added.iter().find(|added| added.value == dropped.value) {
            let title = format!("{} is dropped, and added as well", dropped.value.0);
            f.cx.report(Mistake::new(&dropped.span, title).also(&added.span, "added here"));
        }
    }
    let kept = base.iter().copied().filter(|name| drop.0.iter().all(|one| one.value.0 != *name));
    let mut all: Vec<_> = kept.chain(added.iter().map(|one| one.value.0)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(str::to_owned).collect()
}

// === impl Privileges ===

impl Decode for Privileges {
    const WHAT: &'static str = "`Standard`, `None` or (add: [\"SYS_NICE\"], drop: [\"KILL\"])";
    const TAKES_NONE: bool = true;
    const TELL: Tell = Tell::Keys(&[("", PRIVILEGES_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if let Shape::Struct { name: None, .. } = node.shape {
            return cx.fields(node, "`privileges`", |f| Self::Changed {
                add: f.or(PRIVILEGES.add),
                drop: f.or(PRIVILEGES.drop),
            });
        }
        cx.choice(node, &[("Standard", false), ("None", true)])
            .map(|none| if none { Self::None } else { Self::Standard })
    }
}

// === impl Capabilities ===

impl Decode for Capabilities {
    const WHAT: &'static str = "a list such as [\"NET_BIND_SERVICE\"]";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.list(node, Self::WHAT).map(Self)
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
                _ if name == "ALL" => {
                    flaw.help("name those the service needs; `privileges: None` drops all")
                }
                Some(meant) => flaw.help(format!("did you mean \"{meant}\"?")),
                None => flaw.help("capabilities(7) lists them"),
            })
        })
    }
}
