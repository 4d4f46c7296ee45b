//! The timers of the ledger.

use super::{DaemonId, LaunchId, ServiceId, SpecKey, WaiterId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A waiter's deadline.
    Waiter(WaiterId),
    /// A container in stock gets too old.
    Age(LaunchId),
    /// The last proof of a container in stock, without contact, is too old.
    Stale(LaunchId),
    /// A launch takes unusually long.
    Late(LaunchId),
    /// The end of a service's surplus window.
    Surplus(ServiceId),
    /// The demand of a service is reviewed though nobody came.
    Demand(ServiceId),
    /// The end of a spec's back-off.
    BackOff(SpecKey),
    /// The end of a pause of launches for the stock of a spec.
    Stock(SpecKey),
    /// The end of a daemon's back-off.
    Daemon(DaemonId),
    /// A spec waits no longer for daemons that have yet to answer.
    Hold(SpecKey),
    /// The spread of the stocks is looked at.
    Spread,
}
