//! `ganger reap`.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::out::{complain, say};
use super::{Exit, Failure, run};
use crate::app::{self, Instance, InstanceError, Plan, ReapedDaemon};
use crate::config::Config;
use crate::discovery::Discovered;
use crate::docker::{Docker, Identity, is_container};

/// How many were found, and how many of them could not be removed.
#[derive(Debug, Default)]
struct ReapTally {
    found: usize,
    failed: usize,
}

/// Removes what an instance that does not run has left behind.
pub(super) async fn reap(config: &Config, name: &str, dry_run: bool) -> Result<Exit, Failure> {
    // A running process keeps its containers; to look does it no harm.
    let instance = match Instance::take_surely(name) {
        Ok(instance) => Some(instance),
        Err(InstanceError::Taken { holder, .. }) if dry_run => {
            let process = holder.map(|holder| format!(" as {holder}")).unwrap_or_default();
            complain(&format!(
                "instance {name} is running already{process}: these are its containers, and none \
                 is removed while it runs"
            ));
            None
        }
        Err(error) => return Err(run::failed(error)),
    };
    // No run has this boot: every container was launched by another.
    let boot = instance.as_ref().map_or("dry-run", Instance::boot).to_owned();
    let docker = Docker::new(Identity { instance: name.to_owned(), boot }, Vec::new());
    if !dry_run {
        docker.sweep_cells();
    }
    remove(config, docker, &format!("instance {name}"), dry_run).await
}

/// Removes whatever is overdue, of any instance. Running instances see to it that they have
/// nothing overdue.
pub(super) async fn reap_overdue(config: &Config, dry_run: bool) -> Result<Exit, Failure> {
    remove(config, Docker::overdue(), "overdue", dry_run).await
}

async fn remove(config: &Config, docker: Docker, of: &str, dry_run: bool) -> Result<Exit, Failure> {
    let docker = Arc::new(docker);
    let mut work = JoinSet::new();
    let fleet = Plan::new(config).fleet.once().await;
    let Discovered { daemons, unfit } =
        fleet.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    unfit.iter().for_each(|why| complain(&format!("not asked: {why}")));
    for daemon in daemons {
        let docker = docker.clone();
        work.spawn(async move {
            let found = app::reap(&*docker, &daemon, dry_run).await;
            (daemon.name, found)
        });
    }
    let (mut answered, mut unreached) = (0, 0);
    let (mut containers, mut besides) = (ReapTally::default(), ReapTally::default());
    while let Some(done) = work.join_next().await {
        let Ok((daemon, found)) = done else { continue };
        match found {
            Ok(found) => {
                answered += 1;
                tell(&found, &mut containers, &mut besides);
            }
            Err(error) => {
                unreached += 1;
                complain(&format!("{daemon}: {error}"));
            }
        }
    }
    if answered > 0 {
        let count = |tally: &ReapTally| match dry_run {
            true => tally.found.to_string(),
            false => format!("{} of {}", tally.found - tally.failed, tally.found),
        };
        let more = match besides.found {
            0 => String::new(),
            _ => format!(", and {} networks and volumes", count(&besides)),
        };
        let done = if dry_run { "would be removed" } else { "removed" };
        say(&format!("{of}: {} containers{more} {done}", count(&containers)));
    }
    Ok(match (unreached, containers.failed + besides.failed) {
        (1.., _) => Exit::Unreachable,
        (_, 1..) => Exit::Failed,
        _ => Exit::Ok,
    })
}

/// Says what was found, and counts it.
fn tell(found: &ReapedDaemon, containers: &mut ReapTally, besides: &mut ReapTally) {
    for (owned, outcome) in &found.containers {
        let tally = if is_container(&owned.key) { &mut *containers } else { &mut *besides };
        tally.found += 1;
        let state = if owned.running { "running" } else { "not running" };
        let outcome = match outcome {
            None => format!("would be removed ({state})"),
            Some(Ok(())) => format!("removed ({state})"),
            Some(Err(error)) => {
                tally.failed += 1;
                format!("not removed: {error}")
            }
        };
        say(&format!("{}: {}: {outcome}", found.daemon, owned.key));
    }
}
