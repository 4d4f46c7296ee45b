//! The subject of an event: a container, a daemon, a service.

use super::kind::EventKind;
use crate::core::{ContainerKey, DaemonName, LaunchId, ServiceName};

// === impl EventKind ===

impl EventKind {
    /// The launch of the container that the event names, if that is one of this pool's.
    #[must_use]
    pub fn launch(&self) -> Option<LaunchId> {
        match self {
            Self::LaunchOrdered { launch, .. }
            | Self::StateChanged { launch, .. }
            | Self::LaunchReady { launch, .. }
            | Self::LaunchFailed { launch, .. }
            | Self::LaunchInterrupted { launch, .. }
            | Self::RemovedBeforeReady { launch, .. }
            | Self::CheckFailed { launch, .. }
            | Self::RetireOrdered { launch }
            | Self::Granted { launch, .. }
            | Self::GrantedToNobody { launch }
            | Self::Returned { launch, .. } => Some(*launch),
            Self::EndedInStock { target, .. }
            | Self::Retiring { target, .. }
            | Self::RemovalPending { target }
            | Self::RemovalFailing { target, .. }
            | Self::Removed { target, .. } => match target.key {
                ContainerKey::Launch(launch) => Some(launch),
                ContainerKey::Stray(_) => None,
            },
            _ => None,
        }
    }

    /// The daemon that the event names. An event that bears a launch alone is about the
    /// daemon of that launch's [`EventKind::LaunchOrdered`].
    #[must_use]
    pub fn daemon(&self) -> Option<&DaemonName> {
        match self {
            Self::LaunchOrdered { daemon, .. }
            | Self::LaunchReady { daemon, .. }
            | Self::LaunchFailed { daemon, .. }
            | Self::LaunchInterrupted { daemon, .. }
            | Self::RemovedBeforeReady { daemon, .. }
            | Self::DaemonJoined { daemon, .. }
            | Self::DaemonResized { daemon, .. }
            | Self::DaemonLeft { daemon }
            | Self::DaemonDrained { daemon }
            | Self::DaemonStateSet { daemon, .. }
            | Self::ContactMade { daemon, .. }
            | Self::ContactLost { daemon, .. }
            | Self::ContactFailed { daemon, .. }
            | Self::StreamBroke { daemon, .. }
            | Self::StreamFailed { daemon, .. }
            | Self::ListFailed { daemon, .. }
            | Self::Listed { daemon, .. }
            | Self::ServicePrepared { daemon, .. }
            | Self::ServiceUnfit { daemon, .. }
            | Self::Degraded { daemon, .. }
            | Self::Recovered { daemon } => Some(daemon),
            Self::EndedInStock { target, .. }
            | Self::Retiring { target, .. }
            | Self::RemovalPending { target }
            | Self::RemovalFailing { target, .. }
            | Self::Removed { target, .. } => Some(&target.daemon),
            _ => None,
        }
    }

    /// The service that the event names; see [`EventKind::daemon`].
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::LaunchOrdered { service, .. }
            | Self::LaunchReady { service, .. }
            | Self::LaunchFailed { service, .. }
            | Self::LaunchInterrupted { service, .. }
            | Self::RemovedBeforeReady { service, .. }
            | Self::EndedInStock { service, .. }
            | Self::Refused { service, .. }
            | Self::ServicePrepared { service, .. }
            | Self::ServiceUnfit { service, .. }
            | Self::StockResized { service, .. }
            | Self::Paced { service, .. }
            | Self::ServiceChanged { service, .. }
            | Self::ServiceStateSet { service, .. }
            | Self::RollOrdered { service, .. }
            | Self::RolloutAdvanced { service, .. }
            | Self::SwitchedOver { service, .. }
            | Self::RolledBack { service, .. } => Some(service),
            _ => None,
        }
    }
}
