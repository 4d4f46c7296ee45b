//! The drain of the whole pool.

use std::time::Instant;

use super::super::Refusal;
use super::{Action, Ledger, RetireReason, State};

// === impl Ledger ===

impl Ledger {
    pub(super) fn drain(&mut self, now: Instant) {
        self.draining = true;
        for id in self.service_ids() {
            self.refuse_all(id, &Refusal::Draining);
        }
        let launches: Vec<_> = self.containers.iter().map(|(id, c)| (*id, c.state)).collect();
        for (launch, state) in launches {
            match state {
                State::Idle | State::Unknown => self.retire(now, launch, RetireReason::Drain),
                State::Probing => self.actions.push(Action::Interrupt { launch }),
                _ => {}
            }
        }
        self.daemons.touch_all();
    }
}
