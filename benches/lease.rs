//! The cost of a lease that is served from stock: the pool alone, over an engine
//! that is not asked for anything meanwhile. Single-threaded.

#![expect(clippy::expect_used, reason = "a failure is to end the benchmark")]

#[path = "support/costs.rs"]
mod costs;
#[path = "support/watched.rs"]
mod watched;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Throughput;
use ganger_pool::core::{Outcome, Policy, ServiceName};
use ganger_pool::discovery::{DaemonSpec, fixed};
use ganger_pool::testing::FakeEngine;
use ganger_pool::{History, Lease, Observer, Pool, ServiceOptions};
use tokio::runtime::{Builder, Runtime};
use watched::Watch;

const WARM: u32 = SIZES[0].0 * SIZES[0].1;
/// How often a lease is timed for its median.
const TIMED: u32 = 100_000;
const MEDIAN: Duration = Duration::from_micros(5);
const A_SECOND: f64 = 100_000.0;
/// Daemons, and containers on each: alone, and with as many that are leased as a large fleet has.
const SIZES: [(u32, u32); 2] = [(4, 4), (1000, 11)];

fn main() {
    let mut criterion = costs::criterion();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (pool, service) = stocked(&runtime, SIZES[0], Vec::new());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
    let lease = async || pool.lease(&service, deadline).await.expect("the stock is full");

    let mut group = criterion.benchmark_group("lease");
    group.throughput(Throughput::Elements(1));
    // Unused, because a used container is checked and the fake takes its time.
    group.bench_function("from stock and back", |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..iterations {
                    Lease::finish(lease().await, Outcome::Unused);
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("from stock, others held", |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(async {
                let mut held = Vec::new();
                for _ in 1..WARM {
                    held.push(lease().await);
                }
                let start = Instant::now();
                for _ in 0..iterations {
                    Lease::finish(lease().await, Outcome::Unused);
                }
                let time = start.elapsed();
                held.into_iter().for_each(|lease| Lease::finish(lease, Outcome::Unused));
                time
            })
        });
    });
    group.finish();
    let (median, rate) = runtime.block_on(times(&pool, &service));
    let target = Some((format!("< {MEDIAN:?}"), median < MEDIAN));
    costs::row("a lease from stock, the pool alone, p50", &format!("{median:?}"), target);
    let target = Some((format!(">= {A_SECOND}"), rate >= A_SECOND));
    costs::row(
        "leases a second, one after the other, each returned unused",
        &format!("{rate:.0}"),
        target,
    );
    let (observed, service) = stocked(&runtime, SIZES[0], vec![Arc::new(History::default())]);
    let (median, rate) = runtime.block_on(times(&observed, &service));
    costs::row("a lease from stock, with a history kept, p50", &format!("{median:?}"), None);
    costs::row("leases a second, with a history kept", &format!("{rate:.0}"), None);
    SIZES.iter().for_each(|size| compare_watched(&runtime, *size));
    criterion.final_summary();
}

/// Compares leases of a pool whose metrics are fed and read every second with those of one without
/// metrics. All but 16 containers are leased meanwhile.
fn compare_watched(runtime: &Runtime, size: (u32, u32)) {
    let watch = Watch::default();
    let pools = [Vec::new(), watch.observers()].map(|observers| {
        let (pool, service) = stocked(runtime, size, observers);
        (Arc::new(pool), service)
    });
    let (daemons, containers) = (size.0, size.0 * size.1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
    let mut held = Vec::new();
    for (pool, service) in &pools {
        runtime.block_on(async {
            for _ in SIZES[0].0 * SIZES[0].1..containers {
                held.push(pool.lease(service, deadline).await.expect("the stock is full"));
            }
        });
    }
    let _scrapes = watch.scrapes(&pools[1].0);
    let what = format!("a lease, of {containers} containers on {daemons} daemons,");
    watched::compare(&what, &[50, 99], |who, end, times| {
        let (pool, service) = &pools[who];
        runtime.block_on(turn(pool, service, end, times));
    });
    held.into_iter().for_each(|lease| Lease::finish(lease, Outcome::Unused));
}

/// Times leases, one after the other until the turn ends, each returned unused.
async fn turn(
    pool: &Pool<FakeEngine>,
    service: &ServiceName,
    end: Instant,
    times: &mut Vec<Duration>,
) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
    loop {
        let start = Instant::now();
        if start >= end {
            break;
        }
        let lease = pool.lease(service, deadline).await.expect("the stock is full");
        times.push(start.elapsed());
        Lease::finish(lease, Outcome::Unused);
    }
}

/// The median time of a lease, and how many there are in a second, one after the other, each
/// returned unused.
async fn times(pool: &Pool<FakeEngine>, service: &ServiceName) -> (Duration, f64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..TIMED {
        let start = Instant::now();
        let lease = pool.lease(service, deadline).await.expect("the stock is full");
        times.push(start.elapsed());
        Lease::finish(lease, Outcome::Unused);
    }
    let rate = f64::from(TIMED) / start.elapsed().as_secs_f64();
    times.sort_unstable();
    (times[times.len() / 2], rate)
}

/// A pool that launches nothing any more, with these observers. All that it may have is in
/// stock.
fn stocked(
    runtime: &Runtime,
    (daemons, containers): (u32, u32),
    observers: Vec<Arc<dyn Observer>>,
) -> (Pool<FakeEngine>, ServiceName) {
    let (service, warm) = (ServiceName::from("echo"), daemons * containers);
    let options = ServiceOptions {
        name: service.clone(),
        policy: Policy { warm, max: warm, ..Policy::default() },
        spec: Arc::new(1),
        start_timeout: Duration::from_secs(30),
    };
    let daemon = |n: u32| DaemonSpec {
        name: format!("d{n}").into(),
        endpoint: 0,
        max_containers: containers,
        tier: 0,
        max_launches: None,
    };
    let fleet = fixed((0..daemons).map(daemon).collect());
    let engine = FakeEngine::new(7);
    runtime.block_on(async {
        let pool =
            Pool::start_observed(vec![options], engine.clone(), engine.probe(), fleet, observers);
        pool.until(|snapshot| snapshot.settled() && snapshot.stocked()).await;
        (pool, service)
    })
}
