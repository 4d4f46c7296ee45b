//! When a process that is to take over can serve.

use std::time::Duration;

use ganger_pool::Pool;
use ganger_pool::core::{ServiceView, Snapshot, State};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::docker::Docker;
use crate::shutdown::Stop;

/// How long the new process waits until each service has a container ready.
const READY: Duration = Duration::from_secs(120);

/// Waits until clients can be served, or it is to stop.
///
/// # Errors
/// Clients of a service would be refused, and why.
pub(in crate::app) async fn until_ready(pool: &Pool<Docker>, stop: &Stop) -> Result<(), String> {
    let decided = |snapshot: &Snapshot| {
        snapshot.services.iter().all(is_ready) || snapshot.services.iter().any(is_failing)
    };
    tokio::select! {
        biased;
        () = stop.drain.cancelled() => return Ok(()),
        // On time or not, the last snapshot tells.
        _ = timeout(READY, pool.until(decided)) => {}
    }
    judge(&pool.snapshot())
}

fn judge(snapshot: &Snapshot) -> Result<(), String> {
    for service in snapshot.services.iter().filter(|service| !is_ready(service)) {
        if let Some(why) = service.failing.as_ref().or(service.refusing.as_ref()) {
            return Err(format!("service {} has no container ready: {why}", service.name));
        }
        // The running process has all the room there is, and gives it up.
        warn!(service = %service.name, "no container is ready after {READY:?}; taking over all the same");
    }
    info!("ready to take over");
    Ok(())
}

fn is_ready(service: &ServiceView) -> bool {
    let launches = service.warm == 0 && service.refusing.is_none();
    service.counts[State::Idle] > 0 || launches
}

fn is_failing(service: &ServiceView) -> bool {
    service.failing.is_some() && !is_ready(service)
}
