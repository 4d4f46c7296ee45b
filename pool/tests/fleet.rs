//! Capacity, placement, daemons that come, fail and go.

#[path = "support/bed.rs"]
mod bed;

use std::time::Duration;

use bed::{Bed, clean, service};
use ganger_pool::Lease;
use ganger_pool::core::{Outcome, Policy, Refusal, State};
use ganger_pool::discovery::{DaemonSpec, fixed};
use ganger_pool::testing::{FakeEngine, Gate, Op};
use tokio::time::Instant;

fn policy() -> Policy {
    Policy { warm: 1, max: 64, ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn connections_spread_by_share_of_capacity_and_never_beyond_it() {
    let bed = Bed::new(Policy { warm: 0, ..policy() }, &[4, 8, 12]);
    let queued: Vec<_> = (0..24).map(|_| bed.queue()).collect();
    let mut leases = Vec::new();
    for waiter in queued {
        leases.push(waiter.await.unwrap().unwrap());
    }
    let on = |name: &str| leases.iter().filter(|l| l.daemon().as_str() == name).count();
    assert_eq!((on("d1"), on("d2"), on("d3")), (4, 8, 12));
    let next = bed.queue();
    bed.waiting(1).await;
    clean(leases.pop().unwrap());
    clean(next.await.unwrap().unwrap());
    let peaks = ["d1", "d2", "d3"].map(|name| bed.engine.peak(name));
    assert_eq!(peaks, [4, 8, 12]);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_boot_left_is_removed_before_the_pool_is_settled() {
    let engine = FakeEngine::new(1);
    engine.add_stray("d1", "0123456789ab");
    let bed = Bed::with(&engine, policy(), &[2]);
    bed.until(|s| s.settled()).await;
    let stray = |key: &ganger_pool::core::ContainerKey| key.to_string() == "0123456789ab";
    assert!(!engine.real("d1").iter().any(stray));
}

#[tokio::test(start_paused = true)]
async fn strays_count_against_capacity_until_they_are_gone() {
    let engine = FakeEngine::new(1);
    (0..3).for_each(|n| engine.add_stray("d1", &format!("{n:012}")));
    engine.gate("d1", Op::Retire, Gate::Err);
    let bed = Bed::with(&engine, Policy { warm: 2, ..policy() }, &[3]);
    bed.until(|s| s.daemons[0].listed && s.daemons[0].strays == 3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.peak("d1"), 0, "launched on a full daemon");
    engine.gate("d1", Op::Retire, Gate::Ok);
    bed.stocked().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_costs_no_container() {
    let bed = Bed::new(policy(), &[1]);
    bed.engine.gate("d1", Op::Launch, Gate::Lost);
    bed.until(|s| s.services[0].totals.launch_failures == 2).await;
    bed.engine.gate("d1", Op::Launch, Gate::Ok);
    bed.stocked().await;
    assert_eq!(bed.engine.real("d1").len(), 1);
    assert_eq!(bed.engine.peak("d1"), 1, "its place was given away before it was gone");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_comes_to_life_late_keeps_its_place_until_it_is_gone() {
    let bed = Bed::new(policy(), &[1]);
    bed.engine.gate("d1", Op::Launch, Gate::Late(Duration::from_secs(300)));
    bed.until(|s| s.services[0].counts[State::Retiring] == 1).await;
    bed.engine.gate("d1", Op::Launch, Gate::Ok);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(bed.pool.snapshot().services[0].counts[State::Retiring], 1);
    bed.stocked().await;
    assert_eq!((bed.engine.real("d1").len(), bed.engine.peak("d1")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_repeated_until_it_is_confirmed() {
    let bed = Bed::new(policy(), &[4]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::Retire, Gate::Lost);
    clean(bed.lease().await.unwrap());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bed.pool.snapshot().services[0].counts[State::Retiring], 1);
    bed.engine.gate("d1", Op::Retire, Gate::Ok);
    bed.until(|s| s.services[0].counts[State::Retiring] == 0).await;
}

#[tokio::test(start_paused = true)]
async fn stock_of_a_daemon_that_is_down_is_not_leased_and_comes_back() {
    let bed = Bed::new(policy(), &[4]);
    bed.stocked().await;
    let before = bed.engine.real("d1");
    for op in [Op::List, Op::Connect] {
        bed.engine.gate("d1", op, Gate::Err);
    }
    bed.until(|s| s.daemons[0].down.is_some()).await;
    assert_eq!(bed.pool.snapshot().services[0].counts[State::Unknown], 1);
    let refusal = bed.lease().await.unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NoDaemon { reason } if reason.starts_with("d1: ")),
        "{refusal}"
    );
    for op in [Op::List, Op::Connect] {
        bed.engine.gate("d1", op, Gate::Ok);
    }
    bed.stocked().await;
    assert_eq!(bed.engine.real("d1"), before);
}

#[tokio::test(start_paused = true)]
async fn stock_of_a_daemon_that_is_down_is_leased_for_as_long_as_it_proves_itself() {
    let stale_after = Duration::from_secs(30);
    let bed = Bed::new(Policy { warm: 3, reuse: 1, stale_after, ..policy() }, &[4]);
    bed.stocked().await;
    let gate = |ops: &[Op], gate: Gate| ops.iter().for_each(|op| bed.engine.gate("d1", *op, gate));
    let down = [Op::List, Op::Connect, Op::Events, Op::Launch, Op::Retire];
    gate(&down, Gate::Err);
    bed.until(|s| s.daemons[0].down.is_some()).await;
    bed.until(|s| s.services[0].counts[State::Idle] == 3).await;
    assert_eq!(bed.engine.calls("d1", Op::Check), 3);

    // Again and again, and after a lease.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let asked = bed.engine.calls("d1", Op::Check);
    assert!((33..=36).contains(&asked), "{asked} checks in 300 s");
    clean(bed.lease().await.unwrap());
    bed.until(|s| s.services[0].counts[State::Idle] == 3).await;

    // Not where there is contact.
    gate(&down, Gate::Ok);
    bed.until(|s| s.daemons[0].listed).await;
    let asked = bed.engine.calls("d1", Op::Check);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(bed.engine.calls("d1", Op::Check), asked);

    // An unproven container is leased to nobody, and is in stock when contact is back.
    gate(&down, Gate::Err);
    bed.until(|s| s.daemons[0].down.is_some()).await;
    bed.until(|s| s.services[0].counts[State::Idle] == 3).await;
    let held = bed.lease().await.unwrap();
    gate(&[Op::Check], Gate::Err);
    bed.until(|s| s.services[0].counts[State::Unknown] == 2).await;
    let refusal = bed.queue();
    clean(held);
    assert!(matches!(refusal.await.unwrap(), Err(Refusal::NoDaemon { .. })));
    gate(&down, Gate::Ok);
    bed.stocked().await;
    assert_eq!(bed.engine.launched(), 4, "three to begin with, one for the one that was spent");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_takes_unusually_long_is_repeated_on_another_daemon() {
    let policy = Policy { warm: 0, max: 4, ..policy() };
    // The second is used for nothing else, as the first has room.
    let fleet = vec![bed::daemon("d1", 8), DaemonSpec { tier: 1, ..bed::daemon("d2", 8) }];
    let bed = Bed::over(&FakeEngine::new(7), vec![bed::options(policy)], fixed(fleet));
    bed.until(|s| s.settled()).await;
    for _ in 0..30 {
        clean(bed.lease().await.unwrap());
        bed.until(|s| s.services[0].counts.total() == 0).await;
    }
    bed.engine.gate("d1", Op::Launch, Gate::Slow(Duration::from_secs(9)));
    let since = Instant::now();
    let lease = bed.lease().await.unwrap();
    assert_eq!(lease.daemon().as_str(), "d2");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());

    // The container that came second is in stock, and is given to the next client.
    bed.until(|s| s.services[0].counts[State::Idle] == 1).await;
    clean(lease);
    let next = bed.lease().await.unwrap();
    assert_eq!(next.daemon().as_str(), "d1");
    clean(next);
    bed.until(|s| s.services[0].counts.total() == 0).await;

    // Nothing is repeated for a client that is gone.
    let before = bed.engine.launched();
    let gone = bed.queue();
    bed.until(|s| s.services[0].counts.total() == 1).await;
    gone.abort();
    bed.until(|s| s.services[0].counts[State::Idle] == 1).await;
    assert_eq!(bed.engine.launched(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn one_failed_call_condemns_no_daemon() {
    let bed = Bed::new(policy(), &[4, 4]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::List, Gate::Err);
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    bed.engine.gate("d1", Op::List, Gate::Ok);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bed.pool.snapshot().daemons.iter().all(|daemon| daemon.down.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_cannot_prepare_a_service_is_out_for_it_alone() {
    let engine = FakeEngine::new(3);
    engine.gate("d1", Op::Prepare, Gate::Err);
    let bed = Bed::with(&engine, Policy { warm: 3, ..policy() }, &[9, 3]);
    bed.stocked().await;
    assert_eq!((engine.peak("d1"), engine.peak("d2")), (0, 3));
    assert_eq!(bed.pool.snapshot().daemons[0].down, None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_someone_removed_is_replaced() {
    let bed = Bed::new(policy(), &[4]);
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    bed.stocked().await;
    // Only the list tells of it.
    bed.engine.kill(lease.handle(), false);
    clean(lease);
    bed.until(|s| s.services[0].counts.total() == 1 && s.stocked()).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_the_last_lease_ends() {
    let bed = Bed::new(Policy { warm: 3, ..policy() }, &[10]);
    bed.stocked().await;
    let held = bed.lease().await.unwrap();
    bed.pool.drain();
    assert_eq!(bed.lease().await.unwrap_err(), Refusal::Draining);
    bed.until(|s| s.services[0].counts.total() == 1).await;
    clean(held);
    bed.until(|s| s.empty()).await;
    assert!(bed.engine.real("d1").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_unanswered_preparation_takes_no_daemon_out() {
    let bed = Bed::new(policy(), &[8]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::Prepare, Gate::Never);
    // Asked again every half minute; unanswered for several times.
    tokio::time::sleep(Duration::from_secs(120)).await;
    for _ in 0..3 {
        clean(bed.lease().await.unwrap());
    }
    assert_eq!(bed.pool.snapshot().daemons[0].prepared.get(&service()), Some(&Ok(())));
}

#[tokio::test(start_paused = true)]
async fn room_on_daemons_that_cannot_run_a_service_lets_nobody_queue() {
    let engine = FakeEngine::new(3);
    engine.gate("d2", Op::Prepare, Gate::Err);
    let policy = Policy { warm: 0, max: 64, queue_length: 2, ..Policy::default() };
    let bed = Bed::with(&engine, policy, &[1, 50]);
    bed.until(|s| s.settled()).await;
    let _held = bed.lease().await.unwrap();
    let _clients: Vec<_> = (0..9).map(|_| bed.queue()).collect();
    let full = bed.until(|s| s.services[0].totals.refused.contains_key("queue_full"));
    assert_eq!(full.await.services[0].waiting, 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_refused_when_the_last_container_that_could_come_ends() {
    for clean_end in [true, false] {
        let bed = Bed::new(Policy { max: 1, reuse: 1, ..policy() }, &[4]);
        bed.stocked().await;
        let held = bed.lease().await.unwrap();
        let waiter = bed.queue();
        bed.waiting(1).await;
        for op in [Op::List, Op::Connect] {
            bed.engine.gate("d1", op, Gate::Err);
        }
        bed.until(|s| s.daemons[0].down.is_some()).await;
        assert!(!waiter.is_finished(), "it is to be used again");
        // The container goes back to a stock out of reach, or is not used again.
        let outcome = if clean_end { Outcome::Clean } else { Outcome::Failed };
        Lease::finish(held, outcome);
        let refusal = waiter.await.unwrap().unwrap_err();
        assert!(matches!(&refusal, Refusal::NoDaemon { .. }), "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_on_which_launches_hang_is_tried_with_one_at_a_time() {
    let engine = FakeEngine::new(9);
    engine.gate("d1", Op::Launch, Gate::Never);
    let policy = Policy { warm: 8, max: 32, ..Policy::default() };
    let bed = Bed::with(&engine, policy, &[16, 2]);
    bed.until(|s| s.daemons[0].degraded.is_some()).await;
    // Lists answer, so that there is contact; the other is too small for all.
    assert_eq!(bed.pool.snapshot().daemons[0].down, None);
    bed.until(|s| s.services[0].counts[State::Idle] == 2).await;
    let before = engine.calls("d1", Op::Launch);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let tried = engine.calls("d1", Op::Launch) - before;
    // A launch takes 10 s to fail, and a pause of up to 5 s follows.
    assert!(tried <= 12, "{tried}");
    engine.gate("d1", Op::Launch, Gate::Ok);
    bed.until(|s| s.daemons[0].degraded.is_none() && s.stocked()).await;
}
