//! The names and numbers by which the ledger knows things.

use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$meta:meta])* $type:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// A service: what clients connect to.
    ServiceName
}

name! {
    /// A daemon: one container engine endpoint with a capacity.
    DaemonName
}

/// A service, within the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceId(u32);

/// A daemon, within the ledger, from when it joined until it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DaemonId(u32);

impl From<u32> for ServiceId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<ServiceId> for usize {
    fn from(id: ServiceId) -> Self {
        id.0 as Self
    }
}

impl From<u32> for DaemonId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<DaemonId> for usize {
    fn from(id: DaemonId) -> Self {
        id.0 as Self
    }
}

/// The id of a launch and of the container that it creates.
///
/// The ledger chooses it before the engine is called, so that it can resolve a lost
/// reply. It is unique within one boot of the process; the adapter makes it
/// unique between boots with the boot's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchId(pub u64);

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The version of a service's container spec. A changed spec is a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation that a service starts with.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A connection that waits for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// How many digits of an engine's id are shown.
const DIGITS: usize = 12;

/// How a container is named to the adapter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerKey {
    /// A launch of this boot. The adapter knows the name it gave it, even when
    /// the engine never replied.
    Launch(LaunchId),
    /// A container of an earlier boot, by the engine's own id.
    Stray(String),
}

impl fmt::Display for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch(id) => write!(f, "launch {id}"),
            Self::Stray(id) => f.write_str(short_id(id)),
        }
    }
}

/// An engine's id as people read it: 12 hexadecimal digits, as engines show them, after the
/// prefix of the algorithm (`sha256:`). Any other text stays as it is.
#[must_use]
pub fn short_id(id: &str) -> &str {
    let prefix = id.find(':').map_or(0, |colon| colon + 1);
    match id.get(prefix..) {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            id.get(..prefix + DIGITS).unwrap_or(id)
        }
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_by_its_first_twelve_digits() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(short_id(&id), "0123456789ab");
        assert_eq!(short_id(&format!("sha256:{id}")), "sha256:0123456789ab");
        for whole in ["", "c0ffee", "0123456789ab", "sha256:", "ganger-echo-1-2", "zwölfundmehr"] {
            assert_eq!(short_id(whole), whole);
        }
        assert_eq!(ContainerKey::Stray(id).to_string(), "0123456789ab");
        assert_eq!(ContainerKey::Stray("short".into()).to_string(), "short");
    }
}
