//! The lease pool: bounded admission to one service's stock.
//!
//! A `deadpool` pool whose manager never launches anything: `create` is a
//! checkout from the broker, and every lease ends with `Object::take`, so the
//! pool's own idle queue stays empty. The lease pool limits the connections that
//! hold or wait for a container, frees the place of a connection however that
//! ends, and admits none after `close`. The ledger decides the order of those
//! that wait, and the end of their waiting.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, PoolError, Timeouts};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::core::{Policy, Refusal, ServiceName};
use crate::lease::Lease;
use crate::lease_manager::{ASKED, Asked, LeaseManager};
use crate::runtime::ContainerRuntime;

/// The most places of a lease pool: `deadpool` makes room for all of them at once.
const MOST: u32 = 1 << 20;

pub(crate) struct LeasePool<R: ContainerRuntime> {
    pool: managed::Pool<LeaseManager<R>>,
    max_uses: u32,
}

// === impl LeasePool ===

impl<R: ContainerRuntime> LeasePool<R> {
    #[expect(clippy::expect_used, reason = "a pool without timeouts needs no runtime to build")]
    pub(crate) fn new(broker: Arc<Broker<R>>, service: ServiceName, policy: &Policy) -> Self {
        let places = policy.max.saturating_add(policy.queue_length).min(MOST);
        let pool = managed::Pool::builder(LeaseManager { broker, service })
            .max_size(usize::try_from(places).unwrap_or(usize::MAX))
            .build()
            .expect("no timeouts are set");
        Self { pool, max_uses: policy.reuse.saturating_add(1) }
    }

    /// Leases a container; `queued` gets the place in the queue of a client that has to wait.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue at once.
    pub(crate) async fn lease(
        &self,
        deadline: Instant,
        queued: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Lease<R>, Refusal> {
        // Nobody waits for a place: the queue is the ledger's.
        let timeouts = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
        let got = async {
            let mut got = pin!(self.pool.timeout_get(&timeouts));
            poll_fn(|cx| {
                let polled = got.as_mut().poll(cx);
                // A client that is served at once has no place.
                if polled.is_pending() {
                    let place = ASKED.with(|asked| asked.place.take());
                    Some(place).filter(|place| *place > 0).into_iter().for_each(queued);
                }
                polled
            })
            .await
        };
        let object = ASKED.scope(Asked { deadline, place: Cell::new(0) }, got).await;
        match object {
            Ok(object) => Ok(Lease::new(object, self.max_uses)),
            Err(PoolError::Backend(refusal)) => Err(refusal),
            Err(PoolError::Closed) => Err(self.refused(Refusal::Draining)),
            Err(_) => Err(self.refused(Refusal::QueueFull)),
        }
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        let LeaseManager { broker, service } = self.pool.manager();
        broker.refused(service, refusal)
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}
