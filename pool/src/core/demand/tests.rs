//! The estimator against quantiles that are known, and against demand that changes.

use super::*;

const AUTO: Auto = Auto { misses: 1000, min: 1, max: 64 };
const LEAD: Duration = Duration::from_millis(250);

/// A time to start from.
fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[test]
fn quantiles_are_those_of_tables() {
    // P(D >= s) of Poisson: 1 - ppois(s - 1, mean).
    for (mean, misses, stock) in [
        (1.0, 1e-3, 6),
        (2.8, 1e-3, 10),
        (10.0, 1e-3, 22),
        (0.01, 1e-3, 2),
        (0.002, 1e-3, 2),
        (0.0005, 1e-3, 1),
        (100.0, 1e-2, 125),
        (4.0, 0.5, 5),
    ] {
        assert_eq!(quantile(mean, mean, misses, 1000), stock, "Poisson of {mean}, {misses}");
    }
    // Where the chance of no demand at all is too small for a number.
    for (mean, stock) in [(735.0, 832), (740.0, 838), (744.0, 842), (1000.0, 1113)] {
        assert_eq!(quantile(mean, mean, 2.5e-4, 5000), stock, "Poisson of {mean}");
    }
    assert_eq!(quantile(1000.0, 1500.0, 1e-3, 5000), 1124);
    // Geometric, which is negative binomial of size 1: P(D >= s) = (mean / (1 + mean))^s.
    for (mean, misses, stock) in [(1.0, 1e-3, 10), (3.0, 1e-2, 17), (9.0, 1e-3, 66)] {
        assert_eq!(quantile(mean, mean * (1.0 + mean), misses, 1000), stock, "{mean}");
    }
    assert_eq!(quantile(5.0, 5.0, 1e-3, 3), 3, "never more than what there may be");
    assert_eq!(quantile(1e6, 2e6, 1e-3, 50), 50, "nor of a large one");
    assert_eq!(quantile(0.0, 0.0, 1e-3, 50), 0);
}

/// Demand after so many seconds of arrivals at these distances, each launch taking `LEAD`.
fn learnt(gaps: impl Iterator<Item = f64>, seconds: f64) -> (Demand, Instant) {
    let (mut demand, start) = (Demand::default(), start());
    demand.launched(LEAD);
    let mut at = 0.0;
    for gap in gaps {
        at += gap;
        if at > seconds {
            break;
        }
        demand.arrived(start + Duration::from_secs_f64(at));
        demand.launched(LEAD);
    }
    demand.advance(start + Duration::from_secs_f64(seconds));
    (demand, start + Duration::from_secs_f64(seconds))
}

/// Distances of Poisson arrivals, from a generator of our own that is good enough.
fn poisson(rate: f64) -> impl Iterator<Item = f64> {
    let mut state = 7_u64;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform =
            f64::from(u32::try_from(state >> 32).unwrap_or(0) / 2 + 1) / f64::from(1_u32 << 31);
        -uniform.ln() / rate
    })
}

#[test]
fn poisson_arrivals_want_the_quantile_of_their_rate() {
    let (demand, _) = learnt(poisson(10.0), 1000.0);
    assert!((demand.counts.mean() - 2.5).abs() < 0.3, "{demand:?}");
    assert!(demand.dispersion() < 1.2, "{demand:?}");
    let exact = quantile(2.5, 2.5, 1e-3 * AIM, 64);
    assert!(demand.stock(&AUTO).abs_diff(exact) <= 1, "{}, {exact}", demand.stock(&AUTO));
}

#[test]
fn bursts_want_more_than_their_rate_says() {
    let burst = |n: u64| if n.is_multiple_of(20) { 10.0 } else { 0.001 };
    let (demand, _) = learnt((1..).map(burst), 1000.0);
    assert!(demand.dispersion() > 10.0, "{demand:?}");
    assert!(demand.stock(&AUTO) >= 18, "{}", demand.stock(&AUTO));
}

#[test]
fn what_comes_back_in_time_is_no_demand() {
    let (mut demand, start) = (Demand::default(), start());
    demand.launched(LEAD);
    for n in 0..10_000 {
        demand.arrived(start + Duration::from_millis(20 * n));
        demand.came_back();
    }
    assert_eq!(demand.stock(&AUTO), quantile(1.0, 1.0, 1e-3 * AIM, 64));
}

#[test]
fn more_is_wanted_at_once_and_less_after_a_while() {
    let (mut demand, calm) = learnt(std::iter::repeat(2.0), 600.0);
    let hold = Duration::from_secs(30);
    let few = demand.wanted(calm, &AUTO, 1, hold);
    assert!(few <= 4, "{few}");
    let mut now = calm;
    for _ in 0..40 {
        now += Duration::from_millis(25);
        demand.arrived(now);
    }
    let many = demand.wanted(now, &AUTO, few, hold);
    assert!(many >= 12, "{many}");
    let (mut warm, mut seen) = (many, Vec::new());
    for second in 1..=3600 {
        warm = demand.wanted(now + Duration::from_secs(second), &AUTO, warm, hold);
        assert!(second >= 30 || warm >= many, "{warm} after {second} s");
        // The last windows of the rush end in the first seconds.
        seen.extend((second > 5).then_some(warm));
    }
    assert!(seen.is_sorted_by(|a, b| a >= b), "{seen:?}");
    assert_eq!(warm, 1, "{demand:?}");
}

#[test]
fn bounds_that_change_hold_at_once() {
    let (mut demand, now) = learnt(poisson(10.0), 300.0);
    let hold = Duration::from_secs(30);
    assert_eq!(demand.wanted(now, &AUTO, 40, hold), 40);
    let narrow = Auto { max: 3, min: 0, ..AUTO };
    assert_eq!(demand.wanted(now, &narrow, 40, hold), 3);
    // Less has been enough since, but what was wanted before is more than there may be.
    let (mut demand, now) = learnt(std::iter::repeat(2.0), 600.0);
    demand.lower = Some((now, 9));
    assert_eq!(demand.wanted(now, &Auto { max: 3, min: 0, misses: 90_000 }, 3, hold), 3);
}

#[test]
fn lead_times_that_vary_want_more_and_one_that_is_odd_does_not() {
    let steady = learnt(poisson(10.0), 300.0).0.stock(&AUTO);
    let (mut demand, _) = learnt(poisson(10.0), 300.0);
    (0..64).for_each(|n| demand.launched(LEAD * (n % 2) * 2));
    assert!(demand.stock(&AUTO) > steady, "{} {steady}", demand.stock(&AUTO));
    let (mut demand, _) = learnt(poisson(10.0), 300.0);
    demand.launched(Duration::from_secs(600));
    assert!(demand.stock(&AUTO) <= steady + 2, "{} {steady}", demand.stock(&AUTO));
}

#[test]
fn windows_follow_the_lead_time() {
    let (mut demand, start) = learnt(poisson(10.0), 300.0);
    assert_eq!(demand.window, LEAD);
    let rate = |demand: &Demand| demand.counts.mean() / demand.window.as_secs_f64();
    let before = rate(&demand);
    (0..8192).for_each(|_| demand.launched(LEAD * 4));
    demand.advance(start + LEAD);
    assert!(demand.window > LEAD * 3, "{:?}", demand.window);
    assert!((rate(&demand) - before).abs() < 0.1 * before, "{before} {demand:?}");
}
