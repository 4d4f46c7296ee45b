//! The scalars of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::decode::{Cx, Decode, Flaw, within};
use super::keys::Tell;
use super::tree::Node;

/// A number from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

/// A number of containers, from 1 on: no more than what a place is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Containers(pub(super) u32);

/// A number of launches at a time, from 1 on: many more than any engine carries
/// out side by side, and no more than file descriptors are kept free for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Launches(pub(super) u32);

/// A number of connections that wait: no more than what a place is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting(pub(super) u32);

/// A share of at most a half, in thousandths, of which it is at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(pub(super) u32);

/// A TCP port other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port(pub(super) u16);

/// Text that is not empty and holds no NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// Text or bytes to send or to expect, not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// The path of a file, relative to the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) PathBuf);

/// An absolute path other than `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AbsolutePath(pub(super) String);

// === impl Decode for numbers and the like ===

impl Decode for bool {
    const WHAT: &'static str = "`true` or `false`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, Ok)
    }
}

impl Decode for u32 {
    const WHAT: &'static str = "a whole number such as 4";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::WHAT, 0..=u32::MAX.into())
    }
}

/// Reads a whole number as a wider one, so that its mistake can be explained.
fn whole<T: TryFrom<i64>>(
    node: &Node,
    cx: &mut Cx<'_>,
    what: &str,
    range: RangeInclusive<i64>,
) -> Option<T> {
    cx.scalar(node, what, |number: i64| {
        let number = within(number, &range)?;
        T::try_from(number).map_err(|_| Flaw::new(format!("{number} is out of range")))
    })
}

impl Decode for f64 {
    const WHAT: &'static str = "a number such as 0.5";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, Ok)
    }
}

impl Decode for Count {
    const WHAT: &'static str = "a whole number such as 4";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::WHAT, 1..=u32::MAX.into()).map(Self)
    }
}

impl Decode for Containers {
    const WHAT: &'static str = Count::WHAT;
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::WHAT, 1..=100_000).map(Self)
    }
}

impl Decode for Launches {
    const WHAT: &'static str = Count::WHAT;
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::WHAT, 1..=32).map(Self)
    }
}

impl Decode for Waiting {
    const WHAT: &'static str = u32::WHAT;
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::WHAT, 0..=500_000).map(Self)
    }
}

impl Decode for Share {
    const WHAT: &'static str = "a share such as 0.1";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |share: f64| {
            let thousandths = (0.001..=0.5).contains(&share).then_some((share * 1000.0).round());
            let flaw = || Flaw::new(format!("{share:?} is not a share from 0.001 to 0.5"));
            thousandths.map(|thousandths| Self(thousandths as u32)).ok_or_else(flaw)
        })
    }
}

impl Decode for Port {
    const WHAT: &'static str = "a port number such as 7000";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::WHAT, 1..=u16::MAX.into()).map(Self)
    }
}

// === impl Decode for texts ===

impl Decode for Text {
    const WHAT: &'static str = "text in quotes";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| no_nul(filled(text)?).map(Self))
    }
}

impl Decode for String {
    const WHAT: &'static str = Text::WHAT;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, no_nul)
    }
}

impl Decode for Bytes {
    const WHAT: &'static str = "text in quotes";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let bytes = |value| match value {
            ron::Value::String(text) => Ok(text.into_bytes()),
            ron::Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Flaw::new(format!("expected {}", Self::WHAT))),
        };
        cx.scalar(node, Self::WHAT, |value| {
            let bytes = bytes(value)?;
            if bytes.is_empty() {
                return Err(Flaw::new("this text is empty: any answer would do"));
            }
            Ok(Self(bytes))
        })
    }
}

impl Decode for AbsolutePath {
    const WHAT: &'static str = "an absolute path such as \"/srv/data\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| absolute(text).map(Self))
    }
}

impl Decode for FilePath {
    const WHAT: &'static str = "the path of a file in quotes";
    const TELL: Tell = Tell::Path;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let name = Text::decode(node, cx)?;
        Some(Self(cx.path(&name.0, &node.span)))
    }
}

fn absolute(text: String) -> Result<String, Flaw> {
    let text = no_nul(text)?;
    let path = Path::new(&text);
    if !path.is_absolute() {
        return Err(Flaw::new(format!("{text:?} is not an absolute path: start it with `/`")));
    }
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Flaw::new(format!("{text:?} goes up with `..`: write where it ends up")));
    }
    if path.parent().is_none() {
        return Err(Flaw::new("the root directory itself cannot be mounted"));
    }
    Ok(text)
}

fn filled(text: String) -> Result<String, Flaw> {
    if text.is_empty() { Err(Flaw::new("this text is empty")) } else { Ok(text) }
}

fn no_nul(text: String) -> Result<String, Flaw> {
    if text.contains('\0') {
        return Err(Flaw::new("this text holds a NUL character, which ends text for the kernel"));
    }
    Ok(text)
}

// === impl Decode for addresses ===

impl Decode for SocketAddr {
    const WHAT: &'static str = "an address and port such as \"127.0.0.1:5454\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            text.parse().map_err(|_| {
                let flaw = Flaw::new(format!("{text:?} is not an address and port"));
                match text.rsplit_once(':') {
                    Some(("" | "*", port)) => flaw.help(format!(
                        "for all addresses of this machine write \"0.0.0.0:{port}\""
                    )),
                    Some(("localhost", port)) => flaw.help(format!("write \"127.0.0.1:{port}\"")),
                    Some((ip, port)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => {
                        flaw.help(format!("an IPv6 address is put in brackets: \"[{ip}]:{port}\""))
                    }
                    Some((host, port)) if host.parse::<IpAddr>().is_ok() => {
                        flaw.help(format!("{port:?} is not a port: 0 to 65535"))
                    }
                    Some(_) => flaw.help("names are not looked up: write an IP address"),
                    None => flaw.help("write IP:PORT, as in \"127.0.0.1:5454\" or \"[::1]:5454\""),
                }
            })
        })
    }
}

impl Decode for IpAddr {
    const WHAT: &'static str = "an IP address such as \"192.0.2.7\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            text.parse().map_err(|_| Flaw::new(format!("{text:?} is not an IP address")))
        })
    }
}
