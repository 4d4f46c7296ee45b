//! The orders that the broker gives to the launcher and the removers.

use crate::core::{DaemonName, Generation, LaunchId, RetireReason, ServiceName};
use crate::runtime::Target;

/// An order of the ledger for a container that is to be leased.
#[derive(Debug)]
pub(crate) enum Order {
    Launch {
        launch: LaunchId,
        daemon: DaemonName,
        service: ServiceName,
        generation: Generation,
        max_containers: u32,
    },
    Interrupt(LaunchId),
    Check(LaunchId),
}

/// A container to be removed.
#[derive(Debug, Clone)]
pub(crate) struct RemovalOrder {
    pub(crate) target: Target,
    pub(crate) reason: RetireReason,
    /// The service in whose stock it ended, if it did so.
    pub(crate) ended_in_stock: Option<ServiceName>,
}
