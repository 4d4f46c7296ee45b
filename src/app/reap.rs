//! Reaping by hand: removes what an instance that does not run left behind.

use std::time::Duration;

use ganger_pool::core::{Backoff, DaemonName};
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::{CallError, ContainerRuntime, Owned, Removal, Target};
use tokio::time::{Instant, sleep};

use crate::docker::{Docker, Site};

/// How long one container's removal is tried.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// What was found on one daemon.
#[derive(Debug)]
pub struct Found {
    /// The daemon.
    pub daemon: DaemonName,
    /// Its containers of the instance, each with what its removal came to;
    /// `None` where none was tried.
    pub containers: Vec<(Owned, Option<Result<(), CallError>>)>,
}

/// Removes every container of the adapter's instance from a daemon, or only
/// lists them. The instance must not be running: the caller holds its lock.
///
/// # Errors
/// The daemon cannot be reached.
pub async fn reap(
    docker: &Docker,
    daemon: &DaemonSpec<Site>,
    dry_run: bool,
) -> Result<Found, CallError> {
    docker.connect(&daemon.name, &daemon.endpoint).await?;
    let mut containers = Vec::new();
    for owned in docker.owned(&daemon.name).await? {
        let outcome = if dry_run {
            None
        } else {
            let target = Target { daemon: daemon.name.clone(), key: owned.key.clone() };
            Some(remove(docker, &target).await)
        };
        containers.push((owned, outcome));
    }
    Ok(Found { daemon: daemon.name.clone(), containers })
}

async fn remove(docker: &Docker, target: &Target) -> Result<(), CallError> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempts = 0;
    loop {
        let outcome = docker.retire(target).await;
        attempts += 1;
        match outcome {
            Ok(Removal::Gone) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Ok(Removal::Pending) if Instant::now() >= deadline => {
                return Err(CallError::refused("its removal is still in progress"));
            }
            _ => sleep(AGAIN.after(attempts)).await,
        }
    }
}
