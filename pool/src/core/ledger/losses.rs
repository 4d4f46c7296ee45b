//! Losses: containers that end by themselves while they are in stock, long after they got
//! ready (those that end within the crash loop window are failures, see `Ledger::ended`).
//!
//! A service with losses serves its clients all the same, so none is refused for it, and
//! those that wait are launched for at once. Only launches for the stock are paced: after each
//! loss in a row, and then after each launch, there is a pause as after so many failures. A
//! row ends when a container serves a client, and when nothing was lost for a while.

use std::time::{Duration, Instant};

use super::{Action, Container, LaunchId, Ledger, SpecKey, Timer};
use crate::backoff::Backoff;

/// A loss so long after the one before begins another row: one now and then slows nothing.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The losses of a generation.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// How many there were in a row.
    in_a_row: u32,
    last: Option<Instant>,
    /// Nothing is launched for the stock until then.
    pub(super) retry_at: Option<Instant>,
}

// === impl Losses ===

impl Losses {
    /// How many there were in a row, as of now.
    fn count(&self, now: Instant) -> u32 {
        let recent = self.last.is_some_and(|at| now - at < FORGOTTEN);
        if recent { self.in_a_row } else { 0 }
    }
}

// === impl Ledger ===

impl Ledger {
    /// A container ended in stock by itself. Losses of containers that were launched before the
    /// last loss was known count as one with it: a machine that is short of memory for a moment
    /// ends several.
    pub(super) fn lost(&mut self, now: Instant, launch: LaunchId) {
        let Container { service: id, generation, born, .. } = self.containers[launch];
        let service = &mut self.services[id];
        let (name, Backoff { cap, .. }) = (service.name.clone(), service.policy.backoff);
        let often = service.policy.failing_after;
        let Some(streak) = service.failures_of(generation) else { return };
        let losses = &mut streak.losses;
        if losses.last.is_some_and(|at| born < at) {
            return;
        }
        losses.in_a_row = losses.count(now).saturating_add(1);
        losses.last = Some(now);
        if losses.in_a_row == often {
            self.actions.push(Action::Paced { service: name, generation, pause: cap });
        }
        self.pace(now, (id, generation));
    }

    /// Sets the pause before the next launch for the stock, while there are losses.
    pub(super) fn pace(&mut self, now: Instant, spec: SpecKey) {
        let service = &mut self.services[spec.0];
        let backoff = service.policy.backoff;
        let Some(streak) = service.failures_of(spec.1) else { return };
        let count = streak.losses.count(now);
        let until = (count > 0).then(|| now + backoff.after(count));
        if let Some(at) = std::mem::replace(&mut streak.losses.retry_at, until) {
            self.timers.remove(&(at, Timer::Stock(spec)));
        }
        if let Some(at) = until {
            self.timers.insert((at, Timer::Stock(spec)));
        }
    }

    /// A container of a generation has served a client, or has lived to do so.
    pub(super) fn served(&mut self, now: Instant, spec: SpecKey) {
        let Some(streak) = self.services[spec.0].failures_of(spec.1) else { return };
        streak.failed_early = 0;
        streak.losses.in_a_row = 0;
        if streak.losses.retry_at.is_some() {
            self.pace(now, spec);
        }
    }
}
