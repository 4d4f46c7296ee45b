//! Contact with a daemon: when it is asked, and what follows from its answers.

#[path = "support/bed.rs"]
mod bed;

use std::time::Duration;

use bed::{Bed, clean, daemon, options};
use ganger_pool::ServiceOptions;
use ganger_pool::core::{Policy, State};
use ganger_pool::discovery::fixed;
use ganger_pool::testing::{FakeContainer, FakeEngine, Gate, Op};

fn policy() -> Policy {
    Policy { warm: 1, max: 64, ..Policy::default() }
}

fn gate(engine: &FakeEngine, ops: &[Op], gate: Gate) {
    ops.iter().for_each(|op| engine.gate("d1", *op, gate));
}

fn first() -> FakeContainer {
    FakeContainer { launch: ganger_pool::core::LaunchId(1), daemon: "d1".into(), spec: 1 }
}

#[tokio::test(start_paused = true)]
async fn a_death_before_the_stream_of_events_is_open_is_noticed_when_it_is() {
    let engine = FakeEngine::new(3);
    engine.gate("d1", Op::Events, Gate::Slow(Duration::from_secs(3)));
    let bed = Bed::with(&engine, policy(), &[4]);
    bed.stocked().await;
    // Nobody listens yet.
    let before = tokio::time::Instant::now();
    engine.kill(&first(), true);
    bed.until(|s| s.services[0].totals.retired.values().sum::<u64>() == 1).await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}: by a sweep", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_preparation_delays_no_other_service() {
    let engine = FakeEngine::new(3);
    engine.gate_prepare("d1", "slow", Gate::Slow(Duration::from_secs(3600)));
    engine.gate_prepare("d1", "echo", Gate::Err);
    let slow = ServiceOptions { name: "slow".into(), ..options(policy()) };
    let fleet = fixed(vec![daemon("d1", 4)]);
    let bed = Bed::over(&engine, vec![options(policy()), slow], fleet);
    bed.until(|s| s.daemons[0].prepared.len() == 1).await;
    engine.gate_prepare("d1", "echo", Gate::Ok);
    let snapshot = bed.until(|s| s.services[0].counts[State::Idle] == 1).await;
    assert_eq!(snapshot.daemons[0].prepared.get(&"slow".into()), None);
    assert_eq!(engine.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_a_launch_that_finds_something_missing_has_it_prepared_anew() {
    let engine = FakeEngine::new(3);
    engine.gate("d1", Op::Launch, Gate::Lost);
    let bed = Bed::with(&engine, policy(), &[4]);
    bed.until(|s| s.services[0].totals.launch_failures == 4).await;
    assert_eq!(engine.calls("d1", Op::Prepare), 1);
    engine.gate("d1", Op::Launch, Gate::Unprepared);
    let before = tokio::time::Instant::now();
    engine.gate("d1", Op::Prepare, Gate::Err);
    let refused =
        |s: &ganger_pool::core::Snapshot| s.daemons[0].prepared.values().any(Result::is_err);
    bed.until(refused).await;
    assert_eq!(engine.calls("d1", Op::Prepare), 2);
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}: by a round", before.elapsed());
    gate(&engine, &[Op::Launch, Op::Prepare], Gate::Ok);
    bed.stocked().await;
}

#[tokio::test(start_paused = true)]
async fn removals_that_fail_do_not_hammer_a_daemon_that_is_away() {
    let engine = FakeEngine::new(3);
    let bed = Bed::with(&engine, Policy { warm: 16, ..policy() }, &[32]);
    bed.stocked().await;
    gate(&engine, &[Op::List, Op::Connect], Gate::Err);
    engine.gate("d1", Op::Retire, Gate::Lost);
    bed.until(|s| s.daemons[0].down.is_some()).await;
    bed.pool.drain();
    let before = engine.calls("d1", Op::Connect);
    tokio::time::sleep(Duration::from_secs(60)).await;
    // 0.2 s doubling to 5 s, then one each 5 s.
    let calls = engine.calls("d1", Op::Connect) - before;
    assert!((10..=20).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn why_a_daemon_is_down_is_what_went_wrong_last() {
    let bed = Bed::new(policy(), &[4]);
    bed.stocked().await;
    for (how, why) in
        [(Gate::Err, "refused"), (Gate::Never, "not answered"), (Gate::Err, "refused")]
    {
        gate(&bed.engine, &[Op::List, Op::Connect], how);
        bed.until(|s| s.daemons[0].down.as_ref().is_some_and(|down| down.contains(why))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_whose_adapter_panics_is_asked_again() {
    let engine = FakeEngine::new(3);
    let calls = [Op::Connect, Op::List, Op::Events, Op::Prepare];
    gate(&engine, &calls, Gate::Panic);
    let bed = Bed::with(&engine, policy(), &[4]);
    for op in calls {
        let asked = engine.calls("d1", op);
        bed.until(|_| engine.calls("d1", op) > asked).await;
        engine.gate("d1", op, Gate::Ok);
    }
    bed.stocked().await;
    clean(bed.lease().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn contact_that_is_lost_twice_for_one_reason_is_told_twice() {
    let bed = Bed::new(policy(), &[4]);
    for _ in 0..3 {
        bed.stocked().await;
        // The same words from both calls, each time.
        gate(&bed.engine, &[Op::List, Op::Connect], Gate::Never);
        let snapshot = bed.until(|s| s.daemons[0].down.is_some()).await;
        assert_eq!(snapshot.services[0].counts[State::Idle], 0);
        gate(&bed.engine, &[Op::List, Op::Connect], Gate::Ok);
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_gives_no_events_is_not_hammered() {
    let engine = FakeEngine::new(3);
    engine.gate("d1", Op::Events, Gate::Err);
    let bed = Bed::with(&engine, policy(), &[4]);
    bed.stocked().await;
    let before = [Op::Events, Op::List].map(|op| engine.calls("d1", op));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let [events, lists] = [Op::Events, Op::List].map(|op| engine.calls("d1", op));
    // An attempt each 5 s at the end, and a list each 10 s as always.
    assert!(events - before[0] <= 20, "{}", events - before[0]);
    assert!(lists - before[1] <= 8, "{}", lists - before[1]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_takes_long_is_asked_after_often_enough() {
    // Under way for long; and refused at first by a daemon that was away for long.
    for (away, then) in [(false, Gate::Pending), (true, Gate::Err)] {
        let bed = Bed::new(Policy { warm: 2, ..policy() }, &[4]);
        bed.stocked().await;
        let calls = [Op::List, Op::Connect, Op::Retire];
        if away {
            gate(&bed.engine, &calls, Gate::Never);
            bed.until(|s| s.daemons[0].down.is_some()).await;
        } else {
            bed.engine.gate("d1", Op::Retire, then);
        }
        bed.pool.drain();
        tokio::time::sleep(Duration::from_secs(1200)).await;
        if away {
            gate(&bed.engine, &calls[..2], Gate::Ok);
            bed.engine.gate("d1", Op::Retire, then);
            bed.until(|s| s.daemons[0].listed).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        bed.engine.gate("d1", Op::Retire, Gate::Ok);
        let before = tokio::time::Instant::now();
        bed.until(ganger_pool::core::Snapshot::empty).await;
        assert!(before.elapsed() < Duration::from_secs(10), "{then:?}: {:?}", before.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn others_share_the_capacity_of_a_daemon() {
    let engine = FakeEngine::new(3);
    engine.set_others("d1", 6, false);
    let bed = Bed::with(&engine, Policy { warm: 4, ..policy() }, &[8]);
    bed.until(|s| s.daemons[0].others == 6 && s.services[0].counts[State::Idle] == 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.launched(), 2, "there is no room for more");
    // Others go, and events tell of it.
    engine.set_others("d1", 4, true);
    let before = tokio::time::Instant::now();
    bed.stocked().await;
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());

    // Others come without an event, and are faster: the one too many goes again.
    engine.set_others("d1", 5, false);
    let lease = bed.lease().await.unwrap();
    drop(lease);
    bed.until(|s| s.daemons[0].others == 5).await;
    bed.until(|s| s.services[0].counts.total() == 3 && s.services[0].counts[State::Idle] == 3)
        .await;
    let service = &bed.pool.snapshot().services[0];
    assert_eq!((service.totals.launch_failures, &service.failing), (0, &None));
    assert_eq!(engine.real("d1").len(), 3);
}
