//! How many containers a service should have: *wanted* against *have*.

use super::{Counts, Policy, State};

/// How many launches a service lacks, before the daemons are asked for room.
///
/// Wanted are one container for each waiter and `warm` in stock. Containers in stock and
/// on their way there count against that. The total stays within `max`, which counts
/// all that exist, and launches go on one at a time while they fail.
pub(super) fn deficit(
    policy: &Policy,
    warm: u32,
    counts: &Counts,
    waiting: u32,
    struggling: bool,
) -> u32 {
    let wanted = warm.saturating_add(waiting);
    let coming = on_their_way(counts);
    let room = policy.max.saturating_sub(counts.total());
    let lacking = wanted.saturating_sub(coming + counts[State::Idle]).min(room);
    if struggling { lacking.min(1_u32.saturating_sub(launching(counts))) } else { lacking }
}

/// Containers that will be in stock if nothing goes wrong.
pub(super) fn on_their_way(counts: &Counts) -> u32 {
    launching(counts) + counts[State::Checking]
}

/// Launches under way.
pub(super) fn launching(counts: &Counts) -> u32 {
    counts[State::Launching] + counts[State::Probing]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(states: &[(State, u32)]) -> Counts {
        let mut counts = Counts::default();
        for (state, n) in states {
            (0..*n).for_each(|_| counts.shift(State::Removed, *state));
        }
        counts
    }

    #[test]
    fn waiters_come_on_top_of_the_stock() {
        let policy = Policy { warm: 2, max: 16, ..Policy::default() };
        assert_eq!(deficit(&policy, policy.warm, &counts(&[]), 0, false), 2);
        assert_eq!(deficit(&policy, policy.warm, &counts(&[(State::Launching, 2)]), 3, false), 3);
        assert_eq!(deficit(&policy, policy.warm, &counts(&[(State::Idle, 3)]), 0, false), 0);
    }

    #[test]
    fn max_counts_what_is_being_removed_and_what_nobody_knows() {
        let policy = Policy { warm: 2, max: 4, ..Policy::default() };
        let have = [(State::Leased, 1), (State::Retiring, 1), (State::Unknown, 1)];
        assert_eq!(deficit(&policy, policy.warm, &counts(&have), 5, false), 1);
    }

    #[test]
    fn one_at_a_time_while_launches_fail() {
        let policy = Policy { warm: 8, max: 16, ..Policy::default() };
        assert_eq!(deficit(&policy, policy.warm, &counts(&[]), 0, true), 1);
        assert_eq!(deficit(&policy, policy.warm, &counts(&[(State::Probing, 1)]), 0, true), 0);
    }
}
