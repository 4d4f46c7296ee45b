//! A pool over an engine in memory. A program of yours has its own `ContainerRuntime` in the
//! engine's place, and its own `Probe`.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{Outcome, Policy, Refusal};
use ganger_pool::discovery::{DaemonSpec, fixed};
use ganger_pool::testing::FakeEngine;
use ganger_pool::{Lease, Pool, ServiceOptions};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Refusal> {
    let engine = FakeEngine::new(1);
    let echo = ServiceOptions {
        name: "echo".into(),
        // Two in stock; each may be leased a second time.
        policy: Policy { warm: 2, max: 4, reuse: 1, ..Policy::default() },
        spec: Arc::new(1),
        start_timeout: Duration::from_secs(30),
    };
    let (max_containers, max_launches) = (10, Some(2));
    let rack =
        DaemonSpec { name: "rack1".into(), endpoint: 0, max_containers, tier: 0, max_launches };
    let pool = Pool::start(vec![echo], engine.clone(), engine.probe(), fixed(vec![rack]));
    for _ in 0..4 {
        let deadline = Instant::now() + Duration::from_secs(5);
        let lease = pool.lease(&"echo".into(), deadline).await?;
        println!("{} on {}: {}", lease.handle().launch, lease.daemon(), lease.start());
        // A lease that is dropped counts as failed, and its container is not used again.
        Lease::finish(lease, Outcome::Clean);
    }
    pool.drain();
    pool.until(|snapshot| snapshot.empty()).await;
    println!("every container is removed");
    Ok(())
}
