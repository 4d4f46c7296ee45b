//! A fleet that changes: daemons that come, grow, move, leave and come back.

#[path = "support/bed.rs"]
mod bed;

use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, clean, daemon, options, service};
use ganger_pool::core::{Policy, Refusal, Snapshot, State};
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::testing::{FakeEngine, Gate, Op};
use tokio::sync::watch;

/// A pool whose fleet is what the test says.
struct Fleet {
    bed: Bed,
    change: watch::Sender<Arc<[DaemonSpec<u32>]>>,
}

impl Fleet {
    fn new(engine: &Arc<FakeEngine>, warm: u32, daemons: Vec<DaemonSpec<u32>>) -> Self {
        let (change, fleet) = watch::channel(Arc::from(daemons));
        let policy = Policy { warm, max: 64, ..Policy::default() };
        Self { bed: Bed::over(engine, vec![options(policy)], fleet), change }
    }

    fn is(&self, daemons: Vec<DaemonSpec<u32>>) {
        self.change.send_replace(Arc::from(daemons));
    }

    /// Once a daemon is in the fleet and all is as it should be.
    async fn stocked_on(&self, name: &str) {
        let there = |s: &Snapshot| s.daemon(name).is_some_and(|d| !d.leaving && d.listed);
        self.bed.until(|s| there(s) && s.settled() && s.stocked()).await;
    }

    async fn without(&self, name: &str) {
        self.bed.until(|s| s.daemon(name).is_none()).await;
        // Another task removes what the pool kept for it, which takes no time.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.bed.engine.place(name), None, "{name} was not forgotten");
    }
}

fn at(name: &str, max_containers: u32, place: u32) -> DaemonSpec<u32> {
    DaemonSpec { endpoint: place, ..daemon(name, max_containers) }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_comes_later_is_used() {
    let fleet = Fleet::new(&FakeEngine::new(1), 3, vec![]);
    assert!(matches!(fleet.bed.lease().await.unwrap_err(), Refusal::NoDaemon { .. }));
    fleet.is(vec![daemon("d1", 2)]);
    fleet.bed.until(|s| s.services[0].counts[State::Idle] == 2).await;
    fleet.is(vec![daemon("d1", 2), daemon("d2", 2)]);
    fleet.stocked_on("d2").await;
    assert_eq!((fleet.bed.engine.peak("d1"), fleet.bed.engine.peak("d2")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_changed_capacity_holds_without_new_contact() {
    let fleet = Fleet::new(&FakeEngine::new(1), 3, vec![daemon("d1", 1)]);
    let engine = fleet.bed.engine.clone();
    fleet.bed.until(|s| s.settled() && s.services[0].counts[State::Idle] == 1).await;
    fleet.is(vec![daemon("d1", 9)]);
    fleet.bed.stocked().await;
    fleet.is(vec![daemon("d1", 2)]);
    fleet.bed.until(|s| s.daemons[0].capacity == 2).await;
    clean(fleet.bed.lease().await.unwrap());
    clean(fleet.bed.lease().await.unwrap());
    fleet.bed.until(|s| s.services[0].counts[State::Retiring] == 0 && s.settled()).await;
    fleet.bed.until(|s| s.services[0].counts[State::Idle] == 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fleet.bed.pool.snapshot().daemons[0].counts.total(), 2);
    assert_eq!(engine.calls("d1", Op::Connect), 1);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_at_a_new_place_is_connected_to_there_and_keeps_its_stock() {
    let fleet = Fleet::new(&FakeEngine::new(1), 1, vec![at("d1", 4, 1)]);
    let engine = fleet.bed.engine.clone();
    fleet.bed.stocked().await;
    assert_eq!(engine.place("d1"), Some(1));
    engine.gate("d1", Op::Connect, Gate::Slow(Duration::from_secs(5)));
    fleet.is(vec![at("d1", 4, 2)]);
    fleet.bed.until(|s| s.services[0].counts[State::Unknown] == 1).await;
    // Nobody knows yet what is there: not leased, and waited for.
    let waiter = fleet.bed.queue();
    fleet.bed.waiting(1).await;
    let lease = waiter.await.unwrap().unwrap();
    assert_eq!((engine.place("d1"), lease.launch().0), (Some(2), 1));
    clean(lease);
    fleet.bed.stocked().await;
    assert_eq!(engine.calls("d1", Op::Connect), 2);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_leaves_the_fleet_is_drained_and_forgotten() {
    let both = vec![daemon("d1", 4), daemon("d2", 4)];
    let fleet = Fleet::new(&FakeEngine::new(5), 4, both);
    let engine = fleet.bed.engine.clone();
    fleet.bed.stocked().await;
    let held = loop {
        let lease = fleet.bed.lease().await.unwrap();
        if lease.daemon().as_str() == "d1" {
            break lease;
        }
    };
    fleet.is(vec![daemon("d2", 4)]);
    fleet.bed.until(|s| s.daemon("d1").is_some_and(|d| d.counts.total() == 1)).await;
    assert_eq!(engine.real("d1").len(), 1, "the running lease goes on");
    clean(held);
    fleet.without("d1").await;
    assert!(engine.real("d1").is_empty());
    // Nothing of it goes on.
    let lists = engine.calls("d1", Op::List);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.calls("d1", Op::List), lists);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_left_and_cannot_be_reached_is_drained_when_it_can() {
    let fleet = Fleet::new(&FakeEngine::new(5), 2, vec![daemon("d1", 4)]);
    let engine = fleet.bed.engine.clone();
    fleet.bed.stocked().await;
    let calls = [Op::List, Op::Connect, Op::Retire];
    calls.iter().for_each(|op| engine.gate("d1", *op, Gate::Never));
    fleet.bed.until(|s| s.daemons[0].down.is_some()).await;
    fleet.is(vec![]);
    fleet.bed.until(|s| s.daemons[0].leaving).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fleet.bed.pool.snapshot().daemons[0].counts[State::Retiring], 2);
    calls.iter().for_each(|op| engine.gate("d1", *op, Gate::Ok));
    fleet.without("d1").await;
    assert!(engine.real("d1").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_comes_back_is_used_again_whether_empty_or_not() {
    let fleet = Fleet::new(&FakeEngine::new(5), 1, vec![daemon("d1", 4)]);
    let engine = fleet.bed.engine.clone();
    for empty in [true, false, true, false] {
        fleet.stocked_on("d1").await;
        let held = if empty { None } else { Some(fleet.bed.lease().await.unwrap()) };
        fleet.is(vec![]);
        if empty {
            fleet.without("d1").await;
        } else {
            let one = |s: &Snapshot| s.daemons[0].leaving && s.daemons[0].counts.total() == 1;
            fleet.bed.until(one).await;
        }
        fleet.is(vec![daemon("d1", 4)]);
        fleet.stocked_on("d1").await;
        held.into_iter().for_each(clean);
    }
    fleet.bed.until(|s| s.services[0].counts.total() == 1 && s.stocked()).await;
    assert_eq!((engine.real("d1").len(), engine.calls("d1", Op::Connect)), (1, 5));
    assert_eq!(engine.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_changes_before_anything_was_tried_is_followed() {
    let fleet = Fleet::new(&FakeEngine::new(5), 1, vec![daemon("d1", 4)]);
    let waiter = fleet.bed.queue();
    fleet.is(vec![]);
    assert!(matches!(waiter.await.unwrap().unwrap_err(), Refusal::NoDaemon { .. }));
    fleet.without("d1").await;
    assert_eq!(fleet.bed.pool.snapshot().daemons, []);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_moves_while_it_is_prepared_is_not_prepared_twice_at_once() {
    let engine = FakeEngine::new(5);
    engine.gate_prepare("d1", service().as_str(), Gate::Slow(Duration::from_secs(60)));
    let fleet = Fleet::new(&engine, 1, vec![at("d1", 4, 0)]);
    for place in 0..4 {
        fleet.is(vec![at("d1", 4, place)]);
        fleet.bed.until(|s| engine.place("d1") == Some(place) && s.daemons[0].listed).await;
    }
    fleet.bed.stocked().await;
    assert_eq!((engine.overlaps(), engine.calls("d1", Op::Prepare)), (0, 4));
}
