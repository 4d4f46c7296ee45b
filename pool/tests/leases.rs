//! Leases from stock, in the queue, reused and given back.

#[path = "support/bed.rs"]
mod bed;

use std::collections::BTreeMap;
use std::time::Duration;

use bed::{Bed, clean, service};
use ganger_pool::Lease;
use ganger_pool::core::{Outcome, Policy, Refusal, StartKind, State};
use ganger_pool::testing::{FakeEngine, Gate, Op};
use tokio::sync::mpsc;
use tokio::time::Instant;

fn policy() -> Policy {
    Policy { warm: 2, max: 4, ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn a_lease_from_stock_is_warm_and_the_stock_is_refilled() {
    let bed = Bed::new(policy(), &[10]);
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    assert_eq!((lease.start(), lease.uses(), lease.max_uses()), (StartKind::Warm, 1, 1));
    assert_eq!(lease.ready(), 2, "it was one of the whole stock");
    let snapshot = bed.until(|s| s.stocked()).await;
    assert_eq!(snapshot.services[0].counts[State::Leased], 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_can_be_checked_at_once_is_in_stock_when_its_return_is_over() {
    let bed = Bed::new(Policy { warm: 1, max: 1, reuse: 9, ..Policy::default() }, &[10]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::CheckAtOnce, Gate::Ok);
    for uses in 1..=3 {
        let lease = bed.lease().await.unwrap();
        assert_eq!((lease.launch().0, lease.uses()), (1, uses));
        clean(lease);
        // Nothing was waited for since.
        assert_eq!(bed.pool.snapshot().services[0].counts[State::Idle], 1);
    }
    assert_eq!(bed.engine.calls("d1", Op::CheckAtOnce), 3);
    assert_eq!(bed.engine.calls("d1", Op::Check), 0);
    // A waiter gets it in the thread of the one before.
    let first = bed.lease().await.unwrap();
    let waiter = bed.queue();
    bed.until(|s| s.services[0].waiting == 1).await;
    clean(first);
    assert_eq!(waiter.await.unwrap().unwrap().launch().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_has_as_long_as_its_probe_says() {
    for (limit, launch) in [(10, 1), (2, 2)] {
        let bed = Bed::new(Policy { warm: 1, max: 1, reuse: 9, ..Policy::default() }, &[10]);
        bed.stocked().await;
        bed.engine.gate("d1", Op::Check, Gate::Slow(Duration::from_secs(3)));
        bed.engine.limit_checks(Duration::from_secs(limit));
        clean(bed.lease().await.unwrap());
        assert_eq!(bed.lease().await.unwrap().launch().0, launch, "{limit} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_fails_a_check_at_once_is_replaced_whatever_the_failure() {
    let bed = Bed::new(Policy { warm: 1, max: 1, reuse: 9, ..Policy::default() }, &[10]);
    bed.stocked().await;
    for (gate, launch) in [(Gate::Err, 1), (Gate::Panic, 2)] {
        bed.engine.gate("d1", Op::CheckAtOnce, gate);
        let lease = bed.lease().await.unwrap();
        assert_eq!(lease.launch().0, launch);
        clean(lease);
        assert_eq!(bed.pool.snapshot().services[0].counts[State::Idle], 0);
        bed.stocked().await;
    }
    assert_eq!(bed.engine.calls("d1", Op::Check), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_from_stock_does_not_wait_for_a_daemon_that_hangs() {
    let bed = Bed::new(policy(), &[10]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::Launch, Gate::Never);
    let before = tokio::time::Instant::now();
    let _lease = bed.lease().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_has_to_wait_is_told_its_place_and_nobody_else() {
    let bed = Bed::new(Policy { warm: 1, max: 1, ..policy() }, &[10]);
    bed.stocked().await;
    let (told, mut places) = mpsc::unbounded_channel();
    let ask = || {
        let (pool, told) = (bed.pool.clone(), told.clone());
        let deadline = Instant::now() + Duration::from_secs(30);
        tokio::spawn(async move {
            let queued = |place| told.send(place).unwrap();
            pool.lease_in_line(&service(), deadline, &queued).await
        })
    };
    let lease = ask().await.unwrap().unwrap();
    let first = ask();
    assert_eq!(places.recv().await, Some(1), "the first who waits is the next");
    let second = ask();
    assert_eq!(places.recv().await, Some(2));
    clean(lease);
    let third = ask();
    assert_eq!(places.recv().await, Some(3));
    clean(first.await.unwrap().unwrap());
    clean(second.await.unwrap().unwrap());
    clean(third.await.unwrap().unwrap());
    assert!(places.try_recv().is_err(), "each is told once");
}

#[tokio::test(start_paused = true)]
async fn strict_gives_every_connection_a_container_of_its_own() {
    let bed = Bed::new(policy(), &[10]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let lease = bed.lease().await.unwrap();
        assert!(seen.insert(lease.launch()), "{} served twice", lease.launch());
        clean(lease);
    }
}

#[tokio::test(start_paused = true)]
async fn reuse_leases_a_container_so_often_and_no_more() {
    let bed = Bed::new(Policy { reuse: 3, ..policy() }, &[10]);
    let mut uses: BTreeMap<_, u32> = BTreeMap::new();
    for _ in 0..50 {
        let lease = bed.lease().await.unwrap();
        *uses.entry(lease.launch()).or_default() += 1;
        let reused = lease.uses() > 1;
        assert_eq!(lease.start() == StartKind::Reused, reused);
        clean(lease);
    }
    assert!(uses.values().all(|uses| *uses <= 4), "{uses:?}");
    assert!(uses.values().any(|uses| *uses == 4), "{uses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_failed_or_was_dropped_is_not_reused() {
    let bed = Bed::new(Policy { reuse: 9, ..policy() }, &[10]);
    bed.stocked().await;
    let failed = bed.lease().await.unwrap();
    let dropped = bed.lease().await.unwrap();
    let gone = [failed.launch(), dropped.launch()];
    Lease::finish(failed, Outcome::Failed);
    drop(dropped);
    for _ in 0..20 {
        let lease = bed.lease().await.unwrap();
        assert!(!gone.contains(&lease.launch()));
        clean(lease);
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ran_out_of_memory_while_leased_is_not_reused() {
    let bed = Bed::new(Policy { reuse: 9, warm: 1, ..policy() }, &[10]);
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    let launch = lease.launch();
    bed.engine.exhaust(lease.handle());
    // A task of its own takes in the event, while the lease is still held.
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    clean(lease);
    bed.stocked().await;
    assert_ne!(bed.lease().await.unwrap().launch(), launch);
}

#[tokio::test(start_paused = true)]
async fn a_container_too_old_is_retired_from_stock() {
    let max_age = Some(Duration::from_secs(60));
    let bed = Bed::new(Policy { warm: 1, max_age, ..policy() }, &[10]);
    bed.stocked().await;
    let first = bed.engine.real("d1");
    let aged = |s: &ganger_pool::core::Snapshot| {
        s.services[0].totals.retired.values().sum::<u64>() == 1 && s.stocked()
    };
    bed.until(aged).await;
    bed.until(|s| s.services[0].counts[State::Retiring] == 0).await;
    assert_ne!(bed.engine.real("d1"), first);
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_when_a_container_is_ready() {
    let engine = ganger_pool::testing::FakeEngine::new(3);
    engine.gate("d1", Op::Ready, Gate::Slow(Duration::from_secs(20)));
    let max_age = Some(Duration::from_secs(10));
    let bed = Bed::with(&engine, Policy { warm: 1, max_age, ..policy() }, &[10]);
    bed.stocked().await;
    assert_eq!(engine.launched(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_oldest_first_by_whatever_comes_first() {
    let bed = Bed::new(Policy { warm: 0, max: 1, reuse: 9, ..policy() }, &[10]);
    let held = bed.lease().await.unwrap();
    assert_eq!(held.start(), StartKind::Cold);
    let first = bed.queue();
    bed.waiting(1).await;
    let second = bed.queue();
    bed.waiting(2).await;
    clean(held);
    let lease = first.await.unwrap().unwrap();
    assert_eq!(lease.start(), StartKind::Reused);
    assert!(!second.is_finished());
    clean(lease);
    clean(second.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_leaves_the_queue_at_once() {
    let bed = Bed::new(Policy { warm: 0, max: 1, ..policy() }, &[10]);
    let _held = bed.lease().await.unwrap();
    let waiter = bed.queue();
    bed.waiting(1).await;
    waiter.abort();
    bed.waiting(0).await;
    assert_eq!(bed.pool.snapshot().services[0].totals.abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_launch_whose_client_left_goes_to_stock() {
    let bed = Bed::new(Policy { warm: 0, max: 1, ..policy() }, &[10]);
    bed.until(|s| s.settled()).await;
    let waiter = bed.queue();
    bed.waiting(1).await;
    waiter.abort();
    bed.until(|s| s.services[0].counts[State::Idle] == 1).await;
    // Nobody wants it: it is kept for a while, then it is surplus.
    bed.until(|s| s.empty()).await;
}

#[tokio::test(start_paused = true)]
async fn past_the_queue_length_connections_are_refused_at_once() {
    let bed = Bed::new(Policy { warm: 0, max: 1, queue_length: 2, ..policy() }, &[10]);
    let _held = bed.lease().await.unwrap();
    let _queued = [bed.queue(), bed.queue()];
    bed.waiting(2).await;
    let before = tokio::time::Instant::now();
    assert_eq!(bed.lease().await.unwrap_err(), Refusal::QueueFull);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_launch_takes_no_place_in_the_queue() {
    let bed = Bed::new(Policy { warm: 0, max: 8, queue_length: 1, ..policy() }, &[6]);
    bed.until(|s| s.settled()).await;
    // Six can be launched, one may wait for another to end, one is refused.
    let clients: Vec<_> = (0..8).map(|_| bed.queue()).collect();
    let snapshot = bed.until(|s| s.services[0].counts[State::Leased] == 6).await;
    assert_eq!(snapshot.services[0].waiting, 1);
    assert_eq!(snapshot.services[0].totals.refused.get("queue_full"), Some(&1));
    assert!(clients.iter().any(|client| !client.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_refused_at_its_deadline() {
    let bed = Bed::new(Policy { warm: 0, max: 1, ..policy() }, &[10]);
    let _held = bed.lease().await.unwrap();
    let before = tokio::time::Instant::now();
    let refusal = bed.lease().await.unwrap_err();
    assert_eq!(refusal, Refusal::TimedOut { reason: None });
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_is_refused() {
    let bed = Bed::new(policy(), &[10]);
    let deadline = tokio::time::Instant::now();
    let refusal = bed.pool.lease(&"other".into(), deadline).await.unwrap_err();
    assert_eq!(refusal, Refusal::UnknownService);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_state_looks_seldom_and_misses_no_last_one() {
    let bed = Bed::new(policy(), &[10]);
    bed.stocked().await;
    let mut looks = 0;
    let all = bed.until(|s| {
        looks += 1;
        s.services[0].totals.leases.get(&StartKind::Warm) == Some(&1000)
    });
    let leases = async {
        for _ in 0..1000 {
            Lease::finish(bed.lease().await.unwrap(), Outcome::Unused);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(all, leases);
    assert!(looks < 10, "{looks}");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_granted_to_who_leaves_in_that_moment_goes_back() {
    let bed = Bed::new(Policy { warm: 0, max: 1, ..Policy::default() }, &[1]);
    bed.until(|s| s.settled()).await;
    let mut lease = Box::pin(bed.lease());
    tokio::select! {
        biased;
        _ = &mut lease => panic!("there was no stock"),
        () = std::future::ready(()) => {}
    }
    // Granted, and not looked at.
    bed.until(|s| s.services[0].counts[State::Leased] == 1).await;
    drop(lease);
    bed.until(|s| s.services[0].counts[State::Idle] == 1).await;
    assert_eq!(bed.lease().await.unwrap().uses(), 1, "it was never used");
}

#[tokio::test(start_paused = true)]
async fn the_nearest_deadline_is_kept_whatever_was_waited_for_before() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Launch, Gate::Slow(Duration::from_secs(3600)));
    let bed = Bed::with(&engine, Policy { warm: 0, max: 1, ..Policy::default() }, &[8]);
    bed.until(|s| s.settled()).await;
    let began = Instant::now();
    let refused_after = |seconds| {
        let (pool, deadline) = (bed.pool.clone(), began + Duration::from_secs(seconds));
        tokio::spawn(async move {
            let refusal = pool.lease(&service(), deadline).await.unwrap_err();
            assert!(matches!(refusal, Refusal::TimedOut { .. }), "{refusal}");
            began.elapsed().as_secs()
        })
    };
    // Each is asked for while the timer sleeps to the one before.
    let mut waiting = Vec::new();
    for (n, seconds) in (1..).zip([60, 20, 40, 5]) {
        waiting.push(refused_after(seconds));
        bed.waiting(n).await;
    }
    let mut kept = Vec::new();
    for refused in waiting {
        kept.push(refused.await.unwrap());
    }
    assert_eq!(kept, [60, 20, 40, 5]);
}
