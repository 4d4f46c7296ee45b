//! Removal, which a list confirms.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use ganger_pool::core::{LaunchId, short_id};
use ganger_pool::runtime::{CallError, ContainerKey, Removal, Target};
use tokio::time::Instant;

use super::belongings::belonging;
use super::calls::CallFailure;
use super::daemon::Daemon;
use super::naming::is_id;
use super::strays::Stray;
use super::view::Listed;
use super::{Docker, explain};

// === impl Docker ===

impl Docker {
    pub(super) async fn remove(&self, target: &Target) -> Result<Removal, CallError> {
        if let ContainerKey::Launch(launch) = target.key
            && self.calls.is_unheard_of(launch)
        {
            // An engine that is down must not hold the room of a launch that it never got.
            self.calls.forget(launch);
            return Ok(Removal::Gone);
        }
        let daemon = self.daemon(&target.daemon)?;
        if let Some(key) = belonging(&target.key) {
            return self.remove_belonging(&daemon, key).await;
        }
        let outcome = self.remove_at(&daemon, target).await;
        if outcome.as_ref().is_err_and(|error| error.unreachable) {
            for other in self.by_other_ways(&daemon) {
                // The same id proves the same engine only together with the container: machines
                // that were copied have one id.
                let there = self.find(&other, &target.key).await;
                if there.is_ok_and(|there| !there.is_empty()) {
                    return self.remove_at(&other, target).await;
                }
            }
        }
        outcome
    }

    /// The other daemons with the engine id of this daemon: an engine whose address has
    /// changed is listed as another daemon.
    pub(super) fn by_other_ways(&self, daemon: &Daemon) -> Vec<Arc<Daemon>> {
        let Ok(contact) = daemon.contact() else { return Vec::new() };
        let same = |other: &&Arc<Daemon>| {
            let its = other.contact();
            other.name != daemon.name && its.is_ok_and(|its| its.id == contact.id)
        };
        self.daemons.lock().values().filter(same).cloned().collect()
    }

    async fn remove_at(&self, daemon: &Arc<Daemon>, target: &Target) -> Result<Removal, CallError> {
        let known = match &target.key {
            ContainerKey::Launch(launch) => self.calls.name(*launch),
            // Only a container that bears our label is touched, so it is looked up first.
            ContainerKey::Stray(_) => None,
        };
        let mut networks: Vec<_> = known.iter().cloned().collect();
        let doomed = match known {
            Some(name) => vec![name],
            None => {
                let mut found = self.find(daemon, &target.key).await?;
                for stray in &found {
                    match self.judge(daemon, stray) {
                        Stray::Left => {}
                        Stray::Unclear => return Ok(Removal::Pending),
                        // For the pool it is gone: no list shows it again.
                        Stray::Others => return Ok(Removal::Gone),
                    }
                }
                found.retain(|listed| is_id(&listed.id));
                networks.extend(found.iter().filter_map(Listed::own_name));
                found.into_iter().map(|listed| listed.id).collect()
            }
        };
        let (mut failed, mut unknown) = (None, false);
        for container in doomed {
            match self.delete(daemon, target, &container).await {
                Ok(known) => unknown |= !known,
                Err(error) => failed = Some(error),
            }
        }
        let mut left = self.find(daemon, &target.key).await?;
        if unknown && !left.is_empty() {
            // Somebody renamed the container.
            for listed in left.iter().filter(|listed| is_id(&listed.id)) {
                failed = self.delete(daemon, target, &listed.id).await.err().or(failed);
            }
            left = self.find(daemon, &target.key).await?;
            unknown = false;
        }
        if !left.is_empty() {
            // The list answered, so the engine is not absent, whatever delayed the removal.
            let refused = |error: CallError| Err(CallError { unreachable: false, ..error });
            return failed.map_or(Ok(Removal::Pending), refused);
        }
        for network in networks {
            if daemon.remove_own_network(&network).await? == Removal::Pending {
                return Ok(Removal::Pending);
            }
        }
        // Whatever the engine said, the container is not there.
        let ContainerKey::Launch(launch) = target.key else {
            return Ok(Removal::Gone);
        };
        if !self.calls.is_settled(launch, daemon.deadlines.ghost_grace) {
            return Ok(Removal::Pending);
        }
        if unknown {
            self.note_abandoned(daemon, launch)?;
        } else {
            self.abandoned.lock().remove(&launch);
        }
        self.calls.forget(launch);
        Ok(Removal::Gone)
    }

    /// Notes a container that the engine does not know, if another engine there before made it:
    /// nobody knows whether it is gone, and nothing can be done from here. Others are gone.
    fn note_abandoned(&self, daemon: &Daemon, launch: LaunchId) -> Result<(), CallError> {
        let engine = &daemon.contact()?.id;
        if let Some(id) = self.calls.made_elsewhere(launch, engine) {
            tracing::warn!(
                daemon = %daemon.name, %launch, container = short_id(&id),
                "another engine is at {} now: it does not know the container that the one before \
                 had, which may run on; `ganger reap` removes it where that engine is",
                daemon.endpoint
            );
            self.abandoned.lock().insert(launch, daemon.name.clone());
        }
        Ok(())
    }

    /// Where containers may be left on engines that are not there any more.
    pub(super) fn abandoned(&self) -> Vec<String> {
        let mut counts = BTreeMap::<_, u32>::new();
        self.abandoned.lock().values().for_each(|d| *counts.entry(d.clone()).or_default() += 1);
        let left = |(daemon, count)| format!("{daemon} ({count}: on an engine that was replaced)");
        counts.into_iter().map(left).collect()
    }

    /// Removes a container; returns whether the engine knows it.
    async fn delete(
        &self,
        daemon: &Daemon,
        target: &Target,
        container: &str,
    ) -> Result<bool, CallError> {
        let client = daemon.contact()?.client.clone();
        let name = container.to_owned();
        let call = async move {
            // Without `v`, the anonymous volumes of the image would stay.
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            client.remove_container(&name, Some(options)).await
        };
        let (deadlines, began) = (&daemon.deadlines, Instant::now());
        let result =
            self.calls.remove(target, container, deadlines.remove, deadlines.bound, call).await;
        if result.is_ok() {
            daemon.observers.done("remove", container, began);
        }
        match result {
            Err(CallFailure::Engine(Error::DockerResponseServerError {
                status_code: 404, ..
            })) => Ok(false),
            // Removed, or being removed, by us or by others: the list tells.
            Ok(())
            | Err(
                CallFailure::Late(_)
                | CallFailure::Engine(Error::DockerResponseServerError { status_code: 409, .. }),
            ) => Ok(true),
            Err(failure) => Err(explain::call(&daemon.endpoint, "the removal", &failure)),
        }
    }
}
