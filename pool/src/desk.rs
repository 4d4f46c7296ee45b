//! The lease desk: bounded admission to one service's stock.
//!
//! A `deadpool` pool whose manager never launches anything: `create` is a
//! checkout from the broker, and every lease ends with `Object::take`, so the
//! pool's own idle queue stays empty. What it gives: at most so many
//! connections that hold or wait for a container, a place that is freed
//! whatever becomes of its holder, and an end to all waiting on `close`.

use std::sync::Arc;

use deadpool::managed::{self, Metrics, PoolError, RecycleError, RecycleResult, Timeouts};
use std::time::Duration;
use tokio::time::Instant;

use crate::broker::{Broker, Grant};
use crate::core::{Outcome, Policy, Refusal, ServiceName};
use crate::lease::Lease;
use crate::runtime::ContainerRuntime;

tokio::task_local! {
    /// Until when the checkout in this task may wait: `Manager::create` has no
    /// argument to pass it in.
    static DEADLINE: Instant;
}

pub(crate) struct Desk<R: ContainerRuntime> {
    pool: managed::Pool<Checkout<R>>,
    max_uses: u32,
}

/// Checks containers out of the stock of one service.
pub(crate) struct Checkout<R: ContainerRuntime> {
    broker: Arc<Broker<R>>,
    service: ServiceName,
}

/// A container that is checked out. Goes back when dropped, whatever happened.
pub(crate) struct Held<R: ContainerRuntime> {
    pub(crate) grant: Grant<R>,
    pub(crate) outcome: Outcome,
    broker: Arc<Broker<R>>,
}

// === impl Desk ===

impl<R: ContainerRuntime> Desk<R> {
    #[expect(clippy::expect_used, reason = "a pool without timeouts needs no runtime to build")]
    pub(crate) fn new(broker: Arc<Broker<R>>, service: ServiceName, policy: &Policy) -> Self {
        let places = policy.max.saturating_add(policy.queue_length);
        let pool = managed::Pool::builder(Checkout { broker, service })
            .max_size(usize::try_from(places).unwrap_or(usize::MAX).min(usize::MAX >> 4))
            .build()
            .expect("no timeouts are set");
        Self { pool, max_uses: policy.reuse.saturating_add(1) }
    }

    /// # Cancel safety
    /// Dropping the future leaves the queue at once.
    pub(crate) async fn lease(&self, deadline: Instant) -> Result<Lease<R>, Refusal> {
        // Nobody waits for a place: the queue is the ledger's.
        let timeouts = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
        let object = DEADLINE.scope(deadline, self.pool.timeout_get(&timeouts)).await;
        match object {
            Ok(object) => Ok(Lease::new(object, self.max_uses)),
            Err(PoolError::Backend(refusal)) => Err(refusal),
            Err(PoolError::Closed) => Err(Refusal::Draining),
            Err(_) => Err(Refusal::QueueFull),
        }
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

// === impl Checkout ===

impl<R: ContainerRuntime> managed::Manager for Checkout<R> {
    type Type = Held<R>;
    type Error = Refusal;

    async fn create(&self) -> Result<Held<R>, Refusal> {
        let deadline = DEADLINE.with(|deadline| *deadline);
        let grant = self.broker.lease(&self.service, deadline.into_std()).await?;
        Ok(Held { grant, outcome: Outcome::Unused, broker: self.broker.clone() })
    }

    async fn recycle(&self, _: &mut Held<R>, _: &Metrics) -> RecycleResult<Refusal> {
        Err(RecycleError::message("a lease is not recycled; it goes back to the stock"))
    }
}

// === impl Held ===

impl<R: ContainerRuntime> Drop for Held<R> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Failed);
        self.broker.returned(self.grant.launch, outcome);
    }
}
