//! Limits on engines of several kinds.

use super::*;

const LEARNT: Launches = Launches::Learnt { first: 4, most: 32 };

/// Launches go on without pause on an engine that takes `time` with so many in flight.
fn settle(limit: &mut Limit, time: impl Fn(f64) -> f64) -> u32 {
    for _ in 0..2000 {
        let in_flight = limit.get();
        let time = Duration::from_secs_f64(time(in_flight.into()));
        limit.took(ServiceId::from(0), time, in_flight == 1, in_flight);
    }
    limit.get()
}

#[test]
fn it_grows_where_more_are_as_fast_and_up_to_the_most() {
    let mut limit = Limit::new(LEARNT);
    assert_eq!(limit.get(), 4);
    assert_eq!(settle(&mut limit, |_| 0.2), 32);
}

#[test]
fn it_stays_where_more_are_only_slower() {
    // As measured: 0.22 s alone, 0.56 s four at a time, 1.97 s twelve at a time.
    let engine = |n: f64| 0.22 + 0.11 * (n - 1.0) + 0.005 * (n - 1.0).powi(2);
    for first in [1, 4, 20] {
        let mut limit = Limit::new(Launches::Learnt { first, most: 32 });
        limit.took(ServiceId::from(0), Duration::from_millis(220), true, 1);
        let settled = settle(&mut limit, engine);
        assert!((3..=6).contains(&settled), "{settled} from {first}");
    }
}

#[test]
fn it_shrinks_when_the_engine_gets_slow_and_learns_that_slow_is_usual() {
    let mut limit = Limit::new(LEARNT);
    settle(&mut limit, |n| 0.1 * n.max(8.0) / 8.0);
    let before = limit.get();
    assert!(before > 8, "{before}");
    // All ten times slower, one by one as well.
    let mut least = before;
    for _ in 0..2000 {
        let in_flight = limit.get();
        let time = Duration::from_secs_f64(f64::from(in_flight).max(8.0) / 8.0);
        limit.took(ServiceId::from(0), time, in_flight == 1, in_flight);
        least = least.min(limit.get());
    }
    assert_eq!(least, 1);
    assert!(limit.get() > 8, "{limit:?}");
}

#[test]
fn services_are_not_held_against_each_other() {
    let mut limit = Limit::new(LEARNT);
    for _ in 0..500 {
        let in_flight = limit.get();
        limit.took(ServiceId::from(0), Duration::from_millis(100), in_flight == 1, in_flight);
        limit.took(ServiceId::from(1), Duration::from_secs(5), in_flight == 1, in_flight);
    }
    assert_eq!(limit.get(), 32);
}

#[test]
fn few_show_nothing_and_one_bad_round_counts_once() {
    let slow = Duration::from_secs(9);
    let mut limit = Limit::new(Launches::Learnt { first: 8, most: 32 });
    limit.took(ServiceId::from(0), Duration::from_millis(100), true, 1);
    (0..100).for_each(|_| limit.took(ServiceId::from(0), Duration::from_millis(100), false, 7));
    assert_eq!(limit.get(), 8, "more were not tried");
    (0..100).for_each(|_| limit.took(ServiceId::from(0), slow, false, 3));
    assert_eq!(limit.get(), 8, "as slow with few: it is not their number");
    (0..7).for_each(|_| limit.took(ServiceId::from(0), slow, false, 7));
    assert_eq!(limit.get(), 7, "one decrease: {limit:?}");
    (0..9).for_each(|_| limit.took(ServiceId::from(0), slow, false, 4));
    assert_eq!(limit.get(), 5, "below its use as well: {limit:?}");
}

/// On an engine as measured: bursts with their beginnings and ends, when few are in flight.
#[test]
fn the_last_of_a_burst_did_not_go_on_alone() {
    struct Flying {
        left: f64,
        began: f64,
        alone: bool,
    }
    let slow = |n: f64| 0.22 + 0.11 * (n - 1.0) + 0.005 * (n - 1.0).powi(2);
    let mut limit = Limit::new(LEARNT);
    limit.took(ServiceId::from(0), Duration::from_millis(220), true, 1);
    for _ in 0..60 {
        let (mut wanted, mut now) = (40, 0.0_f64);
        let mut flying: Vec<Flying> = Vec::new();
        while wanted > 0 || !flying.is_empty() {
            while wanted > 0 && flying.len() < limit.get() as usize {
                flying.iter_mut().for_each(|other| other.alone = false);
                let left = 1.0 + 0.02 * f64::from(wanted % 7);
                flying.push(Flying { left, began: now, alone: flying.is_empty() });
                wanted -= 1;
            }
            let in_flight = flying.len();
            let least = |a: &&Flying, b: &&Flying| a.left.total_cmp(&b.left);
            let work = flying.iter().min_by(least).map_or(0.0, |next| next.left);
            now += work * slow(in_flight as f64);
            flying.iter_mut().for_each(|other| other.left -= work);
            let at = flying.iter().position(|other| other.left <= 0.0).unwrap();
            let Flying { began, alone, .. } = flying.remove(at);
            limit.took(
                ServiceId::from(0),
                Duration::from_secs_f64(now - began),
                alone,
                in_flight as u32,
            );
        }
    }
    assert!((2..=6).contains(&limit.get()), "{limit:?}");
}

#[test]
fn it_is_halved_where_several_fail_and_not_for_one() {
    let mut limit = Limit::new(Launches::Learnt { first: 8, most: 32 });
    limit.failed(1);
    assert_eq!(limit.get(), 8);
    (1..=8).rev().for_each(|in_flight| limit.failed(in_flight));
    assert_eq!(limit.get(), 4, "one decrease: {limit:?}");
    // Seven work, and it takes long until eight are tried again.
    let mut tried = 0;
    while limit.get() < 8 {
        tried += 1;
        limit.took(ServiceId::from(0), Duration::from_millis(100), false, limit.get());
    }
    assert!((500..1000).contains(&tried), "{tried}");
    (0..9).for_each(|_| limit.took(ServiceId::from(0), Duration::from_millis(100), false, 8));
    assert_eq!(limit.get(), 9, "they work now: {limit:?}");
}

#[test]
fn a_fixed_one_stays() {
    let mut limit = Limit::new(Launches::Fixed(3));
    settle(&mut limit, |_| 0.1);
    assert_eq!(limit.get(), 3);
    limit.renew(Launches::Fixed(2));
    assert_eq!(limit.get(), 2);
}
