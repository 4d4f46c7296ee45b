//! Reads what a container has of its daemon's machine: volumes, devices, GPUs, room on the disk.

use indexmap::IndexMap;

use crate::config::decode::{Cx, Decode, Flaw, Spanned};
use crate::config::keys::{Tell, keys, or, required};
use crate::config::name::Name;
use crate::config::report::Mistake;
use crate::config::tree::{Node, Shape};
use crate::config::value::AbsolutePath;
use crate::spec::{Device, Gpus, Volume};

/// Volumes, each at a path of its own as far as this map says.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Volumes(pub(super) Vec<(Spanned<String>, Volume)>);

/// Devices of the daemon's machine.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Devices(pub(super) Vec<Device>);

keys! {
    /// The keys of a volume.
    VOLUME, VolumeKeys, VOLUME_ROWS;
    name: Name = required("\"npm-cache\"", "What the engine calls it; one that is absent is made, and stays.");
    read_only: bool = or("false", "The container cannot write to it.");
}

// === impl Decode ===

impl Decode for Volumes {
    const WHAT: &'static str = "a map such as {\"/cache\": \"npm-cache\"}";
    const TELL: Tell = Tell::Each(VOLUME_ROWS);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let entries = cx.map::<AbsolutePath>(node, Self::WHAT)?;
        let mut volumes = Vec::new();
        for (target, node) in entries {
            let volume = cx.decode::<Volume>(node);
            let place = |target: Spanned<AbsolutePath>| Spanned {
                value: target.value.0,
                span: target.span,
            };
            volumes.extend(target.map(place).zip(volume));
        }
        Some(Self(volumes))
    }
}

impl Decode for Volume {
    const WHAT: &'static str = "the name of a volume, or (name: \"npm-cache\", read_only: true)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if let Shape::Struct { .. } = node.shape {
            return cx.fields(node, "the volume", |f| {
                let (name, read_only) = (f.required(VOLUME.name), f.or(VOLUME.read_only));
                Some(Self { name: name?.to_string(), read_only })
            })?;
        }
        let name = cx.decode::<Name>(node)?;
        Some(Self { name: name.to_string(), read_only: false })
    }
}

impl Decode for Devices {
    const WHAT: &'static str = "a list such as [\"/dev/kvm\", \"/dev/sdb:/dev/disk:r\"]";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let devices = cx.list::<Device>(node, Self::WHAT)?;
        Some(Self(devices.into_iter().map(|device| device.value).collect()))
    }
}

impl Decode for Device {
    const WHAT: &'static str = "a device such as \"/dev/kvm\", or HOST:CONTAINER:RIGHTS";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let mut parts = text.split(':');
            let host = parts.next().unwrap_or_default().to_owned();
            let rest: Vec<_> = parts.collect();
            let (container, rights) = match rest[..] {
                [] => (host.clone(), "rwm"),
                [rights] if !rights.starts_with('/') => (host.clone(), rights),
                [container] => (container.to_owned(), "rwm"),
                [container, rights] => (container.to_owned(), rights),
                _ => {
                    return Err(Flaw::new("this has too many colons").help("HOST:CONTAINER:RIGHTS"));
                }
            };
            for path in [&host, &container] {
                if !path.starts_with('/') || path.len() < 2 {
                    let flaw = Flaw::new(format!("{path:?} is not an absolute path"));
                    return Err(flaw.help("as in \"/dev/kvm\""));
                }
            }
            if rights.is_empty() || !rights.chars().all(|c| "rwm".contains(c)) {
                let flaw = Flaw::new(format!("{rights:?} are no rights to a device"));
                return Err(flaw.help("of r (read), w (write) and m (mknod)"));
            }
            Ok(Self { host, container, rights: rights.to_owned() })
        })
    }
}

impl Decode for Gpus {
    const WHAT: &'static str = "`All`, `Count(1)` or `Ids([\"0\"])`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        match cx.variant(node, &["All", "Count", "Ids"])? {
            "All" => cx.choice(node, &[("All", Self::All)]),
            "Count" => {
                let count = cx.payload::<Spanned<u32>>(node)?;
                if count.value == 0 {
                    let title = "this is no GPU at all";
                    cx.report(Mistake::new(&count.span, title).help("leave `gpus` out"));
                    return None;
                }
                Some(Self::Count(count.value))
            }
            _ => {
                let ids = cx.payload::<Ids>(node)?.0;
                if ids.is_empty() {
                    let title = "this is no GPU at all";
                    cx.report(Mistake::new(&node.span, title).help("leave `gpus` out"));
                    return None;
                }
                Some(Self::Ids(ids))
            }
        }
    }
}

/// Ids of GPUs, as the driver has them.
#[derive(Clone, PartialEq)]
struct Ids(Vec<String>);

impl Decode for Ids {
    const WHAT: &'static str = "a list such as [\"0\", \"GPU-3a2b\"]";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let ids = cx.list::<String>(node, Self::WHAT)?;
        Some(Self(ids.into_iter().map(|id| id.value).collect()))
    }
}

/// Volumes by their targets, whose order does not matter.
pub(super) fn by_target(volumes: Vec<(Spanned<String>, Volume)>) -> IndexMap<String, Volume> {
    volumes.into_iter().map(|(target, volume)| (target.value, volume)).collect()
}
