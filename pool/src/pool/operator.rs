//! The orders that an operator may give to a running pool.

use std::sync::Arc;

use super::Pool;
use crate::core::{
    AdminState, ContainerView, DaemonName, Generation, LaunchId, OrderError, Retirement,
    ServiceName,
};
use crate::runtime::ContainerRuntime;

// === impl Pool ===

impl<R: ContainerRuntime> Pool<R> {
    /// Sets whether a daemon is used. Returns whether that changes anything.
    ///
    /// In `Drain` and `Maint` nothing is launched or leased on the daemon. Its stock, and what
    /// gets ready or is checked there, is retired; leases go on, and their containers are retired
    /// at their end. Contact is kept, for removals have to be confirmed; in `Maint` its loss is
    /// told as expected. Back in `Ready` the daemon is launched on again. The state holds until
    /// it is set again or the daemon, having left the fleet, holds nothing any more; it does not
    /// matter whether there is contact. While no daemon is `Ready`, connections that find no
    /// container are refused at once.
    ///
    /// # Errors
    /// [`OrderError::UnknownDaemon`].
    pub fn set_daemon_state(
        &self,
        daemon: &DaemonName,
        state: AdminState,
    ) -> Result<bool, OrderError> {
        self.broker.set_daemon_state(daemon, state)
    }

    /// Sets whether a service is used. Returns whether that changes anything.
    ///
    /// In `Drain` and `Maint`, which do the same, connections are refused with
    /// [`Refusal::Operator`], those that wait already likewise. The stock is retired and nothing
    /// is launched; leases go on, and their containers are retired at their end. Back in `Ready`
    /// the stock is launched again. A rollout that is under way stands still meanwhile, and then
    /// goes on from its stage; one that was taking over is complete by then, as nothing of the
    /// old generation is left. The state holds until it is set again or the service is removed;
    /// a reload that keeps the service keeps it.
    ///
    /// # Errors
    /// [`OrderError::UnknownService`].
    ///
    /// [`Refusal::Operator`]: crate::core::Refusal::Operator
    pub fn set_service_state(
        &self,
        service: &ServiceName,
        state: AdminState,
    ) -> Result<bool, OrderError> {
        self.broker.set_service_state(service, state)
    }

    /// Replaces every container of a service without a gap: its spec is rolled out as a new
    /// generation, which is launched and judged as that of a reload. Returns that generation.
    ///
    /// A reload that does not change what the service runs leaves the rollout alone. After a
    /// rollback such a reload does not begin it again: the generation before runs the same.
    ///
    /// # Errors
    /// [`OrderError::UnknownService`]; [`OrderError::RollingOut`] while a rollout is under way;
    /// [`OrderError::Draining`].
    pub fn roll(&self, service: &ServiceName) -> Result<Generation, OrderError> {
        self.broker.roll(service)
    }

    /// Gives up the rollout of a service that is under way, and returns its generation. The
    /// containers of that are retired, leased ones when their lease ends, and the generation
    /// before goes on.
    ///
    /// As after any rollback, the next reload that asks for the same spec begins to roll it out
    /// again.
    ///
    /// # Errors
    /// [`OrderError::UnknownService`]; [`OrderError::NoRollout`]; [`OrderError::Draining`].
    pub fn roll_back(&self, service: &ServiceName) -> Result<Generation, OrderError> {
        self.broker.roll_back(service)
    }

    /// Every container of this pool, in the order of their launches.
    ///
    /// The pool looks at 256 at a time, so that leases do not wait for all of them: changes made
    /// meanwhile show in some and not in others. A container that is there all the time is
    /// in the answer once.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerView> {
        self.broker.containers().into_iter().map(|(view, _)| view).collect()
    }

    /// The same, each with its handle once it was started.
    #[must_use]
    pub fn containers_and_handles(&self) -> Vec<(ContainerView, Option<Arc<R::Handle>>)> {
        self.broker.containers()
    }

    /// Retires one container, and returns how. The container is not leased any more; if it is
    /// leased now, it is retired when its lease ends. Another is launched in its place if
    /// wanted.
    pub fn retire(&self, launch: LaunchId) -> Retirement {
        self.broker.retire(launch)
    }
}
