//! What the broker hands to the launcher, and to those who remove.

use crate::core::{DaemonName, Generation, LaunchId, RetireReason, ServiceName};
use crate::runtime::Target;

/// What the ledger wants done about a container that is to be leased.
#[derive(Debug)]
pub(crate) enum Order {
    Launch {
        launch: LaunchId,
        daemon: DaemonName,
        service: ServiceName,
        generation: Generation,
        capacity: u32,
    },
    Interrupt(LaunchId),
    Check(LaunchId),
}

/// A container that is to go.
#[derive(Debug, Clone)]
pub(crate) struct RemovalOrder {
    pub(crate) target: Target,
    pub(crate) reason: RetireReason,
    /// Whose stock it was in, if it ended there by itself.
    pub(crate) ended_in_stock: Option<ServiceName>,
}
