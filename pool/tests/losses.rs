//! Stocks whose containers end by themselves, long after they were ready.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/story.rs"]
mod story;

use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, clean};
use ganger_pool::ServiceOptions;
use ganger_pool::core::{
    ContainerKey, Event, Generation, LaunchId, Policy, Proof, Snapshot, State,
};
use ganger_pool::testing::FakeContainer;
use story::{LEARNT, Story};

/// Longer than what counts as dying young.
const LIFE: Duration = Duration::from_secs(30);
/// More than a launch of the fake takes, and less than the first pause.
const AT_ONCE: Duration = Duration::from_millis(90);

fn policy() -> Policy {
    Policy { warm: 1, max: 8, ..Policy::default() }
}

fn container(launch: u64) -> FakeContainer {
    FakeContainer { launch: LaunchId(launch), daemon: "d1".into(), spec: 1 }
}

/// Does something to the only container in stock once it has lived for a while; how long
/// it takes until there is another.
async fn without_stock(bed: &Bed, what: impl Fn(&FakeContainer)) -> Duration {
    tokio::time::sleep(LIFE).await;
    let before = tokio::time::Instant::now();
    befalls(bed, what).await;
    bed.stocked().await;
    before.elapsed()
}

/// Something happens to the only container that there is, and is noticed.
async fn befalls(bed: &Bed, what: impl Fn(&FakeContainer)) -> Snapshot {
    let alone = |s: &Snapshot| s.services[0].stocked() && s.services[0].counts.total() == 1;
    let before = gone(&bed.until(alone).await);
    match bed.engine.real("d1").as_slice() {
        [ContainerKey::Launch(launch)] => what(&container(launch.0)),
        others => panic!("{others:?}"),
    }
    bed.until(|now| gone(now) > before).await
}

fn gone(snapshot: &Snapshot) -> u64 {
    snapshot.services[0].totals.retired.values().sum()
}

async fn loses(bed: &Bed) -> Duration {
    without_stock(bed, |container| bed.engine.kill(container, true)).await
}

#[tokio::test(start_paused = true)]
async fn stock_that_keeps_ending_by_itself_is_launched_ever_more_slowly() {
    let bed = Bed::new(policy(), &[8]);
    for n in 1..=12 {
        let took = loses(&bed).await;
        let pause = policy().backoff.after(n);
        assert!(took >= pause && took < pause + AT_ONCE, "{n}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_the_stock_pauses_is_launched_for_at_once() {
    let bed = Bed::new(policy(), &[8]);
    for _ in 0..9 {
        loses(&bed).await;
    }
    tokio::time::sleep(LIFE).await;
    let view = befalls(&bed, |container| bed.engine.kill(container, true)).await;
    assert_eq!((&view.services[0].failing, &view.services[0].refusing), (&None, &None));
    let before = tokio::time::Instant::now();
    let lease = bed.lease().await.unwrap();
    assert!(before.elapsed() < AT_ONCE, "{:?}", before.elapsed());
    assert_eq!(bed.pool.snapshot().services[0].counts[State::Idle], 0, "for nobody else");
    // A container has served: losses before it count no more.
    clean(lease);
    bed.stocked().await;
    assert!(before.elapsed() < 2 * AT_ONCE, "{:?}", before.elapsed());
    assert!(loses(&bed).await < 2 * AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn a_large_stock_is_launched_one_by_one_and_so_no_faster() {
    let bed = Bed::new(Policy { warm: 6, ..policy() }, &[8]);
    bed.stocked().await;
    let hour = tokio::time::Instant::now() + Duration::from_secs(3600);
    let mut ended = 0;
    while tokio::time::Instant::now() < hour {
        tokio::time::sleep(LIFE).await;
        let launched = bed.pool.snapshot().services[0].totals.launched;
        (ended + 1..=launched).for_each(|launch| bed.engine.kill(&container(launch), true));
        ended = launched;
    }
    let launched = bed.engine.launched();
    // At full speed 720; with a pause of 30 s before each launch 120.
    assert!((120..200).contains(&launched), "{launched}");
}

#[tokio::test(start_paused = true)]
async fn containers_that_end_now_and_then_are_replaced_at_once() {
    let bed = Bed::new(policy(), &[8]);
    for _ in 0..6 {
        let out_of_memory = |container: &FakeContainer| bed.engine.exhaust(container);
        let took = without_stock(&bed, out_of_memory).await;
        assert!(took < 2 * AT_ONCE, "{took:?}");
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_ends_is_replaced_at_once_and_is_no_fault_of_the_service() {
    let bed = Bed::new(policy(), &[8]);
    for _ in 0..4 {
        let (engine, now) = (&bed.engine, tokio::time::Instant::now);
        assert!(without_stock(&bed, |container| engine.remove(container)).await < AT_ONCE);
        assert!(without_stock(&bed, |container| engine.stop(container)).await < AT_ONCE);
        assert!(without_stock(&bed, |container| engine.pause(container)).await < AT_ONCE);
        // No event tells of it; a list shows it.
        let before = now();
        without_stock(&bed, |container| engine.vanish(container)).await;
        assert!(before.elapsed() < LIFE + Duration::from_secs(12), "{:?}", before.elapsed());
        // The end of a young container is no failure either.
        befalls(&bed, |container| engine.stop(container)).await;
    }
    bed.stocked().await;
    let service = &bed.pool.snapshot().services[0];
    assert_eq!((&service.failing, &service.last_error), (&None, &None));
}

#[tokio::test]
async fn the_stock_of_a_daemon_that_restarts_is_no_loss_of_the_service() {
    for stale_after in [Duration::ZERO, Duration::from_secs(30)] {
        for life in [Duration::from_secs(2), LIFE] {
            let policy = Policy { warm: 3, stale_after, ..policy() };
            let mut story = Story::new(policy, &[("d1", 0)], LEARNT);
            for _ in 0..12 {
                story.get_ready();
                story.pass(life);
                assert_eq!(story.counts(State::Idle), 3);
                story.down("d1", "cut off");
                // Containers prove themselves meanwhile, where that is enough.
                for (launch, _) in story.launched.clone() {
                    story.tell(Event::Checked { launch, proof: Some(Proof::Itself) });
                }
                // Nothing is heard of them; when it is back its list shows that they have ended.
                story.tell(Event::DaemonUp { daemon: "d1".into(), launches: LEARNT });
                let before = story.launched.len();
                story.list_ended("d1");
                story.remove_retired();
                let service = &story.ledger.snapshot().services[0];
                assert_eq!((&service.failing, &service.last_error), (&None, &None));
                // Where they were young the daemon pauses, and is tried with one at a time.
                let at_once = if life == LIFE { 3 } else { 0 };
                let launched = story.launched.len() - before;
                assert_eq!(launched, at_once, "{stale_after:?}, {life:?}");
                story.pass(Duration::from_secs(6));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_rolled_out_begins_without_the_losses_of_the_one_before_and_has_its_own() {
    let bed = Bed::new(policy(), &[8]);
    for _ in 0..9 {
        loses(&bed).await;
    }
    let options = |spec| ServiceOptions { spec: Arc::new(spec), ..bed::options(policy()) };
    for spec in 2..=3 {
        let before = tokio::time::Instant::now();
        bed.pool.reload(vec![options(spec)]);
        let generation = Generation(spec);
        bed.until(|s| s.services[0].generation == generation && s.services[0].rollout.is_none())
            .await;
        assert!(before.elapsed() < AT_ONCE, "{:?}", before.elapsed());
        for n in 1..=8 {
            let (took, pause) = (loses(&bed).await, policy().backoff.after(n));
            assert!(took >= pause && took < pause + AT_ONCE, "{n}: {took:?}");
        }
    }
}
