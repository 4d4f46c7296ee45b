//! Canaries: a new generation has a share of the leases before it takes over.

#![expect(clippy::expect_used, reason = "a failure is to end the test")]

#[path = "support/bed.rs"]
mod bed;

use std::sync::Arc;

use bed::{Bed, clean, options};
use ganger_pool::core::{Generation, Outcome, Policy, ServiceView, Stage, State};
use ganger_pool::testing::Gate;
use ganger_pool::{Lease, ServiceOptions};

/// A quarter of the leases.
fn policy(warm: u32) -> Policy {
    Policy { warm, max: 16, canary: 250, ..Policy::default() }
}

impl Bed {
    fn reload(&self, spec: u32, policy: Policy) {
        self.pool.reload(vec![ServiceOptions { spec: Arc::new(spec), ..options(policy) }]);
    }

    /// Once the new spec has its share.
    async fn canary(&self, policy: Policy) {
        self.reload(2, policy);
        let ready = |s: &ServiceView| s.rollout.as_ref().is_some_and(|r| r.stage == Stage::Canary);
        self.until(|s| ready(&s.services[0]) && s.stocked() && s.settled()).await;
    }

    fn stage(&self) -> Option<Stage> {
        self.pool.snapshot().services[0].rollout.as_ref().map(|rollout| rollout.stage)
    }

    /// Leases, one after the other, until the canary is over; those of the new spec end with
    /// `outcome`, the others well. Returns how many of each there were, the new ones first.
    async fn visitors(&self, outcome: Outcome) -> [u32; 2] {
        let mut given = [0; 2];
        while self.stage() == Some(Stage::Canary) {
            assert!(given[0] + given[1] < 200, "{given:?}");
            let lease = self.lease().await.expect("there is stock");
            let new = lease.handle().spec == 2;
            given[usize::from(!new)] += 1;
            Lease::finish(lease, if new { outcome } else { Outcome::Clean });
            self.until(|s| s.stocked() && s.settled()).await;
        }
        given
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_well_has_its_share_and_then_takes_over() {
    for reuse in [0, 100] {
        let policy = Policy { reuse, ..policy(4) };
        let bed = Bed::new(policy.clone(), &[16]);
        bed.stocked().await;
        bed.canary(policy).await;
        assert_eq!(bed.pool.snapshot().services[0].counts[State::Idle], 5, "beside the others");
        let [new, old] = bed.visitors(Outcome::Clean).await;
        assert_eq!(new, 20);
        assert!((57..=60).contains(&old), "with reuse {reuse} the one before had {old}");
        assert!(reuse == 0 || bed.engine.launched() < 15, "{} launches", bed.engine.launched());
        bed.until(|s| s.services[0].rollout.is_none()).await;
        assert_eq!(bed.pool.snapshot().services[0].generation, Generation(2));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_its_clients_is_rolled_back_after_a_few() {
    let bed = Bed::new(policy(4), &[16]);
    bed.stocked().await;
    bed.canary(policy(4)).await;
    let [new, _] = bed.visitors(Outcome::Failed).await;
    assert_eq!(new, 3);
    let service = bed.pool.snapshot().services.remove(0);
    let (generation, reason) = service.rolled_back.expect("it was rolled back");
    assert_eq!(generation, Generation(2));
    assert!(reason.starts_with("of 3 connections to it 3 failed, of "), "{reason}");
    bed.stocked().await;
    assert_eq!(bed.lease().await.unwrap().handle().spec, 1);
}

#[tokio::test(start_paused = true)]
async fn one_whose_containers_end_with_their_clients_does_well() {
    let bed = Bed::new(policy(4), &[16]);
    bed.stocked().await;
    bed.canary(policy(4)).await;
    let [new, _] = bed.visitors(Outcome::Ended).await;
    assert_eq!(new, 20);
    bed.until(|s| s.services[0].generation == Generation(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_empties_the_stock_and_gets_no_more_than_the_share_of_the_new_spec() {
    let policy = Policy { max: 200, ..policy(4) };
    let bed = Bed::new(policy.clone(), &[200]);
    bed.stocked().await;
    bed.canary(policy).await;
    let crowd: Vec<_> = (0..60).map(|_| bed.queue()).collect();
    let mut new = 0;
    let mut held = Vec::new();
    for client in crowd {
        let lease = client.await.unwrap().unwrap();
        new += u32::from(lease.handle().spec == 2);
        held.push(lease);
    }
    assert!((1..=17).contains(&new), "{new} of 60");
    held.into_iter().for_each(clean);
}

#[tokio::test(start_paused = true)]
async fn it_takes_over_at_once_when_the_one_before_cannot_be_launched_any_more() {
    let bed = Bed::new(policy(2), &[16]);
    bed.stocked().await;
    bed.canary(policy(2)).await;
    bed.engine.gate_spec(1, Gate::Err);
    for _ in 0..12 {
        // However the lease goes, its container is not launched again.
        drop(bed.lease().await);
    }
    bed.until(|s| s.services[0].rollout.is_none() && s.stocked()).await;
    assert_eq!(bed.lease().await.unwrap().handle().spec, 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_share_it_takes_over() {
    let bed = Bed::new(policy(2), &[16]);
    bed.stocked().await;
    bed.canary(policy(2)).await;
    bed.reload(2, Policy { canary: 0, ..policy(2) });
    bed.until(|s| s.services[0].rollout.is_none() && s.stocked()).await;
    assert_eq!(bed.pool.snapshot().services[0].generation, Generation(2));
}
