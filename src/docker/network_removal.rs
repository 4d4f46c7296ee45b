//! Removes the networks that Ganger made.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::NetworkDisconnectRequest;
use ganger_pool::backoff::Backoff;
use ganger_pool::runtime::{CallError, Removal};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::calls::CallFailure;
use super::daemon::Daemon;
use super::{Docker, explain, naming};

/// The pauses between attempts to remove a run's network.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(10) };

/// The warning of a network that Docker takes for used though nothing is on it.
const MISCOUNTED: &str = "the engine counts a container on a network that is not there: the network \
                          stays, unused, and can be removed when the engine has been restarted";

/// The endpoints of a network, by the names of their containers.
#[derive(Debug, Default)]
struct Endpoints {
    /// The engine has the container.
    present: Vec<String>,
    /// The engine has removed the container, and has forgotten the endpoint (moby 17217, 42119).
    orphaned: Vec<String>,
}

/// An endpoint of an inspected network.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttachedEndpoint {
    /// The name of the container.
    name: String,
}

// === impl Docker ===

impl Docker {
    /// Removes the network of this run from an engine, where it may have it. Tries for ever, or
    /// until the engine is out of reach, if `gives_up`.
    pub(super) async fn close_network(&self, daemon: &Daemon, gives_up: bool) {
        daemon.network.close();
        // Waits until a call that is under way has ended.
        drop(daemon.network.on.lock().await);
        let (mut attempts, mut absent) = (0, None);
        while daemon.network.may_be_there() {
            if !gives_up && self.is_wanted_elsewhere(daemon) {
                return daemon.network.gone();
            }
            let name = naming::network(&self.identity.boot);
            let mut removed = daemon.remove_network(&name).await;
            if removed.as_ref().is_err_and(|error| error.unreachable) {
                for other in self.by_other_ways(daemon) {
                    removed = other.remove_network(&name).await.or(removed);
                }
            }
            let kept = match removed {
                Ok(Removal::Gone) => {
                    // A call whose answer was lost may be carried out yet.
                    let since: Instant = *absent.get_or_insert_with(Instant::now);
                    let grace = daemon.deadlines.ghost_grace;
                    if !daemon.network.is_lost() || since.elapsed() >= grace {
                        return daemon.network.gone();
                    }
                    CallError::refused("a call to make it may be carried out yet")
                }
                Ok(Removal::Pending) => match daemon.endpoints(&name).await {
                    Ok(Endpoints { present, .. }) => CallError::refused(match &*present {
                        [] => "the engine takes it for used".to_owned(),
                        names => format!("containers are on it: {}", names.join(", ")),
                    }),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let ends = gives_up && kept.unreachable;
            daemon.network.keep(kept);
            if ends {
                return;
            }
            attempts += 1;
            sleep(PAUSES.after(attempts)).await;
        }
    }

    /// Whether another daemon of the fleet is the same engine, and has this run's network there: one
    /// that left and came back, or that is found by another name.
    fn is_wanted_elsewhere(&self, daemon: &Daemon) -> bool {
        let Ok(contact) = daemon.contact() else { return false };
        self.daemons.lock().values().any(|other| {
            !Arc::ptr_eq(&other.network, &daemon.network)
                && other.contact().is_ok_and(|its| its.id == contact.id)
                && other.network.may_be_there()
        })
    }
}

// === impl Daemon ===

impl Daemon {
    /// Whether a container is on a network.
    pub(super) async fn is_used(&self, network: &str) -> Result<bool, CallError> {
        Ok(!self.endpoints(network).await?.present.is_empty())
    }

    async fn endpoints(&self, network: &str) -> Result<Endpoints, CallError> {
        let network = self.inspect_network(network).await?;
        let attached = network.and_then(|network| network.containers).unwrap_or_default();
        let mut endpoints = Endpoints::default();
        for (id, AttachedEndpoint { name }) in attached {
            // An endpoint without a container is called after itself instead of its container.
            let is_present =
                self.inspect(&id).await?.is_some() || self.inspect(&name).await?.is_some();
            if is_present {
                endpoints.present.push(name);
            } else {
                endpoints.orphaned.push(name);
            }
        }
        Ok(endpoints)
    }

    /// Removes the network of a container that is gone, if containers have their own there.
    pub(super) async fn remove_own_network(&self, name: &str) -> Result<Removal, CallError> {
        if self.contact()?.kind.isolates_networks() {
            self.remove_network(name).await
        } else {
            Ok(Removal::Gone)
        }
    }

    /// Removes a network by its name or id. The network is gone, or containers are on it, or the
    /// engine has miscounted its endpoints: then it stays until the engine is restarted, and nobody
    /// waits for it.
    ///
    /// An endpoint whose container is gone is disconnected by force, which is what Docker advises.
    pub(super) async fn remove_network(&self, network: &str) -> Result<Removal, CallError> {
        let removal = self.ask_to_remove(network).await?;
        // Podman derives from its containers what is on a network.
        if removal == Removal::Gone || self.contact()?.kind.isolates_networks() {
            return Ok(removal);
        }
        let Endpoints { present, orphaned } = self.endpoints(network).await?;
        if !present.is_empty() {
            return Ok(Removal::Pending);
        }
        if orphaned.is_empty() {
            let is_stuck = self.is_stuck(network, MISCOUNTED);
            return Ok(if is_stuck { Removal::Gone } else { Removal::Pending });
        }
        for container in orphaned {
            tracing::warn!(
                daemon = %self.name, network, container,
                "the engine has removed a container and left its endpoint on the network; it is \
                 disconnected by force"
            );
            self.disconnect(network, container).await?;
        }
        self.ask_to_remove(network).await
    }

    /// Asks the engine once to remove a network. The network is gone, or the engine takes it for used.
    async fn ask_to_remove(&self, network: &str) -> Result<Removal, CallError> {
        let contact = self.contact()?;
        let deadline = self.deadlines.remove;
        let removal = timeout(deadline, contact.client.remove_network(network)).await;
        let failure = match removal {
            Ok(Ok(())) => return Ok(Removal::Gone),
            Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => {
                return Ok(Removal::Gone);
            }
            // Podman answers so with a 500.
            Ok(Err(Error::DockerResponseServerError { message, .. }))
                if message.contains("active endpoints") || message.contains("being used") =>
            {
                return Ok(Removal::Pending);
            }
            Ok(Err(error)) => CallFailure::Engine(error),
            Err(_) => CallFailure::Late(deadline),
        };
        Err(explain::call(&self.endpoint, "the removal of a network", &failure))
    }

    /// Takes the endpoint of a container that is gone from a network.
    async fn disconnect(&self, network: &str, container: String) -> Result<(), CallError> {
        let contact = self.contact()?;
        let deadline = self.deadlines.remove;
        let request = NetworkDisconnectRequest { container, force: Some(true) };
        let failure =
            match timeout(deadline, contact.client.disconnect_network(network, request)).await {
                Ok(Ok(())) => return Ok(()),
                // The endpoint, or the network, is gone meanwhile.
                Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => return Ok(()),
                Ok(Err(error)) => CallFailure::Engine(error),
                Err(_) => CallFailure::Late(deadline),
            };
        Err(explain::call(&self.endpoint, "a disconnection from a network", &failure))
    }
}
