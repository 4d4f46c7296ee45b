//! Removes holders, which the pool does not know, until they are gone.
//!
//! A holder counts against no capacity, so its removal is no event of the pool. Two things are
//! different from a container's: the networks and volumes that bear its name go with it, and the
//! call that made it may have been given up, so that it can appear later.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use ganger_pool::backoff::Backoff;
use ganger_pool::runtime::{CallError, Removal};
use tokio::time::{Instant, sleep, timeout};

use super::Docker;
use super::calls::CallFailure;
use super::daemon::Daemon;
use super::explain;
use super::naming;
use super::sandboxes::Holds;

/// The pauses between attempts to remove a holder.
const PAUSES: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(30) };

/// The known outcome of the call that made a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    /// The engine has said that the holder is there.
    Confirmed,
    /// The call failed or was given up; the engine may carry it out later.
    Uncertain,
}

/// The result of one attempt.
enum Attempt {
    /// The engine has removed the holder.
    Removed,
    /// The engine does not know the holder.
    Absent,
}

// === impl Docker ===

impl Docker {
    /// Removes a holder that nobody uses, in a task of its own, until it is gone.
    pub(super) fn remove_holder(&self, daemon: &Arc<Daemon>, number: u64, creation: Creation) {
        let (docker, daemon) = (self.clone(), Arc::clone(daemon));
        // Now: a removal of the same number that is under way forgets it at its end.
        let holds = daemon.sandboxes.holds(number).unwrap_or(Holds::Network);
        tokio::spawn(async move {
            docker.until_removed(&daemon, (number, holds), creation).await;
            daemon.sandboxes.forget(number);
        });
    }

    async fn until_removed(
        &self,
        daemon: &Arc<Daemon>,
        (number, holds): (u64, Holds),
        creation: Creation,
    ) {
        let name = self.holder_name(number);
        let mut failures = 0;
        let mut absent_since: Option<Instant> = None;
        loop {
            let closing = daemon.sandboxes.closing.notified();
            match self.try_to_remove(daemon, &name, holds).await {
                Ok(Attempt::Removed) => return,
                Ok(Attempt::Absent) => {
                    let since = *absent_since.get_or_insert_with(Instant::now);
                    let is_settled = since.elapsed() >= daemon.deadlines.ghost_grace;
                    if creation == Creation::Confirmed || is_settled {
                        return;
                    }
                    sleep(PAUSES.first).await;
                    continue;
                }
                Err(error) => {
                    absent_since = None;
                    failures += 1;
                    let reason = &error.message;
                    tracing::debug!(
                        daemon = %daemon.name, holder = name, reason, "a holder is not removed yet"
                    );
                    daemon.sandboxes.fail(number, error);
                }
            }
            tokio::select! {
                () = sleep(PAUSES.after(failures)) => {}
                () = closing => failures = 0,
            }
        }
    }

    /// Makes one attempt; where the daemon is out of reach, also by the other ways to it.
    async fn try_to_remove(
        &self,
        daemon: &Arc<Daemon>,
        name: &str,
        holds: Holds,
    ) -> Result<Attempt, CallError> {
        // The daemon may have another address by now.
        let known = self.daemon(&daemon.name).ok();
        let known = known.filter(|known| Arc::ptr_eq(&known.sandboxes, &daemon.sandboxes));
        let known = known.as_ref().unwrap_or(daemon);
        let attempt = try_on(known, name, holds).await;
        if attempt.as_ref().is_err_and(|error| error.unreachable) {
            for other in self.by_other_ways(known) {
                if let Ok(Attempt::Removed) = try_on(&other, name, holds).await {
                    return Ok(Attempt::Removed);
                }
            }
        }
        attempt
    }

    /// The name of a holder.
    pub(super) fn holder_name(&self, number: u64) -> String {
        naming::holder(&self.identity.boot, &number.to_string())
    }
}

async fn try_on(daemon: &Daemon, name: &str, holds: Holds) -> Result<Attempt, CallError> {
    let client = daemon.contact()?.client.clone();
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removal = client.remove_container(name, Some(options));
    let late = Err(Error::RequestTimeoutError);
    let attempt = match timeout(daemon.deadlines.remove, removal).await.unwrap_or(late) {
        Ok(()) => Attempt::Removed,
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Attempt::Absent,
        Err(error) => {
            let failure = CallFailure::Engine(error);
            return Err(explain::call(&daemon.endpoint, "the removal", &failure));
        }
    };
    if daemon.remove_own_network(name).await? == Removal::Pending {
        return Err(CallError::refused("its network is in use"));
    }
    if holds == Holds::Secrets && daemon.remove_volume(name).await? == Removal::Pending {
        return Err(CallError::refused("containers have the volume"));
    }
    Ok(attempt)
}
