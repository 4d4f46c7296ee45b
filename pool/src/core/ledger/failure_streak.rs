//! Failures of one generation in a row.

use std::sync::Arc;
use std::time::Instant;

use super::losses::Losses;

/// Failures of a generation in a row, by its own fault.
#[derive(Debug, Default)]
pub(super) struct FailureStreak {
    /// Launches that failed in a row; those ordered before the last failure was
    /// known count as one with it.
    pub(super) failures: u32,
    /// Containers that were ready and ended within the crash loop window since one has served, or
    /// has lived to be leased.
    pub(super) failed_early: u32,
    pub(super) failed_at: Option<Instant>,
    /// Nothing is launched until then.
    pub(super) retry_at: Option<Instant>,
    pub(super) last_error: Option<Arc<str>>,
    pub(super) losses: Losses,
}

// === impl FailureStreak ===

impl FailureStreak {
    pub(super) const fn total(&self) -> u32 {
        self.failures + self.failed_early
    }

    /// How many of the ready containers that are to be kept may be launched now.
    pub(super) fn stock_wanted(&self, kept: u32) -> u32 {
        if self.losses.retry_at.is_some() { 0 } else { kept }
    }
}
