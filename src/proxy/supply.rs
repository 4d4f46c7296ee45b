//! The data path's view of the pool: one lease per connection.

use std::future::Future;
use std::sync::Arc;

use ganger_pool::core::{DaemonName, LaunchId, ServiceName};
pub use ganger_pool::core::{Outcome, Refusal, StartKind};
use ganger_pool::runtime::ContainerRuntime;
use ganger_pool::{Lease, Pool};
use tokio::time::Instant;

use crate::reach::Backend;

/// Leases containers.
pub trait Supply: Send + Sync + 'static {
    /// The leases that it hands out.
    type Lease: Leased;

    /// Waits for a container of a service, in order of arrival. `queued` is told the place in the
    /// queue of a caller that has to wait: 1 is the next to be served.
    ///
    /// # Errors
    /// See [`Refusal`]. At the latest at `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue at once.
    fn lease(
        &self,
        service: &ServiceName,
        deadline: Instant,
        queued: &(dyn Fn(u32) + Send + Sync),
    ) -> impl Future<Output = Result<Self::Lease, Refusal>> + Send;
}

/// The lease of one container. Dropped unfinished, the lease counts as failed.
pub trait Leased: Send + 'static {
    /// How the container is reached.
    type Backend: Backend;

    /// The container.
    fn backend(&self) -> &Arc<Self::Backend>;
    /// The container's launch.
    fn launch(&self) -> LaunchId;
    /// The container's daemon.
    fn daemon(&self) -> &DaemonName;
    /// How the lease was served.
    fn start(&self) -> StartKind;
    /// Leases of the container so far, this one included.
    fn uses(&self) -> u32;
    /// The most leases that the container may have.
    fn max_uses(&self) -> u32;
    /// How many containers were ready when this one was chosen, itself included.
    fn ready(&self) -> u32;
    /// Ends the lease.
    fn finish(self, outcome: Outcome);
}

impl<R: ContainerRuntime<Handle: Backend>> Supply for Pool<R> {
    type Lease = Lease<R>;

    async fn lease(
        &self,
        service: &ServiceName,
        deadline: Instant,
        queued: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Lease<R>, Refusal> {
        self.lease_in_line(service, deadline, queued).await
    }
}

impl<R: ContainerRuntime<Handle: Backend>> Leased for Lease<R> {
    type Backend = R::Handle;

    fn backend(&self) -> &Arc<R::Handle> {
        self.handle()
    }

    fn launch(&self) -> LaunchId {
        self.launch()
    }

    fn daemon(&self) -> &DaemonName {
        self.daemon()
    }

    fn start(&self) -> StartKind {
        self.start()
    }

    fn uses(&self) -> u32 {
        self.uses()
    }

    fn max_uses(&self) -> u32 {
        self.max_uses()
    }

    fn ready(&self) -> u32 {
        self.ready()
    }

    fn finish(self, outcome: Outcome) {
        Self::finish(self, outcome);
    }
}
