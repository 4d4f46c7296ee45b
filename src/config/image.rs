//! Names of images, by the grammar of Docker's `distribution/reference`.

use std::fmt;

use super::decode::{Cx, Decode, Flaw};
use super::keys::Tell;
use super::tree::Node;
use crate::registry::is_registry;

/// The longest name of an image, without tag and digest.
const LONGEST: usize = 255;

/// The name of an image: `[registry[:port]/]path[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(String);

// === impl ImageRef ===

impl ImageRef {
    /// Checks a name. A name without tag and digest gets the tag `latest`: a
    /// pull without a tag would fetch all tags.
    ///
    /// # Errors
    /// The mistake and, where it is known, what to write instead.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the name is empty".to_owned());
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(format!("leave out the `{scheme}://`: {rest:?}"));
        }
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("{odd:?} cannot be in the name of an image"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon before a slash belongs to the registry.
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        };
        check_repository(repository)?;
        tag.map(check_tag).transpose()?;
        digest.map(check_digest).transpose()?;
        let tag = if tag.is_none() && digest.is_none() { ":latest" } else { "" };
        Ok(Self(format!("{text}{tag}")))
    }

    /// Whether it has a digest.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.0.contains('@')
    }

    /// The whole name, with tag or digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Decode for ImageRef {
    const WHAT: &'static str = "the name of an image such as \"postgres:16\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            Self::new(&text)
                .map_err(|why| Flaw::new(format!("{text:?} is not the name of an image: {why}")))
        })
    }
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.len() > LONGEST {
        return Err(format!(
            "a name has at most {LONGEST} characters, this one {}",
            repository.len()
        ));
    }
    let path = match repository.split_once('/') {
        Some((first, path)) if is_registry(first) => {
            check_registry(first)?;
            path
        }
        _ => repository,
    };
    path.split('/').try_for_each(check_component)
}

fn check_registry(registry: &str) -> Result<(), String> {
    let bad = || Err(format!("{registry:?} is not a registry's host name and port"));
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return bad();
    }
    if let Some(ip) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return if ip.parse::<std::net::Ipv6Addr>().is_ok() { Ok(()) } else { bad() };
    }
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.split('.').all(label) { Ok(()) } else { bad() }
}

/// Runs of `a-z0-9`, parted by one `.`, one or two `_`, or any number of `-`.
fn check_component(component: &str) -> Result<(), String> {
    if component.is_empty() {
        return Err("a part of it is empty".to_owned());
    }
    if let Some(odd) = component.chars().find(|c| c.is_ascii_uppercase()) {
        let lower = component.to_lowercase();
        return Err(format!("{odd:?} is upper case; write {lower:?}"));
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(odd) = component.chars().find(|c| !inner(*c) && !"._-".contains(*c)) {
        return Err(format!("{odd:?} cannot be in {component:?}"));
    }
    let parted = |between: &str| {
        matches!(between, "" | "." | "_" | "__") || between.chars().all(|c| c == '-')
    };
    if !component.starts_with(inner)
        || !component.ends_with(inner)
        || !component.split(inner).all(parted)
    {
        return Err(format!(
            "{component:?} has `.`, `_` or `-` where letters or digits have to be"
        ));
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let well = tag.starts_with(word) && tag.chars().all(|c| word(c) || ".-".contains(c));
    if well && tag.len() <= 128 {
        return Ok(());
    }
    Err(format!("{tag:?} is not a tag"))
}

fn check_digest(digest: &str) -> Result<(), String> {
    let well = digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| "0123456789abcdef".contains(c)));
    if well { Ok(()) } else { Err("a digest is `sha256:` and 64 hexadecimal digits".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let full = format!("[::1]:5000/team/app__x:1.2@{digest}");
        let image = ImageRef::new(&full).unwrap();
        assert_eq!(image.as_str(), full);
        assert_eq!(ImageRef::new("localhost:5000/a").unwrap().as_str(), "localhost:5000/a:latest");
        let pinned = format!("a@{digest}");
        assert_eq!(ImageRef::new(&pinned).unwrap().as_str(), pinned);
    }

    #[test]
    fn good_names() {
        for name in
            ["postgres:16", "ganger.local/echo:1", "a/b/c", "Reg.example.org/x", "a--b", "x:_1"]
        {
            assert!(ImageRef::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn bad_names() {
        for name in [
            "",
            " ",
            "a b",
            "Postgres",
            "a:",
            "a:b:c",
            "a/",
            "/a",
            "a//b",
            "a___b",
            "a..b",
            "-a",
            "a-",
            "docker://a",
            "a@sha256:12",
            "a:-x",
            "host.:5000/a",
            "host:port/a",
            "ä",
            "a.b:/c",
            "@",
        ] {
            assert!(ImageRef::new(name).is_err(), "{name}");
        }
    }
}
