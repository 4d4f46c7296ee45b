//! The states of a container and the way between them.

use std::fmt;
use std::ops::Index;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Being created and started. Counts as a launch in flight.
    Launching,
    /// Started; has yet to prove that it can serve.
    Probing,
    /// In stock: ready and leased to nobody.
    Idle,
    /// Held by one connection.
    Leased,
    /// Has yet to prove that it can serve again: it came back from a lease, or its
    /// daemon is unreachable.
    Checking,
    /// Its daemon is unreachable and it has proved nothing. Not leased, still counted.
    Unknown,
    /// Being removed, until its removal is confirmed.
    Retiring,
    /// Gone. No container is kept in this state.
    Removed,
}

/// How many containers are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u32; State::COUNTED]);

/// How far a rollout is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A first container is launched beside the old ones, and has yet to get ready.
    #[default]
    Trial,
    /// The new generation has a share of the leases, and is judged by it.
    Canary,
    /// The new generation replaces the old one.
    TakingOver,
}

// === impl State ===

impl State {
    /// The states that count against capacity: all but `Removed`.
    pub const ALL: [Self; Self::COUNTED] = [
        Self::Launching,
        Self::Probing,
        Self::Idle,
        Self::Leased,
        Self::Checking,
        Self::Unknown,
        Self::Retiring,
    ];
    const COUNTED: usize = 7;

    /// Whether a container may go from this state straight to `to`.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        match self {
            Self::Launching => matches!(to, Self::Probing | Self::Retiring),
            Self::Probing => matches!(to, Self::Idle | Self::Unknown | Self::Retiring),
            Self::Checking => matches!(to, Self::Idle | Self::Unknown | Self::Retiring),
            Self::Idle => {
                matches!(to, Self::Leased | Self::Checking | Self::Unknown | Self::Retiring)
            }
            // To `Idle` or `Unknown` only when the connection left before it was told; else to
            // `Checking`, or to `Retiring` where it is not used again.
            Self::Leased => {
                matches!(to, Self::Checking | Self::Idle | Self::Unknown | Self::Retiring)
            }
            Self::Unknown => matches!(to, Self::Idle | Self::Retiring),
            Self::Retiring => matches!(to, Self::Removed),
            Self::Removed => false,
        }
    }

    /// Whether the container has yet to get ready for the first time.
    #[must_use]
    pub const fn is_launch(self) -> bool {
        matches!(self, Self::Launching | Self::Probing)
    }

    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Probing => "probing",
            Self::Idle => "idle",
            Self::Leased => "leased",
            Self::Checking => "checking",
            Self::Unknown => "unknown",
            Self::Retiring => "retiring",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Stage ===

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trial => "trial",
            Self::Canary => "canary",
            Self::TakingOver => "taking over",
        })
    }
}

// === impl Counts ===

impl Counts {
    /// The sum over all states, which counts against capacity.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// These counts less `part`, which is a part of them.
    pub(super) fn without(&self, part: &Self) -> Self {
        let mut rest = *self;
        rest.0.iter_mut().zip(part.0).for_each(|(all, some)| *all = all.saturating_sub(some));
        rest
    }

    /// A container went from one state to another; `Removed` is not counted.
    pub(super) fn shift(&mut self, from: State, to: State) {
        if let Some(count) = self.0.get_mut(from as usize) {
            debug_assert!(*count > 0, "more containers left {from} than entered it");
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.0.get_mut(to as usize) {
            *count += 1;
        }
    }
}

impl Index<State> for Counts {
    type Output = u32;

    fn index(&self, state: State) -> &u32 {
        self.0.get(state as usize).unwrap_or(&0)
    }
}
