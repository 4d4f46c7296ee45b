//! Services whose containers fail.

#[path = "support/bed.rs"]
mod bed;

use std::time::Duration;

use bed::{Bed, clean};
use ganger_pool::Lease;
use ganger_pool::core::{Outcome, Policy, Refusal, State};
use ganger_pool::testing::{FakeEngine, Gate, Op};

fn policy() -> Policy {
    Policy { warm: 1, max: 8, ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_refuses_fast_with_the_reason_and_recovers() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Ready, Gate::Err);
    let bed = Bed::with(&engine, policy(), &[8]);
    let refusal = bed.lease().await.unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Failing { reason } if reason.contains("last words")),
        "{refusal}"
    );
    let before = tokio::time::Instant::now();
    assert_eq!(bed.lease().await.unwrap_err(), refusal);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(bed.pool.snapshot().services[0].refusing.is_some(), "readers see it coming");
    engine.gate("d1", Op::Ready, Gate::Ok);
    bed.stocked().await;
    assert_eq!(bed.pool.snapshot().services[0].refusing, None);
    clean(bed.lease().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn launches_of_a_failing_service_back_off() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Launch, Gate::Err);
    let bed = Bed::with(&engine, policy(), &[8]);
    bed.until(|s| s.settled()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    // 0.1 s doubling to 30 s, then one each 30 s.
    let launched = engine.launched();
    assert!((20..=32).contains(&launched), "{launched}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_daemon_does_not_make_the_service_fail() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Launch, Gate::Never);
    let bed = Bed::with(&engine, Policy { warm: 4, ..policy() }, &[8, 8]);
    bed.stocked().await;
    assert_eq!(bed.pool.snapshot().services[0].failing, None);
    assert_eq!(engine.peak("d1"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_before_it_is_ready_is_noticed_at_once() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Ready, Gate::Never);
    let bed = Bed::with(&engine, policy(), &[8]);
    bed.until(|s| s.services[0].counts[State::Probing] == 1).await;
    let before = tokio::time::Instant::now();
    let container = ganger_pool::testing::FakeContainer {
        launch: ganger_pool::core::LaunchId(1),
        daemon: "d1".into(),
        spec: 1,
    };
    engine.kill(&container, true);
    let snapshot = bed.until(|s| s.services[0].totals.launch_failures == 1).await;
    assert!(before.elapsed() < Duration::from_millis(50), "{:?}", before.elapsed());
    let reason = snapshot.services[0].last_error.clone().unwrap();
    assert!(reason.contains("exited with code 3"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn containers_that_die_in_stock_are_replaced_ever_more_slowly() {
    let bed = Bed::new(policy(), &[8]);
    for launch in 1..=6 {
        bed.stocked().await;
        let container = ganger_pool::testing::FakeContainer {
            launch: ganger_pool::core::LaunchId(launch),
            daemon: "d1".into(),
            spec: 1,
        };
        let before = tokio::time::Instant::now();
        bed.engine.kill(&container, true);
        bed.until(|s| s.services[0].counts[State::Idle] == 0).await;
        bed.stocked().await;
        let pause = Duration::from_millis(100 << (launch - 1));
        assert!(before.elapsed() >= pause, "{launch}: {:?}", before.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn containers_that_fail_of_themselves_in_a_lease_are_replaced_ever_more_slowly() {
    // With room for one, so that none is replaced before it has failed.
    let bed = Bed::new(policy(), &[1]);
    let pause_after = async |outcome| {
        bed.stocked().await;
        Lease::finish(bed.lease().await.unwrap(), outcome);
        let before = tokio::time::Instant::now();
        bed.stocked().await;
        before.elapsed()
    };
    for launch in 0..5 {
        assert!(
            pause_after(Outcome::FailedUnprovoked).await >= Duration::from_millis(100 << launch),
            "{launch}"
        );
    }
    // Once a container serves, or when the client was at fault, there is no pause.
    for outcome in [Outcome::Clean, Outcome::Failed] {
        assert!(pause_after(outcome).await < Duration::from_millis(100), "{outcome:?}");
    }
    assert!(pause_after(Outcome::FailedUnprovoked).await < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_ends_in_a_lease_is_not_held_against_its_service() {
    let bed = Bed::new(policy(), &[1]);
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    bed.engine.stop(lease.handle());
    // The clock goes on when nobody has anything left to do: the event is known then.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Lease::finish(lease, Outcome::FailedUnprovoked);
    let before = tokio::time::Instant::now();
    bed.stocked().await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
    assert_eq!(bed.pool.snapshot().services[0].last_error, None);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_containers_that_die_young_is_told_why() {
    let bed = Bed::new(policy(), &[1]);
    for launch in 1..=3 {
        bed.stocked().await;
        let container = ganger_pool::testing::FakeContainer {
            launch: ganger_pool::core::LaunchId(launch),
            daemon: "d1".into(),
            spec: 1,
        };
        bed.engine.kill(&container, true);
        bed.until(|s| s.services[0].counts[State::Idle] == 0).await;
    }
    let before = tokio::time::Instant::now();
    let refusal = bed.lease().await.unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Failing { reason } if reason.contains("before anybody had it")),
        "{refusal}"
    );
    assert_eq!(before.elapsed(), Duration::ZERO);
    // Until the next one lives.
    bed.stocked().await;
    clean(bed.lease().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lease_pool_of_any_size_can_be_had() {
    let bed = Bed::new(Policy { queue_length: u32::MAX, max: u32::MAX, ..policy() }, &[1]);
    bed.stocked().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_container_that_fails_in_a_lease_slows_nothing_down() {
    let bed = Bed::new(policy(), &[1]);
    bed.stocked().await;
    tokio::time::advance(Duration::from_secs(11)).await;
    Lease::finish(bed.lease().await.unwrap(), Outcome::FailedUnprovoked);
    let before = tokio::time::Instant::now();
    bed.stocked().await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_never_gets_ready_is_given_up_at_the_start_timeout() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Ready, Gate::Slow(Duration::from_secs(3600)));
    let bed = Bed::with(&engine, policy(), &[8]);
    let snapshot = bed.until(|s| s.services[0].totals.launch_failures == 1).await;
    let reason = snapshot.services[0].last_error.clone().unwrap();
    let expected = "was not ready within 30s (it is a fake): check `port` and `ready`, or raise `timeouts.start`";
    assert!(reason.contains(expected), "{reason}");
    bed.until(|s| s.services[0].counts[State::Retiring] == 0).await;
    assert!(engine.real("d1").is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_cannot_come_is_refused_when_that_is_known() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Prepare, Gate::Err);
    let bed = Bed::with(&engine, policy(), &[8]);
    // Asked before anybody knows.
    let before = tokio::time::Instant::now();
    let refusal = bed.lease().await.unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NoDaemon { reason } if reason.contains("Prepare")),
        "{refusal}"
    );
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn of_several_reasons_what_is_about_the_service_comes_first() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Connect, Gate::Err);
    engine.gate("d2", Op::Prepare, Gate::Err);
    ["d3", "d4"].into_iter().for_each(|name| engine.gate(name, Op::Connect, Gate::Err));
    let bed = Bed::with(&engine, policy(), &[8, 8, 8, 8]);
    bed.until(|s| s.settled()).await;
    let foreseen = bed.pool.snapshot().services[0].refusing.clone().unwrap();
    let refusal = bed.lease().await.unwrap_err().to_string();
    assert!(refusal.ends_with(&*foreseen), "{foreseen}");
    let expected = "d2: Prepare was refused; d1: Connect was refused; d3: Connect was refused; \
                    and 1 more";
    assert!(refusal.ends_with(expected), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_container_killed_for_memory_before_it_is_ready_says_so() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Ready, Gate::Never);
    let bed = Bed::with(&engine, policy(), &[8]);
    bed.until(|s| s.services[0].counts[State::Probing] == 1).await;
    let container = ganger_pool::testing::FakeContainer {
        launch: ganger_pool::core::LaunchId(1),
        daemon: "d1".into(),
        spec: 1,
    };
    engine.exhaust(&container);
    let snapshot = bed.until(|s| s.services[0].totals.launch_failures == 1).await;
    let reason = snapshot.services[0].last_error.clone().unwrap();
    assert!(reason.contains("limits.memory"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_daemon_takes_nothing_from_the_time_to_get_ready() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Launch, Gate::Slow(Duration::from_secs(40)));
    let bed = Bed::with(&engine, policy(), &[8]);
    bed.stocked().await;
    assert_eq!(bed.pool.snapshot().services[0].totals.launch_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_panics_holds_no_place_for_ever() {
    for op in [Op::Launch, Op::Ready] {
        let engine = FakeEngine::new(2);
        engine.gate("d1", op, Gate::Panic);
        let bed = Bed::with(&engine, Policy { max: 1, ..policy() }, &[1]);
        let snapshot = bed.until(|s| s.services[0].totals.launch_failures == 2).await;
        let reason = snapshot.services[0].last_error.clone().unwrap();
        assert!(reason.contains(&format!("{op:?} panicked")), "{reason}");
        engine.gate("d1", op, Gate::Ok);
        bed.stocked().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_finds_the_container_unfit() {
    let bed = Bed::new(Policy { reuse: 9, max: 1, ..policy() }, &[1]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::Check, Gate::Panic);
    clean(bed.lease().await.unwrap());
    let lease = bed.lease().await.unwrap();
    assert_eq!((lease.launch().0, lease.uses()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_panics_is_tried_again() {
    let bed = Bed::new(Policy { max: 1, ..policy() }, &[1]);
    bed.stocked().await;
    bed.engine.gate("d1", Op::Retire, Gate::Panic);
    clean(bed.lease().await.unwrap());
    bed.until(|s| s.services[0].counts[State::Retiring] == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    bed.engine.gate("d1", Op::Retire, Gate::Ok);
    bed.stocked().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_hides_no_full_stock_of_another() {
    let engine = FakeEngine::new(2);
    engine.gate_prepare("d1", "broken", Gate::Slow(Duration::from_secs(60)));
    let broken = ganger_pool::ServiceOptions { name: "broken".into(), ..bed::options(policy()) };
    let fleet = ganger_pool::discovery::fixed(vec![bed::daemon("d1", 4)]);
    let bed = Bed::over(&engine, vec![bed::options(policy()), broken], fleet);
    let full = bed.until(|s| s.services[0].stocked() && s.settled_for(&bed::service())).await;
    assert!(!full.stocked() && !full.settled() && !full.settled_for(&"broken".into()));
    bed.stocked().await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_is_not_wanted_any_more_is_not_waited_for() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Ready, Gate::Slow(Duration::from_secs(3600)));
    let bed = Bed::with(&engine, policy(), &[8]);
    bed.until(|s| s.services[0].counts[State::Probing] == 1).await;
    let before = tokio::time::Instant::now();
    bed.pool.drain();
    let snapshot = bed.until(|s| s.empty()).await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(snapshot.services.iter().map(|s| s.totals.launch_failures).sum::<u64>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_removes_before_it_is_ready_is_no_failure_of_its_service() {
    let engine = FakeEngine::new(2);
    engine.gate("d1", Op::Ready, Gate::Slow(Duration::from_secs(10)));
    let bed = Bed::with(&engine, policy(), &[8]);
    bed.until(|s| s.services[0].counts[State::Probing] == 1).await;
    let launch = ganger_pool::core::LaunchId(1);
    engine.remove(&ganger_pool::testing::FakeContainer { launch, daemon: "d1".into(), spec: 1 });
    let snapshot = bed.until(|s| s.services[0].totals.launched == 2).await;
    let service = &snapshot.services[0];
    assert_eq!((&service.last_error, service.totals.launch_failures), (&None, 0));
    bed.stocked().await;
}
