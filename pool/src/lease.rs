//! The exclusive hold of one container by one connection.

use std::fmt;
use std::sync::Arc;

use deadpool::managed::Object;

use crate::broker::Grant;
use crate::core::{DaemonName, LaunchId, Outcome, StartKind};
use crate::lease_manager::{Checkout, LeaseManager};
use crate::runtime::ContainerRuntime;

/// A leased container.
///
/// Ends with [`Lease::finish`]; a lease that is dropped instead counts as failed,
/// and its container is retired.
#[must_use = "a container that is not used should not be leased"]
pub struct Lease<R: ContainerRuntime> {
    /// `None` only while it is dropped.
    object: Option<Object<LeaseManager<R>>>,
    grant: Grant<R>,
    max_uses: u32,
}

// === impl Lease ===

impl<R: ContainerRuntime> Lease<R> {
    pub(crate) fn new(mut object: Object<LeaseManager<R>>, max_uses: u32) -> Self {
        object.outcome = Outcome::Failed;
        Self { grant: object.grant.clone(), max_uses, object: Some(object) }
    }

    /// The container.
    pub fn handle(&self) -> &Arc<R::Handle> {
        &self.grant.handle
    }

    /// The daemon that runs it.
    pub fn daemon(&self) -> &DaemonName {
        &self.grant.daemon
    }

    /// The launch it came of.
    pub fn launch(&self) -> LaunchId {
        self.grant.launch
    }

    /// How the lease was served.
    pub fn start(&self) -> StartKind {
        self.grant.start
    }

    /// Which lease of this container it is; 1 is the first.
    pub fn uses(&self) -> u32 {
        self.grant.uses
    }

    /// How many containers were ready when this one was leased, itself included: the newest
    /// generation goes first, then those that their daemon lists, then the most used, then the
    /// oldest.
    pub fn ready(&self) -> u32 {
        self.grant.ready
    }

    /// How many leases a container of this service may have.
    pub fn max_uses(&self) -> u32 {
        self.max_uses
    }

    /// Ends the lease.
    pub fn finish(mut lease: Self, outcome: Outcome) {
        if let Some(object) = &mut lease.object {
            object.outcome = outcome;
        }
    }
}

impl<R: ContainerRuntime> Drop for Lease<R> {
    fn drop(&mut self) {
        // Taken, so that the lease pool frees the place and keeps nothing; dropping
        // the checkout gives the container back.
        drop(self.object.take().map(Object::<LeaseManager<R>>::take) as Option<Checkout<R>>);
    }
}

impl<R: ContainerRuntime> fmt::Debug for Lease<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("launch", &self.grant.launch)
            .field("daemon", &self.grant.daemon)
            .field("start", &self.grant.start)
            .field("uses", &self.grant.uses)
            .finish_non_exhaustive()
    }
}
