//! Rollouts that an operator begins and gives up.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/log.rs"]
mod log;

use std::sync::Arc;

use bed::{Bed, clean, options, service};
use ganger_pool::core::{
    AdminState, Generation, OrderError, Policy, RetireReason, ServiceView, Snapshot, Stage, State,
};
use ganger_pool::testing::Gate;
use ganger_pool::{Change, ServiceOptions};
use log::Log;

fn policy(warm: u32) -> Policy {
    Policy { warm, max: 8, ..Policy::default() }
}

fn running(spec: u32, policy: Policy) -> ServiceOptions<u32> {
    ServiceOptions { spec: Arc::new(spec), ..options(policy) }
}

fn at(stage: Stage) -> impl Fn(&Snapshot) -> bool {
    move |s| s.services[0].rollout.as_ref().is_some_and(|rollout| rollout.stage == stage)
}

fn over(snapshot: &Snapshot) -> bool {
    snapshot.services[0].rollout.is_none() && snapshot.stocked()
}

impl Bed {
    fn view(&self) -> ServiceView {
        self.pool.snapshot().services.remove(0)
    }

    fn reload(&self, options: ServiceOptions<u32>) -> Vec<Change> {
        self.pool.reload(vec![options]).into_iter().map(|(_, change)| change).collect()
    }

    /// The generations of its containers that are not being removed, with how many there are.
    fn generations(&self) -> Vec<u32> {
        let all = self.pool.containers().into_iter();
        let stay = all.filter(|view| view.state != State::Retiring);
        stay.map(|view| view.generation.0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_container_is_replaced_without_a_gap_and_reloads_change_nothing() {
    let (log, _guard) = Log::listen();
    let bed = Bed::new(policy(3), &[8]);
    bed.stocked().await;
    let held = bed.lease().await.unwrap();
    bed.stocked().await;
    assert_eq!(bed.pool.roll(&service()), Ok(Generation(2)));
    assert_eq!(log.lines("the operator has ordered its containers to be replaced").len(), 1);
    let to = Generation(2);
    let under_way = OrderError::RollingOut { service: service(), to };
    assert_eq!(bed.pool.roll(&service()), Err(under_way));
    assert_eq!(bed.reload(running(1, policy(3))), [], "the rollout goes on");
    let mut smallest = u32::MAX;
    bed.until(|snapshot| {
        smallest = smallest.min(snapshot.services[0].counts[State::Idle]);
        over(snapshot)
    })
    .await;
    assert_eq!((smallest, bed.view().generation), (3, to));
    assert_eq!(bed.view().totals.retired, [(RetireReason::Generation, 3)].into());
    clean(held);
    bed.until(|s| s.services[0].counts.total() == 3).await;
    assert_eq!(bed.generations(), [2, 2, 2]);
    assert_eq!(bed.reload(running(1, policy(3))), []);
    assert_eq!(bed.reload(running(1, policy(4))), [Change::Adjusted]);
    bed.stocked().await;
    assert_eq!((bed.view().rollout, bed.generations()), (None, vec![2, 2, 2, 2]));
    assert_eq!(bed.pool.roll(&service()), Ok(Generation(3)), "and again");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_meanwhile_is_of_both_generations() {
    let bed = Bed::new(policy(2), &[8]);
    bed.stocked().await;
    bed.pool.roll(&service()).unwrap();
    assert_eq!(bed.reload(running(1, policy(3))), [Change::Adjusted]);
    bed.until(over).await;
    assert_eq!(bed.generations(), [2, 2, 2]);
    // Another spec takes the place of a rollout under way.
    bed.pool.roll(&service()).unwrap();
    assert_eq!(bed.reload(running(2, policy(3))), [Change::RollingOut(Generation(4))]);
    bed.until(over).await;
    assert_eq!(bed.generations(), [4, 4, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_does_not_get_ready_is_rolled_back() {
    let bed = Bed::new(policy(2), &[8]);
    bed.stocked().await;
    bed.engine.gate_spec(1, Gate::Err);
    bed.pool.roll(&service()).unwrap();
    bed.until(|s| s.services[0].rolled_back.is_some()).await;
    assert_eq!((bed.view().generation, bed.generations()), (Generation(1), vec![1, 1]));
    assert_eq!(bed.view().failing, None);
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_is_given_up_leaves_what_ran_and_no_reload_begins_it_again() {
    let (log, _guard) = Log::listen();
    let bed = Bed::new(policy(3), &[8]);
    bed.stocked().await;
    for stage in [Stage::Trial, Stage::TakingOver] {
        let to = bed.pool.roll(&service()).unwrap();
        bed.until(at(stage)).await;
        assert_eq!(bed.pool.roll_back(&service()), Ok(to));
        let reason = "the operator has ordered it".into();
        assert_eq!(bed.view().rolled_back, Some((to, reason)), "in {stage}");
        assert_eq!(bed.pool.roll_back(&service()), Err(OrderError::NoRollout(service())));
        assert_eq!(bed.reload(running(1, policy(3))), []);
        bed.until(|s| over(s) && s.services[0].counts.total() == 3).await;
        assert_eq!(bed.generations(), [1, 1, 1], "in {stage}");
    }
    let lines = log.lines("rolled back by the operator");
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("INFO")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_is_given_up_is_tried_again_by_the_next() {
    let bed = Bed::new(policy(2), &[8]);
    bed.stocked().await;
    assert_eq!(bed.reload(running(2, policy(2))), [Change::RollingOut(Generation(2))]);
    assert_eq!(bed.pool.roll_back(&service()), Ok(Generation(2)));
    assert_eq!(bed.reload(running(1, policy(2))), [], "that is what it runs");
    bed.until(over).await;
    assert_eq!(bed.generations(), [1, 1]);
    assert_eq!(bed.reload(running(2, policy(2))), [Change::RollingOut(Generation(3))]);
    bed.until(over).await;
    assert_eq!(bed.generations(), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_roll_has_its_canary_and_waits_while_the_service_is_drained() {
    let bed = Bed::new(Policy { canary: 500, ..policy(2) }, &[8]);
    bed.stocked().await;
    bed.pool.roll(&service()).unwrap();
    bed.until(at(Stage::Canary)).await;
    bed.pool.set_service_state(&service(), AdminState::Drain).unwrap();
    bed.until(|s| s.empty()).await;
    assert!(at(Stage::Canary)(&bed.pool.snapshot()));
    bed.pool.set_service_state(&service(), AdminState::Ready).unwrap();
    bed.stocked().await;
    for _ in 0..100 {
        clean(bed.lease().await.unwrap());
    }
    bed.until(over).await;
    assert_eq!(bed.view().generation, Generation(2));
}

#[tokio::test(start_paused = true)]
async fn orders_that_make_no_sense_are_refused_with_the_reason() {
    let bed = Bed::new(policy(1), &[8]);
    bed.stocked().await;
    let (nobody, unknown) = ("nobody's".into(), OrderError::UnknownService("nobody's".into()));
    assert_eq!(bed.pool.roll(&nobody), Err(unknown.clone()));
    assert_eq!(bed.pool.roll_back(&nobody), Err(unknown));
    let none = bed.pool.roll_back(&service()).unwrap_err();
    assert_eq!(none.to_string(), "no rollout of echo is under way");
    let to = bed.pool.roll(&service()).unwrap();
    assert_eq!(
        bed.pool.roll(&service()).unwrap_err().to_string(),
        format!("echo is being rolled out to generation {to}: wait for its end, or roll it back")
    );
    bed.pool.drain();
    assert_eq!(bed.pool.roll(&service()), Err(OrderError::Draining));
    assert_eq!(bed.pool.roll_back(&service()), Err(OrderError::Draining));
}
