//! Services that change while the pool runs: rollouts, their failure, and the rest.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/log.rs"]
mod log;

use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, clean, options, service};
use ganger_pool::core::{Generation, Policy, Refusal, RetireReason, ServiceView, Stage, State};
use ganger_pool::testing::{Gate, Op};
use ganger_pool::{Change, ServiceOptions};
use log::Log;

fn policy(warm: u32, max: u32) -> Policy {
    Policy { warm, max, ..Policy::default() }
}

fn running(spec: u32, policy: Policy) -> ServiceOptions<u32> {
    ServiceOptions { spec: Arc::new(spec), ..options(policy) }
}

impl Bed {
    fn reload(&self, options: ServiceOptions<u32>) -> Option<Change> {
        let changes = self.pool.reload(vec![options]);
        changes.first().map(|(_, change)| *change)
    }

    /// The spec that the next connection is given.
    async fn spec(&self) -> Result<u32, Refusal> {
        self.lease().await.map(|lease| lease.handle().spec)
    }

    fn view(&self) -> ServiceView {
        self.pool.snapshot().services.remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_spec_takes_over_and_the_stock_is_never_smaller_than_wanted() {
    let bed = Bed::new(policy(3, 8), &[8]);
    bed.stocked().await;
    let held = bed.lease().await.unwrap();
    bed.stocked().await;

    let change = bed.reload(running(2, policy(3, 8)));
    assert_eq!(change, Some(Change::RollingOut(Generation(2))));
    let mut smallest = u32::MAX;
    bed.until(|snapshot| {
        let service = &snapshot.services[0];
        smallest = smallest.min(service.counts[State::Idle]);
        service.rollout.is_none() && service.generation == Generation(2)
    })
    .await;
    assert_eq!(smallest, 3);
    // A leased container goes on, and is removed at its end.
    assert_eq!(held.handle().spec, 1);
    clean(held);
    for _ in 0..3 {
        assert_eq!(bed.spec().await, Ok(2));
    }
    bed.until(|s| s.services[0].totals.retired.contains_key(&RetireReason::Generation)).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_spec_that_does_not_get_ready_is_rolled_back() {
    let bed = Bed::new(policy(2, 8), &[8]);
    bed.stocked().await;
    let before = bed.view();
    bed.engine.gate_spec(2, Gate::Err);
    bed.reload(running(2, policy(2, 8)));
    bed.until(|s| s.services[0].rolled_back.is_some()).await;
    let after = bed.view();
    let (generation, reason) = after.rolled_back.expect("it was rolled back");
    assert_eq!(generation, Generation(2));
    assert!(reason.contains("did not get ready"), "{reason}");
    assert_eq!((after.rollout, after.generation), (None, before.generation));
    assert_eq!(after.counts[State::Idle], 2, "the old stock is what it was");
    assert_eq!(after.failing, None);
    assert_eq!(bed.spec().await, Ok(1));

    // A spec that is asked for again is tried again, and takes over when it works.
    bed.engine.gate_spec(2, Gate::Ok);
    assert_eq!(
        bed.reload(running(2, policy(2, 8))),
        Some(Change::RollingOut(Generation(3))),
        "no generation has the number of another"
    );
    bed.until(|s| s.services[0].rollout.is_none() && s.stocked()).await;
    assert_eq!(bed.spec().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_new_spec_that_no_daemon_can_run_is_rolled_back() {
    let bed = Bed::new(policy(2, 8), &[4, 4]);
    bed.stocked().await;
    bed.engine.gate_prepare("d1", "echo", Gate::Err);
    bed.engine.gate_prepare("d2", "echo", Gate::Err);
    bed.reload(running(2, policy(2, 8)));
    bed.until(|s| s.services[0].rolled_back.is_some()).await;
    let (_, reason) = bed.view().rolled_back.expect("it was rolled back");
    assert!(reason.contains("d1: Prepare was refused"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn one_that_begins_to_fail_half_way_is_rolled_back_too() {
    let bed = Bed::new(policy(4, 8), &[8]);
    bed.stocked().await;
    bed.reload(running(2, policy(4, 8)));
    bed.until(|s| {
        s.services[0].rollout.as_ref().is_some_and(|rollout| rollout.stage == Stage::TakingOver)
    })
    .await;
    bed.engine.gate_spec(2, Gate::Err);
    bed.until(|s| s.services[0].rolled_back.is_some()).await;
    bed.until(|s| s.stocked() && s.services[0].counts.total() == 4).await;
    assert_eq!(bed.spec().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn without_room_for_one_more_a_part_of_the_stock_makes_some() {
    for (max, capacity) in [(3, 8), (8, 3)] {
        let bed = Bed::new(policy(3, max), &[capacity]);
        bed.stocked().await;
        bed.reload(running(2, policy(3, max)));
        let mut smallest = u32::MAX;
        bed.until(|s| {
            smallest = smallest.min(s.services[0].counts[State::Idle]);
            s.services[0].rollout.is_none() && s.stocked()
        })
        .await;
        assert!(smallest > 0, "max {max}, capacity {capacity}: the stock was empty");
        assert_eq!(bed.view().generation, Generation(2));
        assert!(bed.engine.peak("d1") <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_spec_again_ends_a_rollout() {
    let bed = Bed::new(policy(2, 8), &[8]);
    bed.stocked().await;
    bed.engine.gate_spec(2, Gate::Never);
    bed.reload(running(2, policy(2, 8)));
    bed.until(|s| s.services[0].rollout.as_ref().is_some_and(|r| r.counts.total() > 0)).await;
    assert_eq!(bed.reload(running(1, policy(2, 8))), Some(Change::GoingBack(Generation(1))));
    bed.until(|s| s.services[0].rollout.is_none() && s.services[0].counts.total() == 2).await;
    assert_eq!(bed.view().generation, Generation(1));
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_is_used_from_now_on_and_launches_nothing_anew() {
    let bed = Bed::new(Policy { reuse: 3, ..policy(2, 8) }, &[8]);
    bed.stocked().await;
    clean(bed.lease().await.unwrap());
    // The used container, and the one that took its place.
    bed.until(|s| s.services[0].counts[State::Idle] == 3).await;
    let launched = bed.engine.launched();
    assert_eq!(bed.reload(running(1, Policy { reuse: 3, ..policy(2, 8) })), None);
    // A container used once is used as often as it may be now.
    assert_eq!(bed.reload(running(1, policy(2, 8))), Some(Change::Adjusted));
    bed.until(|s| s.services[0].totals.retired.contains_key(&RetireReason::Spent)).await;
    bed.until(|s| s.stocked()).await;
    assert_eq!(bed.engine.launched(), launched);
    let lease = bed.lease().await.unwrap();
    assert_eq!(lease.max_uses(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_removed_is_drained_and_may_come_back() {
    let bed = Bed::new(policy(2, 4), &[4]);
    bed.stocked().await;
    let held = bed.lease().await.unwrap();
    let _all: Vec<_> = [bed.lease().await.unwrap(), bed.lease().await.unwrap()].into();
    let last = bed.lease().await.unwrap();
    let waiter = bed.queue();
    bed.waiting(1).await;
    let changes = bed.pool.reload(Vec::new());
    assert_eq!(changes, [(service(), Change::Removed)]);
    assert_eq!(waiter.await.unwrap().unwrap_err(), Refusal::Draining);
    assert_eq!(bed.lease().await.unwrap_err(), Refusal::UnknownService);
    assert_eq!(bed.view().counts[State::Leased], 4, "what is leased goes on");

    // The service comes back before it is gone.
    clean(last);
    assert_eq!(bed.reload(running(5, policy(1, 4))), Some(Change::Added));
    clean(held);
    let lease = bed.lease().await.unwrap();
    assert_eq!(lease.handle().spec, 5);
    drop(_all);
    bed.until(|s| s.services[0].counts.total() == 2).await;
    drop(lease);
    bed.pool.reload(Vec::new());
    bed.until(|s| s.services.is_empty() && s.empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_added_is_prepared_where_there_is_contact() {
    let bed = Bed::new(policy(1, 4), &[8]);
    bed.stocked().await;
    let other = ServiceOptions { name: "other".into(), ..running(7, policy(2, 4)) };
    let changes = bed.pool.reload(vec![options(policy(1, 4)), other]);
    assert_eq!(changes, [("other".into(), Change::Added)]);
    bed.until(|s| s.service("other").is_some_and(ServiceView::stocked)).await;
    assert_eq!(bed.engine.calls("d1", Op::Connect), 1);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_was_away_during_a_rollout_gets_the_new_spec_as_well() {
    let bed = Bed::new(policy(4, 8), &[2, 2]);
    bed.stocked().await;
    let away = |gate| [Op::Connect, Op::List, Op::Retire].map(|op| bed.engine.gate("d2", op, gate));
    away(Gate::Err);
    bed.until(|s| s.daemons[1].down.is_some()).await;
    bed.reload(running(2, policy(4, 8)));
    bed.until(|s| s.services[0].rollout.is_none()).await;
    assert_eq!(bed.engine.real("d2").len(), 2, "what is there cannot be asked, or removed");
    away(Gate::Ok);
    bed.stocked().await;
    let leases = [bed.lease().await, bed.lease().await, bed.lease().await, bed.lease().await];
    let on_d2 = leases.iter().flatten().filter(|lease| lease.daemon() == &"d2".into());
    assert_eq!(on_d2.count(), 2);
    assert!(leases.iter().flatten().all(|lease| lease.handle().spec == 2));
}

#[tokio::test(start_paused = true)]
async fn a_stock_of_one_is_replaced_once_it_was_used() {
    let bed = Bed::new(policy(1, 1), &[8]);
    bed.stocked().await;
    bed.reload(running(2, policy(1, 1)));
    // Until the daemon is ready for it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    clean(bed.lease().await.unwrap());
    bed.until(|s| s.services[0].rollout.is_none() && s.stocked()).await;
    assert_eq!(bed.spec().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_service_with_more_clients_than_places_gets_its_new_spec() {
    for reuse in [0, 1000] {
        let all = Policy { reuse, queue_length: 64, ..policy(1, 2) };
        let bed = Bed::new(all.clone(), &[8]);
        bed.stocked().await;
        let busy: Vec<_> = (0..4)
            .map(|_| {
                let pool = bed.pool.clone();
                tokio::spawn(async move {
                    loop {
                        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
                        if let Ok(lease) = pool.lease(&service(), deadline).await {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            clean(lease);
                        }
                    }
                })
            })
            .collect();
        bed.until(|s| s.services[0].waiting > 0).await;
        bed.reload(running(2, all));
        bed.until(|s| s.services[0].rollout.is_none()).await;
        assert_eq!(bed.view().generation, Generation(2), "reuse {reuse}");
        busy.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn room_is_made_when_the_stock_has_come_back() {
    let all = Policy { reuse: 1000, ..policy(3, 8) };
    let bed = Bed::new(all.clone(), &[3]);
    bed.stocked().await;
    let held = [bed.lease().await.unwrap(), bed.lease().await.unwrap()];
    bed.engine.gate("d1", Op::Launch, Gate::Slow(Duration::from_secs(1)));
    bed.reload(running(2, all));
    tokio::time::sleep(Duration::from_secs(5)).await;
    held.into_iter().for_each(clean);
    bed.until(|s| s.services[0].rollout.is_none() && s.stocked()).await;
    assert_eq!(bed.view().generation, Generation(2));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_for_a_moment_rolls_nothing_back() {
    let bed = Bed::new(policy(2, 8), &[8]);
    bed.stocked().await;
    bed.engine.gate_prepare("d1", "echo", Gate::Err);
    bed.reload(running(2, policy(2, 8)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    bed.engine.gate_prepare("d1", "echo", Gate::Ok);
    bed.until(|s| s.services[0].rollout.is_none()).await;
    assert_eq!((bed.view().generation, bed.view().rolled_back), (Generation(2), None));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_comes_back_during_a_pause_is_launched() {
    let bed = Bed::new(policy(1, 4), &[4]);
    bed.stocked().await;
    let young = bed.lease().await.unwrap();
    bed.pool.reload(Vec::new());
    ganger_pool::Lease::finish(young, ganger_pool::core::Outcome::FailedUnprovoked);
    bed.reload(running(1, policy(1, 4)));
    bed.until(|s| s.service("echo").is_some_and(ServiceView::stocked)).await;
}

#[tokio::test(start_paused = true)]
async fn one_place_is_made_at_a_time_however_many_daemons_are_full() {
    let bed = Bed::new(policy(6, 12), &[2, 2, 2]);
    bed.stocked().await;
    bed.reload(running(2, policy(6, 12)));
    let mut smallest = u32::MAX;
    bed.until(|s| {
        smallest = smallest.min(s.services[0].counts[State::Idle]);
        s.services[0].rollout.is_none() && s.stocked()
    })
    .await;
    assert_eq!(smallest, 5);
}

#[tokio::test(start_paused = true)]
async fn no_generation_has_the_number_of_another() {
    let bed = Bed::new(policy(1, 8), &[8]);
    bed.stocked().await;
    let changes = [2, 1, 3, 1, 4].map(|spec| bed.reload(running(spec, policy(1, 8))));
    let expected = [
        Change::RollingOut(Generation(2)),
        Change::GoingBack(Generation(1)),
        Change::RollingOut(Generation(3)),
        Change::GoingBack(Generation(1)),
        Change::RollingOut(Generation(4)),
    ];
    assert_eq!(changes, expected.map(Some));
}

#[tokio::test(start_paused = true)]
async fn what_no_daemon_can_run_says_what_it_waits_for_and_waits_for_that() {
    let (log, _listening) = Log::listen();
    let bed = Bed::new(policy(2, 8), &[8, 8]);
    bed.stocked().await;
    ["d1", "d2"].into_iter().for_each(|daemon| bed.engine.gate(daemon, Op::Prepare, Gate::Err));
    bed.reload(running(2, policy(2, 8)));
    bed.until(|s| s.services[0].rolled_back.is_some()).await;
    let said = log.lines("rolled back").concat();
    for part in [
        "the one before goes on: no daemon that answers can run the new one",
        "none is asked again before the next reload",
        "d1: Prepare was refused; d2: Prepare was refused",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // Nothing happens by itself, though the daemons could run it now.
    ["d1", "d2"].into_iter().for_each(|daemon| bed.engine.gate(daemon, Op::Prepare, Gate::Ok));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bed.spec().await, Ok(1));
    let change = bed.reload(running(2, policy(2, 8)));
    assert_eq!(change, Some(Change::RollingOut(Generation(3))));
    bed.until(|s| s.services[0].generation == Generation(3)).await;
    assert_eq!(log.lines("rolled back").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_says_when_it_is_tried_again_unless_another_was_asked_for() {
    let (log, _listening) = Log::listen();
    let bed = Bed::new(policy(2, 8), &[8]);
    bed.stocked().await;
    bed.engine.gate_spec(2, Gate::Err);
    bed.reload(running(2, policy(2, 8)));
    bed.until(|s| s.services[0].rolled_back.is_some()).await;
    let said = log.lines("rolled back").concat();
    assert!(said.contains("goes on, and the next reload tries again"), "{said}");
    bed.engine.gate_spec(3, Gate::Slow(Duration::from_secs(5)));
    bed.reload(running(3, policy(2, 8)));
    bed.reload(running(1, policy(2, 8)));
    let said = log.lines("rolled back").pop().unwrap();
    assert!(said.contains("another one was asked for") && !said.contains("again"), "{said}");
}
