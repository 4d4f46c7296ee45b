//! What the ledger waits for.

use super::{DaemonName, Lane, LaunchId, WaiterId};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A waiter's deadline.
    Waiter(WaiterId),
    /// A container in stock gets too old.
    Age(LaunchId),
    /// What a container in stock has proved is too long ago, without contact.
    Stale(LaunchId),
    /// A launch takes unusually long.
    Late(LaunchId),
    /// The end of a service's surplus window.
    Surplus(usize),
    /// When the demand of a service is looked at though nobody came.
    Demand(usize),
    /// The end of a lane's back-off.
    Lane(Lane),
    /// The end of a pause in what is launched for the stock of a lane.
    Stock(Lane),
    /// The end of a daemon's back-off.
    Daemon(DaemonName),
    /// A lane waits no longer for daemons that have yet to answer.
    Hold(Lane),
    /// The spread of the stocks is looked at.
    Spread,
}
