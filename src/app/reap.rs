//! Reaping by hand: removes what an instance that does not run left behind.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use ganger_pool::backoff::Backoff;
use ganger_pool::core::DaemonName;
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::{CallError, ContainerRuntime, Owned, Removal, Target};
use tokio::time::{Instant, sleep};

/// How long one container's removal is tried.
const PATIENCE: Duration = Duration::from_secs(60);
/// Removals in flight on one daemon, as many as the pool has.
const IN_FLIGHT: usize = 8;
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// The result of a reap on one daemon.
#[derive(Debug)]
pub struct ReapedDaemon {
    /// The daemon.
    pub daemon: DaemonName,
    /// Its containers of the instance, and what else was left with them, each with the outcome of
    /// its removal; `None` where none was tried.
    pub containers: Vec<(Owned, Option<Result<(), CallError>>)>,
}

/// Removes every container of the runtime's from a daemon, or only lists them. Their instance must
/// not be running: the caller holds its lock.
///
/// # Errors
/// The daemon cannot be reached.
pub async fn reap<R: ContainerRuntime>(
    runtime: &R,
    daemon: &DaemonSpec<R::Endpoint>,
    dry_run: bool,
) -> Result<ReapedDaemon, CallError> {
    runtime.connect(&daemon.name, &daemon.endpoint).await?;
    let mut containers: Vec<(Owned, Option<Result<(), CallError>>)> = Vec::new();
    loop {
        let mut owned = runtime.list(&daemon.name).await?.owned;
        owned.retain(|one| !containers.iter().any(|(tried, _)| tried.key == one.key));
        if dry_run || owned.is_empty() {
            containers.extend(owned.into_iter().map(|owned| (owned, None)));
            return Ok(ReapedDaemon { daemon: daemon.name.clone(), containers });
        }
        // Leftovers that containers ran on are listed once those are gone.
        let removed = remove_all(runtime, &daemon.name, owned).await;
        containers.extend(removed.into_iter().map(|(owned, outcome)| (owned, Some(outcome))));
    }
}

/// Removes these containers from a daemon, some at a time; returns the outcome of each.
pub(super) async fn remove_all<R: ContainerRuntime>(
    runtime: &R,
    daemon: &DaemonName,
    owned: Vec<Owned>,
) -> Vec<(Owned, Result<(), CallError>)> {
    let remove = async |owned: Owned| {
        let target = Target { daemon: daemon.clone(), key: owned.key.clone() };
        (owned, remove(runtime, &target).await)
    };
    stream::iter(owned).map(remove).buffered(IN_FLIGHT).collect().await
}

async fn remove(runtime: &impl ContainerRuntime, target: &Target) -> Result<(), CallError> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempts = 0;
    loop {
        let outcome = runtime.retire(target).await;
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

#[cfg(test)]
mod tests {
    use ganger_pool::testing::{FakeEngine, Gate, Op};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_are_removed_at_a_time_as_in_a_running_pool() {
        let (engine, second) = (FakeEngine::new(1), Duration::from_secs(1));
        let ids: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        ids.iter().for_each(|id| engine.add_stray("d", id));
        engine.gate("d", Op::Retire, Gate::Slow(second));
        engine.gate("d", Op::Connect, Gate::Slow(Duration::ZERO));
        engine.gate("d", Op::List, Gate::Slow(Duration::ZERO));
        let daemon = DaemonSpec {
            name: "d".into(),
            endpoint: 0,
            max_containers: 1,
            tier: 0,
            max_launches: None,
        };
        let found = reap(&*engine, &daemon, true).await.unwrap();
        assert!(found.containers.iter().all(|(_, outcome)| outcome.is_none()));
        assert_eq!(engine.real("d").len(), 20);

        // The clock of this test stands still while anything else can happen.
        let began = Instant::now();
        let found = reap(&*engine, &daemon, false).await.unwrap();
        assert_eq!(found.containers.len(), 20);
        assert!(found.containers.iter().all(|(_, outcome)| *outcome == Some(Ok(()))));
        assert_eq!(engine.real("d"), []);
        assert_eq!(began.elapsed(), 3 * second, "8, 8 and 4");
    }
}
