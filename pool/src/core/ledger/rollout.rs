//! A rollout: its stage, and how many containers of the new generation it lacks.

use super::super::{Counts, Policy, Stage, sizing};
use super::canary::Canary;
use super::failure_streak::FailureStreak;
use super::{Generation, State};

/// A generation on its way to take the place of another.
#[derive(Debug)]
pub(super) struct Rollout {
    pub(super) to: Generation,
    pub(super) stage: Stage,
    pub(super) canary: Canary,
    /// The containers of the new generation.
    pub(super) counts: Counts,
    pub(super) streak: FailureStreak,
}

// === impl Rollout ===

impl Rollout {
    pub(super) fn new(to: Generation) -> Self {
        Self {
            to,
            stage: Stage::Trial,
            canary: Canary::default(),
            counts: Counts::default(),
            streak: FailureStreak::default(),
        }
    }

    /// Whether the new generation is what is launched.
    pub(super) fn taking_over(&self) -> bool {
        self.stage == Stage::TakingOver
    }

    /// How many ready containers of a canary are kept: no more than it has or may launch.
    pub(super) fn stock_wanted(&self, policy: &Policy) -> u32 {
        let (have, stock) = (have(&self.counts), Canary::stock(policy));
        if self.canary.may_launch(have, stock) { stock } else { have.min(stock) }
    }

    /// How many launches of the new generation lack, beside all containers of its service.
    pub(super) fn deficit(&self, policy: &Policy, all: &Counts, waiting: u32) -> u32 {
        if self.streak.retry_at.is_some() {
            return 0;
        }
        let room = policy.max.saturating_sub(all.total());
        self.lacks(policy, all, waiting).min(room)
    }

    /// The same, whatever `max` is.
    pub(super) fn lacks(&self, policy: &Policy, all: &Counts, waiting: u32) -> u32 {
        let struggling = self.streak.total() > 0;
        match self.stage {
            Stage::Trial => {
                let gone = self.counts[State::Retiring];
                return 1_u32.saturating_sub(self.counts.total() - gone);
            }
            Stage::Canary => {
                let stock = self.streak.stock_wanted(self.stock_wanted(policy));
                let one = have(&self.counts) < stock
                    && !(struggling && sizing::launching(&self.counts) > 0);
                return u32::from(one);
            }
            Stage::TakingOver => {}
        }
        let warm = self.streak.stock_wanted(policy.warm);
        let wanted = sizing::deficit(policy, warm, all, waiting, struggling);
        let missing = warm.saturating_sub(have(&self.counts));
        let above = have(all).saturating_sub(policy.warm.saturating_add(waiting));
        let surge = missing.min(policy.max_surge.max(1).saturating_sub(above));
        let surge = if struggling {
            surge.min(1_u32.saturating_sub(sizing::launching(&self.counts)))
        } else {
            surge
        };
        wanted.max(surge)
    }
}

/// The containers in stock or on their way there.
fn have(counts: &Counts) -> u32 {
    sizing::on_their_way(counts) + counts[State::Idle]
}
