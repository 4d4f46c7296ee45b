//! Canaries: a new generation has a share of the leases before it takes over, and is
//! compared with the one before it, which has the rest.

use std::sync::Arc;

use super::super::{Outcome, Policy};

/// The leases of the new generation after which the rollout goes on.
pub(super) const ENOUGH: u32 = 20;
/// Fewer failures than this may be chance, whatever their share is.
const FEW: u32 = 3;
/// A lease, in what shares are counted in.
const LEASE: i64 = 1000;

/// The results of a generation that has a share of the leases.
#[derive(Debug, Default)]
pub(super) struct Canary {
    /// The leases that it is owed, in thousandths. The credit is negative after leases for
    /// which there was no other container.
    credit: i64,
    new: Tally,
    old: Tally,
}

/// Leases that have ended.
#[derive(Debug, Default)]
struct Tally {
    ended: u32,
    failed: u32,
}

/// The result of a canary so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    GoOn,
    RollBack(Arc<str>),
}

// === impl Canary ===

impl Canary {
    /// How many ready containers of the new generation are kept.
    pub(super) fn stock(policy: &Policy) -> u32 {
        policy.warm.saturating_mul(policy.canary).div_ceil(1000).max(1)
    }

    /// Whether one more may be launched beside `have` of `stock`, so that the canary
    /// does not exceed its share for long, however empty the rest of the stock is.
    pub(super) fn may_launch(&self, have: u32, stock: u32) -> bool {
        self.credit > (i64::from(have) - i64::from(stock)) * LEASE
    }

    /// Whether the next lease is the new generation's.
    pub(super) fn due(&self, policy: &Policy) -> bool {
        self.credit + i64::from(policy.canary) > 0
    }

    /// A lease was given, of the `new` generation or of the one before.
    pub(super) fn given(&mut self, policy: &Policy, new: bool) {
        let most = i64::from(Self::stock(policy)) * LEASE;
        self.credit = (self.credit + i64::from(policy.canary)).min(most);
        if new {
            self.credit -= LEASE;
        }
    }

    /// A lease ended.
    pub(super) fn ended(&mut self, new: bool, outcome: Outcome) {
        let tally = if new { &mut self.new } else { &mut self.old };
        tally.ended += 1;
        tally.failed += u32::from(matches!(outcome, Outcome::Failed | Outcome::FailedUnprovoked));
    }

    /// Leases fail for many reasons, some of them the clients': those affect both
    /// generations alike. The new generation is given up when its leases fail more than twice
    /// as often as those of the old one in the same time, counting one failure more for the old
    /// one than it had.
    pub(super) fn verdict(&self) -> Verdict {
        let (new, old) = (&self.new, &self.old);
        let share = u64::from(new.failed) * (u64::from(old.ended) + 1);
        let most = 2 * (u64::from(old.failed) + 1) * u64::from(new.ended);
        if new.failed >= FEW && share > most {
            let why = format!(
                "of {} connections to it {} failed, of {} to the one before {}",
                new.ended, new.failed, old.ended, old.failed
            );
            return Verdict::RollBack(why.into());
        }
        if new.ended >= ENOUGH { Verdict::GoOn } else { Verdict::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenth(warm: u32) -> Policy {
        Policy { warm, canary: 100, ..Policy::default() }
    }

    #[test]
    fn every_tenth_lease_is_its_own() {
        let (mut canary, policy) = (Canary::default(), tenth(4));
        let given = (0..40).map(|_| {
            let due = canary.due(&policy);
            canary.given(&policy, due);
            due
        });
        let given: Vec<_> = given.collect();
        assert!(
            given.chunks(10).all(|ten| ten.iter().filter(|due| **due).count() == 1),
            "{given:?}"
        );
    }

    #[test]
    fn one_that_has_had_too_much_is_not_launched_for_a_while() {
        let (mut canary, policy) = (Canary::default(), tenth(4));
        assert!(canary.may_launch(0, 1) && !canary.may_launch(1, 1));
        canary.given(&policy, true);
        assert!(canary.may_launch(0, 1), "one is kept for when it is due");
        canary.given(&policy, true);
        assert!(!canary.may_launch(0, 1));
        (0..8).for_each(|_| canary.given(&policy, false));
        assert!(!canary.may_launch(0, 1));
        canary.given(&policy, false);
        assert!(canary.may_launch(0, 1));
    }

    #[test]
    fn what_was_missed_is_not_made_up_for_at_once() {
        let (mut canary, policy) = (Canary::default(), tenth(4));
        (0..1000).for_each(|_| canary.given(&policy, false));
        assert!(canary.due(&policy));
        canary.given(&policy, true);
        canary.given(&policy, true);
        assert!(!canary.due(&policy));
    }

    #[test]
    fn a_larger_stock_has_a_share_of_its_size_and_may_be_behind_by_that() {
        assert_eq!([1, 10, 11, 40].map(|warm| Canary::stock(&tenth(warm))), [1, 1, 2, 4]);
        let (mut canary, policy) = (Canary::default(), tenth(40));
        (0..1000).for_each(|_| canary.given(&policy, false));
        let due = (0..6).map(|_| {
            let due = canary.due(&policy);
            canary.given(&policy, true);
            due
        });
        assert_eq!(due.collect::<Vec<_>>(), [true, true, true, true, true, false]);
        assert!(Canary { credit: -99, ..Canary::default() }.due(&policy), "all but owed");
        assert!(!Canary { credit: -100, ..Canary::default() }.due(&policy));
    }

    fn after(new: [u32; 2], old: [u32; 2]) -> Verdict {
        let tally = |[ended, failed]: [u32; 2]| Tally { ended, failed };
        Canary { credit: 0, new: tally(new), old: tally(old) }.verdict()
    }

    #[test]
    fn it_is_held_against_the_one_before() {
        assert_eq!(after([2, 2], [100, 0]), Verdict::Wait, "two may be chance");
        assert!(matches!(after([3, 3], [27, 0]), Verdict::RollBack(_)));
        assert!(matches!(after([20, 3], [180, 2]), Verdict::RollBack(_)));
        assert_eq!(after([20, 3], [180, 20]), Verdict::GoOn, "both have clients that hang up");
        assert_eq!(after([20, 20], [180, 180]), Verdict::GoOn, "as bad as it was");
        assert_eq!(after([ENOUGH - 1, 0], [180, 0]), Verdict::Wait);
        assert_eq!(after([3, 3], [0, 0]), Verdict::Wait, "nothing to be held against");
    }
}
