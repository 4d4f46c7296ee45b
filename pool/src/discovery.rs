//! The port to discovery: a watch of the whole set of daemons.

use std::sync::Arc;

use tokio::sync::watch;

use crate::core::{Capacity, DaemonName};

/// A daemon of the fleet, as discovery describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSpec<E> {
    /// Unique in the fleet.
    pub name: DaemonName,
    /// How it is reached.
    pub endpoint: E,
    /// The most containers it may hold, counting those being launched and removed.
    pub max_containers: u32,
    /// Launches go to the lowest tier that has room: 0 is the first choice.
    pub tier: u32,
    /// How many launches it has in flight; `None` begins with `min(2 x cpus, 8)` and learns
    /// the limit.
    pub max_launches: Option<u32>,
}

// === impl DaemonSpec ===

impl<E> DaemonSpec<E> {
    pub(crate) fn capacity(&self) -> Capacity {
        Capacity { containers: self.max_containers, tier: self.tier }
    }
}

/// The current fleet. Each value is the whole set: a daemon that is missing has left.
pub type FleetWatch<E> = watch::Receiver<Arc<[DaemonSpec<E>]>>;

/// A fleet that never changes.
#[must_use]
pub fn fixed<E>(daemons: Vec<DaemonSpec<E>>) -> FleetWatch<E> {
    watch::channel(Arc::from(daemons)).1
}
