//! Checking one container out of the stock, as `deadpool`'s manager.

use std::sync::Arc;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use tokio::time::Instant;

use crate::broker::{Broker, Grant};
use crate::core::{Outcome, Refusal, ServiceName};
use crate::runtime::ContainerRuntime;

tokio::task_local! {
    /// Until when the checkout in this task may wait: `Manager::create` has no
    /// argument to pass it in.
    pub(crate) static DEADLINE: Instant;
}

/// Checks containers out of the stock of one service.
pub(crate) struct Checkout<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) service: ServiceName,
}

/// A container that is checked out. Goes back when dropped, whatever happened.
pub(crate) struct Held<R: ContainerRuntime> {
    pub(crate) grant: Grant<R>,
    pub(crate) outcome: Outcome,
    broker: Arc<Broker<R>>,
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
