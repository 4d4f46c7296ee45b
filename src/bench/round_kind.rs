//! The kinds of start that are measured.

use std::fmt;
use std::str::FromStr;

/// How a connection gets its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoundKind {
    /// Launched for it.
    Cold,
    /// From stock, fresh.
    Warm,
    /// From stock, used before.
    Reused,
    /// As `Reused`, with a connection into it that was made ahead.
    Hot,
    /// Past Ganger: the container, which is there all the time, is dialled by the client.
    Direct,
}

// === impl RoundKind ===

impl RoundKind {
    /// In the order in which they are measured.
    pub const ALL: [Self; 5] = [Self::Cold, Self::Warm, Self::Reused, Self::Hot, Self::Direct];

    /// The name of its series.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Reused => "reused",
            Self::Hot => "hot",
            Self::Direct => "direct",
        }
    }

    /// Whether a lease that was served so is of this kind.
    #[must_use]
    pub fn is(self, start: &str) -> bool {
        start == if self == Self::Hot { "reused" } else { self.as_str() }
    }
}

impl fmt::Display for RoundKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RoundKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("kinds are {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}
