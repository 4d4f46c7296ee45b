//! Checking one container out of the stock, as `deadpool`'s manager.

use std::cell::Cell;
use std::sync::Arc;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use tokio::time::Instant;

use crate::broker::{Broker, Grant};
use crate::core::{Outcome, Refusal, ServiceName};
use crate::runtime::ContainerRuntime;

tokio::task_local! {
    /// The request for the checkout in this task: `Manager::create` has no argument to
    /// pass it in.
    pub(crate) static ASKED: Asked;
}

/// The request for a checkout, which its lease pool and the manager share.
pub(crate) struct Asked {
    /// When it stops waiting.
    pub(crate) deadline: Instant,
    /// Its place in the queue, until the lease pool has told it to the client; else 0.
    pub(crate) place: Cell<u32>,
}

/// Checks containers out of the stock of one service.
pub(crate) struct LeaseManager<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) service: ServiceName,
}

/// A container that is checked out. Goes back when dropped, whatever happened.
pub(crate) struct Checkout<R: ContainerRuntime> {
    pub(crate) grant: Grant<R>,
    pub(crate) outcome: Outcome,
    broker: Arc<Broker<R>>,
}

// === impl LeaseManager ===

impl<R: ContainerRuntime> managed::Manager for LeaseManager<R> {
    type Type = Checkout<R>;
    type Error = Refusal;

    async fn create(&self) -> Result<Checkout<R>, Refusal> {
        let deadline = ASKED.with(|asked| asked.deadline).into_std();
        let queued = |place| ASKED.with(|asked| asked.place.set(place));
        let grant = self.broker.lease(&self.service, deadline, queued).await?;
        Ok(Checkout { grant, outcome: Outcome::Unused, broker: self.broker.clone() })
    }

    async fn recycle(&self, _: &mut Checkout<R>, _: &Metrics) -> RecycleResult<Refusal> {
        Err(RecycleError::message("a lease is not recycled; it goes back to the stock"))
    }
}

// === impl Checkout ===

impl<R: ContainerRuntime> Drop for Checkout<R> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Failed);
        self.broker.returned(self.grant.launch, outcome);
    }
}
