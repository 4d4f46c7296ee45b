//! A stock that sizes itself, held against fixed ones in simulated time.

use std::time::Duration;

use ganger_pool::core::{Auto, Policy};
use ganger_pool::replay::{Arrival, ReplayDaemon, ReplayTally, replay};
use ganger_pool::testing::Rng;

/// Four launches at a time, each of which takes this long: a refill of 16 a second.
const LAUNCH: Duration = Duration::from_millis(250);
const DAEMON: ReplayDaemon = ReplayDaemon { capacity: 200, max_launches: 4, launch: LAUNCH };
/// 70 % of the refill.
const RATE: f64 = 11.2;
const AUTO: Auto = Auto { misses: 1000, min: 1, max: 64 };
const HOUR: f64 = 3600.0;

fn uniform(rng: &mut Rng) -> f64 {
    (rng.below(1 << 30) + 1) as f64 / f64::from(1 << 30)
}

/// Arrivals of a Poisson process of this rate at any time, `RATE` at most: a process at the
/// highest rate, thinned. Leases last a second on average.
fn poisson(seed: u64, seconds: f64, rate: impl Fn(f64) -> f64) -> Vec<Arrival> {
    let (mut rng, mut at, mut arrivals) = (Rng::new(seed), 0.0, Vec::new());
    loop {
        at -= uniform(&mut rng).ln() / RATE;
        if at > seconds {
            return arrivals;
        }
        let held = Duration::from_secs_f64(-uniform(&mut rng).ln());
        if uniform(&mut rng) * RATE <= rate(at) {
            arrivals.push(Arrival { at: Duration::from_secs_f64(at), held });
        }
    }
}

fn policy(warm: u32) -> Policy {
    Policy { warm, max: 200, ..Policy::default() }
}

fn auto() -> Policy {
    Policy { auto: Some(AUTO), ..policy(AUTO.min) }
}

fn run(policy: &Policy, arrivals: &[Arrival]) -> ReplayTally {
    replay(policy, &[DAEMON], arrivals, Duration::from_secs(30))
}

/// The smallest fixed stock that meets 99.9 % of arrivals, which are all known here.
fn best_fixed(arrivals: &[Arrival]) -> ReplayTally {
    let (mut low, mut high) = (10, 18);
    let mut best = run(&policy(high), arrivals);
    assert!(best.hit_rate() >= 0.999, "{best:?}");
    while low < high {
        let warm = u32::midpoint(low, high);
        let tally = run(&policy(warm), arrivals);
        if tally.hit_rate() >= 0.999 {
            (best, high) = (tally, warm);
        } else {
            low = warm + 1;
        }
    }
    best
}

#[test]
fn poisson_arrivals_up_to_70_percent_of_refill_are_met_with_less_than_the_best_fixed_stock() {
    // From a tenth of the rate to the whole and back, as a day does, in an hour.
    let day = |at: f64| RATE * (0.55 - 0.45 * (at * std::f64::consts::TAU / HOUR).cos());
    let arrivals = poisson(1, HOUR, day);
    let (auto, fixed) = (run(&auto(), &arrivals), best_fixed(&arrivals));
    assert!(auto.hit_rate() >= 0.999, "{auto:?}");
    assert!(auto.ready < 0.8 * fixed.ready, "{auto:?} {fixed:?}");
}

#[test]
fn a_steady_demand_costs_hardly_more_than_the_best_fixed_stock() {
    let arrivals = poisson(1, 2.0 * HOUR, |_| RATE);
    let (auto, fixed) = (run(&auto(), &arrivals), best_fixed(&arrivals));
    assert!(auto.hit_rate() >= 0.999, "{auto:?}");
    assert!(auto.ready < 1.25 * fixed.ready, "{auto:?} {fixed:?}");
}

#[test]
fn bursts_are_met_and_forgotten() {
    // Twelve at once every minute, and in the end nobody for an hour.
    let at = |n: u64| Duration::from_secs(60 * (n / 12)) + Duration::from_millis(n % 12);
    let last = Arrival { at: Duration::from_secs(181 * 60), held: LAUNCH };
    let burst = (0..120 * 12).map(|n| Arrival { at: at(n), held: Duration::from_secs(1) });
    let arrivals: Vec<_> = burst.collect();
    let (bursts, lone) = (run(&auto(), &arrivals), run(&policy(1), &arrivals));
    assert!(bursts.hit_rate() > 0.95 && lone.hit_rate() < 0.1, "{bursts:?} {lone:?}");
    let after = run(&auto(), &[&arrivals[..], &[last]].concat());
    let quiet = after.ready - bursts.ready;
    assert!(quiet < 5.0 * HOUR, "{quiet} container-seconds in an hour");
}

#[test]
fn what_is_used_again_needs_fewer_launches() {
    let arrivals = poisson(3, HOUR, |_| RATE);
    let reused = run(&Policy { reuse: 1000, ..auto() }, &arrivals);
    let strict = run(&auto(), &arrivals);
    assert!(reused.hit_rate() > 0.998, "{reused:?}");
    assert!(reused.launches * 20 < strict.launches, "{reused:?} {strict:?}");
    // Containers that came back are in stock, too; without them in the account it would be
    // 1.95 times as much.
    assert!(reused.ready < 1.85 * strict.ready, "{reused:?} {strict:?}");
}

#[test]
fn a_replay_counts_what_happens() {
    // Two at once, one in stock: the second waits for the launch that the first caused.
    let second = Duration::from_secs(1);
    let both = [Arrival { at: second, held: second }; 2];
    let tally = run(&policy(1), &both);
    assert_eq!((tally.hits, tally.waited, tally.refused, tally.launches), (1, 1, 0, 3));
    assert_eq!(tally.mean_wait(), LAUNCH);
    // In stock: the first second; then from when the third is ready, for a second.
    assert!((tally.ready - 2.0).abs() < 1e-6, "{tally:?}");
    // Container-seconds: one container of 2 s, and two of 1.25 s each.
    assert!((tally.total - 4.5).abs() < 1e-6, "{tally:?}");
    let patience = Duration::from_millis(100);
    let tally = replay(&policy(1), &[DAEMON], &both, patience);
    assert_eq!((tally.hits, tally.waited, tally.refused), (1, 0, 1));
}
