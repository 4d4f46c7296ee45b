//! The names of services, daemons and instances.

use std::fmt;

use super::decode::{Cx, Decode, Flaw};
use super::keys::Tell;
use super::tree::Node;

/// The name of a service, daemon, instance or network: 1 to 63 letters, digits,
/// `_`, `.` and `-`, the first a letter or digit. Fit for a container's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

// === impl Name ===

impl Name {
    /// The most characters of a name.
    pub const MAX: usize = 63;

    /// Checks a name.
    ///
    /// # Errors
    /// The mistake in it.
    pub fn new(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() {
            return Err("a name has at least one character".to_owned());
        }
        if name.len() > Self::MAX {
            return Err(format!(
                "a name has at most {} characters, this one {}",
                Self::MAX,
                name.len()
            ));
        }
        if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
            return Err(format!(
                "{odd:?} cannot be in a name: use letters, digits, `_`, `.` and `-`"
            ));
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(format!("a name starts with a letter or digit: {name:?} does not"));
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Decode for Name {
    const WHAT: &'static str = "a name such as \"echo\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |name: String| Self::new(name).map_err(Flaw::new))
    }
}
