//! A pool over a fake engine.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{Outcome, Policy, Refusal, ServiceName, Snapshot};
use ganger_pool::discovery::{DaemonSpec, FleetWatch, fixed};
use ganger_pool::testing::{FakeEngine, ask_every_subscriber};
use ganger_pool::{Lease, Pool, ServiceOptions};
use tokio::time::Instant;

pub struct Bed {
    pub engine: Arc<FakeEngine>,
    pub pool: Arc<Pool<FakeEngine>>,
}

pub fn service() -> ServiceName {
    "echo".into()
}

pub fn daemon(name: &str, max_containers: u32) -> DaemonSpec<u32> {
    DaemonSpec { name: name.into(), endpoint: 0, max_containers, tier: 0, max_launches: None }
}

pub fn options(policy: Policy) -> ServiceOptions<u32> {
    ServiceOptions {
        name: service(),
        policy,
        spec: Arc::new(1),
        start_timeout: Duration::from_secs(30),
    }
}

impl Bed {
    /// A service on daemons with these capacities, named `d1`, `d2`, …
    pub fn new(policy: Policy, capacities: &[u32]) -> Self {
        Self::with(&FakeEngine::new(7), policy, capacities)
    }

    pub fn with(engine: &Arc<FakeEngine>, policy: Policy, capacities: &[u32]) -> Self {
        let daemons =
            capacities.iter().enumerate().map(|(n, max)| daemon(&format!("d{}", n + 1), *max));
        Self::over(engine, vec![options(policy)], fixed(daemons.collect()))
    }

    /// These services on a fleet that may change.
    pub fn over(
        engine: &Arc<FakeEngine>,
        services: Vec<ServiceOptions<u32>>,
        fleet: FleetWatch<u32>,
    ) -> Self {
        ask_every_subscriber();
        let pool = Pool::start(services, engine.clone(), engine.probe(), fleet);
        Self { engine: engine.clone(), pool: Arc::new(pool) }
    }

    /// Once the stock is as large as wanted.
    pub async fn stocked(&self) {
        self.until(|s| s.settled() && s.stocked()).await;
    }

    /// Waits for a condition of the pool, in paused time: an hour without it is never.
    pub async fn until(&self, condition: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let hour = Duration::from_secs(3600);
        match tokio::time::timeout(hour, self.pool.until(condition)).await {
            Ok(snapshot) => snapshot,
            Err(_) => panic!("never came about: {:#?}", self.pool.snapshot()),
        }
    }

    pub async fn lease(&self) -> Result<Lease<FakeEngine>, Refusal> {
        self.pool.lease(&service(), Instant::now() + Duration::from_secs(30)).await
    }

    /// Leases in a task of its own.
    pub fn queue(&self) -> tokio::task::JoinHandle<Result<Lease<FakeEngine>, Refusal>> {
        let pool = self.pool.clone();
        let deadline = Instant::now() + Duration::from_secs(30);
        tokio::spawn(async move { pool.lease(&service(), deadline).await })
    }

    pub async fn waiting(&self, n: u32) {
        self.until(|s| s.services[0].waiting == n).await;
    }
}

pub fn clean(lease: Lease<FakeEngine>) {
    Lease::finish(lease, Outcome::Clean);
}
