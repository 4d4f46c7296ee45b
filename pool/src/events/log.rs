//! The log of the events of a pool.

use tracing::{debug, info, trace, warn};

use super::kind::EventKind;
use crate::core::{Fault, GivenUp, RetireReason};

/// Writes an event to the log. Single leases are left out: their holders know more of them.
pub(super) fn write(kind: &EventKind) {
    match kind {
        EventKind::LaunchOrdered { .. }
        | EventKind::Granted { .. }
        | EventKind::Refused { .. }
        | EventKind::Returned { .. }
        | EventKind::Listed { .. }
        | EventKind::ServicePrepared { .. }
        // The caller of the reload logs it.
        | EventKind::ServiceChanged { .. } => {}
        EventKind::StateChanged { launch, from, to } => trace!(%launch, %from, %to, "the container has another state"),
        EventKind::LaunchReady { launch, service, daemon, took } => {
            debug!(%launch, %service, %daemon, ?took, "ready");
        }
        EventKind::LaunchFailed { launch, service, daemon, fault, reason, .. } => match fault {
            Fault::Full => debug!(%launch, %service, %daemon, reason = &**reason, "no room"),
            Fault::Service | Fault::Daemon | Fault::Unprepared | Fault::Unwanted => {
                warn!(%launch, %service, %daemon, error = &**reason, "launch failed");
            }
        },
        EventKind::LaunchInterrupted { launch, service, daemon } => {
            debug!(%launch, %service, %daemon, "the launch is not wanted any more, or its container is gone");
        }
        EventKind::RemovedBeforeReady { launch, service, daemon, .. } => {
            warn!(%launch, %service, %daemon, "the container was removed before it was ready");
        }
        EventKind::CheckFailed { launch, reason } => {
            debug!(%launch, error = &**reason, "the container cannot be leased again");
        }
        EventKind::EndedInStock { target, service, reason, untold, .. } => {
            let (launch, daemon) = (&target.key, &target.daemon);
            warn!(%service, %launch, %daemon, untold, reason = &**reason, "a container ended in stock");
        }
        EventKind::GrantedToNobody { launch } => {
            warn!(%launch, "granted a container that nobody waits for");
        }
        EventKind::RetireOrdered { launch } => {
            info!(%launch, "the operator has ordered the container to be retired");
        }
        EventKind::Retiring { target, reason } => {
            debug!(target = %target.key, daemon = %target.daemon, %reason, "the container is to be removed");
        }
        EventKind::RemovalPending { target } => debug!(target = %target.key, "the container is not removed yet"),
        EventKind::RemovalFailing { target, reason } => {
            warn!(
                target = %target.key, daemon = %target.daemon, error = &**reason,
                "the container cannot be removed yet; Ganger goes on trying"
            );
        }
        EventKind::Removed { target, reason: RetireReason::Stray, .. } => {
            info!(target = %target.key, daemon = %target.daemon, "a stray is removed");
        }
        EventKind::Removed { target, reason, attempts } => {
            debug!(target = %target.key, daemon = %target.daemon, %reason, attempts, "removed");
        }
        EventKind::StockResized { service, warm } => {
            debug!(%service, warm, "the size of the stock is changed");
        }
        EventKind::Paced { service, generation, pause } => warn!(
            %service, %generation,
            "its containers keep ending in stock: until one serves, they are launched for the \
             stock one by one, up to {pause:?} apart"
        ),
        EventKind::RollOrdered { service, generation } => {
            info!(%service, %generation, "the operator has ordered its containers to be replaced");
        }
        EventKind::RolloutAdvanced { service, generation, stage } => {
            info!(%service, %generation, stage = stage.to_string(), "the rollout goes on");
        }
        EventKind::SwitchedOver { service, generation } => {
            info!(%service, %generation, "switched over");
        }
        EventKind::RolledBack { service, generation, why: GivenUp::Operator, .. } => {
            info!(%service, %generation, "rolled back by the operator; the one before goes on");
        }
        EventKind::RolledBack { service, generation, why, reason } => {
            let then = prospects(*why);
            warn!(
                %service, %generation, reason = &**reason,
                "rolled back; the one before goes on{then}"
            );
        }
        EventKind::DaemonJoined { daemon, capacity } => info!(%daemon, capacity, "the daemon joined the fleet"),
        EventKind::DaemonResized { daemon, capacity, tier } => {
            info!(%daemon, capacity, tier, "the daemon's capacity or tier has changed");
        }
        EventKind::DaemonLeft { daemon } => info!(%daemon, "the daemon left the fleet; it is being drained"),
        EventKind::DaemonDrained { daemon } => info!(%daemon, "the daemon is drained"),
        EventKind::DaemonStateSet { daemon, state } => {
            info!(%daemon, %state, "the operator has set the daemon's state");
        }
        EventKind::ServiceStateSet { service, state } => {
            info!(%service, %state, "the operator has set the service's state");
        }
        EventKind::FleetEmpty => {
            warn!("the fleet is empty; clients are refused until discovery finds a daemon");
        }
        EventKind::ContactMade { daemon, version, cpus } => {
            info!(%daemon, version = &**version, cpus, "contact made");
        }
        EventKind::ContactLost { daemon, reason, expected: true } => {
            info!(%daemon, error = &**reason, "contact lost during maintenance");
        }
        EventKind::ContactLost { daemon, reason, .. } => {
            warn!(%daemon, error = &**reason, "contact lost");
        }
        EventKind::ContactFailed { daemon, reason, again: false, expected: true, .. } => {
            info!(%daemon, error = &**reason, "no contact during maintenance");
        }
        EventKind::ContactFailed { daemon, reason, again: false, .. } => {
            warn!(%daemon, error = &**reason, "no contact");
        }
        EventKind::ContactFailed { daemon, reason, attempts, .. } => {
            debug!(%daemon, error = &**reason, misses = attempts, "still no contact");
        }
        EventKind::StreamBroke { daemon, reason } => {
            debug!(%daemon, error = &**reason, "event stream broke");
        }
        EventKind::StreamFailed { daemon, reason, attempts: 1, expected: true } => {
            info!(%daemon, error = &**reason, "no events during maintenance");
        }
        EventKind::StreamFailed { daemon, reason, attempts: 1, .. } => {
            warn!(%daemon, error = &**reason, "the daemon sends no events; changes show in its lists only");
        }
        EventKind::StreamFailed { daemon, reason, attempts, .. } => {
            debug!(%daemon, error = &**reason, misses = attempts, "still no events");
        }
        EventKind::ListFailed { daemon, reason, attempts } => {
            debug!(%daemon, error = &**reason, misses = attempts, "no list");
        }
        EventKind::ServiceUnfit { daemon, service, reason } => {
            warn!(%daemon, %service, error = &**reason, "the daemon cannot run this service");
        }
        EventKind::Degraded { daemon, reason } => {
            warn!(%daemon, reason = &**reason, "the daemon is degraded: it gets one launch at a time");
        }
        EventKind::Recovered { daemon } => {
            info!(%daemon, "the daemon is not degraded any more: a container was started");
        }
    }
}

/// The prospects of a generation that was rolled back. Nothing tries it again by itself.
const fn prospects(why: GivenUp) -> &'static str {
    match why {
        GivenUp::Failed => ", and the next reload tries again",
        GivenUp::Refused => {
            ": no daemon that answers can run the new one, and none is asked again before the next \
             reload"
        }
        GivenUp::Replaced | GivenUp::Operator => "",
    }
}
