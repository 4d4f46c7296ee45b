//! Every container, for readers.

use std::ops::Bound;
use std::time::Instant;

use super::{DaemonName, Generation, LaunchId, Ledger, RetireReason, ServiceName, State};

/// A container at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Its launch.
    pub launch: LaunchId,
    /// The service that it is of.
    pub service: ServiceName,
    /// The version of the service's spec.
    pub generation: Generation,
    /// The daemon that it is on.
    pub daemon: DaemonName,
    /// Where it is in its life.
    pub state: State,
    /// Leases that it has had, the one that goes on included.
    pub uses: u32,
    /// When its launch was ordered.
    pub launched: Instant,
    /// Since when it is in its state.
    pub since: Instant,
    /// Why it is being retired, or will be when its launch or its lease has ended.
    pub retire_reason: Option<RetireReason>,
}

// === impl Ledger ===

impl Ledger {
    /// Up to `most` containers, in the order of their launches, from the one that comes `after`
    /// that launch, or from the first. Looks at no others.
    #[must_use]
    pub fn containers(&self, after: Option<LaunchId>, most: usize) -> Vec<ContainerView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.containers.range((from, Bound::Unbounded)).take(most);
        let views = next.map(|(launch, container)| ContainerView {
            launch: *launch,
            service: self.services[container.service].name.clone(),
            generation: container.generation,
            daemon: self.daemons[container.daemon].name.clone(),
            state: container.state,
            uses: container.uses,
            launched: container.born,
            since: container.since,
            retire_reason: container.retire_as,
        });
        views.collect()
    }
}
