//! Removes the networks that Ganger made.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::NetworkDisconnectRequest;
use ganger_pool::backoff::Backoff;
use ganger_pool::runtime::{CallError, Removal};
use tokio::time::{Instant, sleep, timeout};

use super::calls::CallFailure;
use super::daemon::Daemon;
use super::view::Listed;
use super::{Docker, explain, naming};

/// The pauses between attempts to remove a run's network.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(10) };

/// The containers on a network that a message names.
const NAMED: usize = 3;

/// The outcome of an attempt to remove a network.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NetworkRemoval {
    /// The network is removed, or was not there, or cannot be removed by anybody.
    Gone,
    /// Containers are on it: these, where the engine names them.
    Used(Vec<String>),
    /// The engine takes it for used, and no container is on it.
    Pending,
}

// === impl NetworkRemoval ===

impl From<NetworkRemoval> for Removal {
    fn from(removal: NetworkRemoval) -> Self {
        match removal {
            NetworkRemoval::Gone => Self::Gone,
            NetworkRemoval::Used(_) | NetworkRemoval::Pending => Self::Pending,
        }
    }
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
                Ok(NetworkRemoval::Gone) => {
                    // A call whose answer was lost may be carried out yet.
                    let since: Instant = *absent.get_or_insert_with(Instant::now);
                    let grace = daemon.deadlines.ghost_grace;
                    if !daemon.network.is_lost() || since.elapsed() >= grace {
                        return daemon.network.gone();
                    }
                    CallError::refused("a call to make it may be carried out yet")
                }
                Ok(NetworkRemoval::Used(names)) => CallError::refused(used_by(&names)),
                Ok(NetworkRemoval::Pending) => {
                    CallError::refused("the engine takes it for used, and no container is on it")
                }
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
    /// Whether a container is on a network: one of those that a list shows, or one that the
    /// network's run has not made.
    pub(super) async fn is_used(
        &self,
        network: &str,
        listed: &[Listed],
    ) -> Result<bool, CallError> {
        let Some(network) = self.inspect_network(network).await? else { return Ok(false) };
        let (made, others) = network.on_it();
        let is_there =
            |name: &String| listed.iter().any(|one| one.own_name().as_ref() == Some(name));
        Ok(!others.is_empty() || made.iter().any(is_there))
    }

    /// Removes the network of a container that is gone, if containers have their own there.
    pub(super) async fn remove_own_network(&self, name: &str) -> Result<Removal, CallError> {
        if self.contact()?.kind.isolates_networks() {
            self.remove_network(name).await.map(Removal::from)
        } else {
            Ok(Removal::Gone)
        }
    }

    /// Removes a network of ours by its name or id.
    ///
    /// Docker may take a network for used for good though it has removed its containers: it keeps an
    /// endpoint without a container, or miscounts (moby 17217, 42119). After a while endpoints of
    /// containers that the network's run has made, and that are gone, are disconnected by force, as
    /// Docker advises; if that does not help, nobody waits any longer.
    ///
    /// # Errors
    /// The engine cannot be reached, or refuses for another reason.
    pub(super) async fn remove_network(&self, network: &str) -> Result<NetworkRemoval, CallError> {
        if self.ask_to_remove(network).await? {
            return Ok(NetworkRemoval::Gone);
        }
        // Podman derives from its containers what is on a network.
        if self.contact()?.kind.isolates_networks() {
            return Ok(NetworkRemoval::Used(Vec::new()));
        }
        let inspected = self.inspect_network(network).await;
        // The engine has just answered: that it is slow now does not mean that it is away.
        let inspected = inspected.map_err(|error| CallError::refused(error.message))?;
        let (made, others) = inspected.unwrap_or_default().on_it();
        let mut is_used = !others.is_empty();
        for name in &made {
            // A container of which the engine does not speak is there.
            is_used = is_used || !matches!(self.inspect(name).await, Ok(None));
        }
        if is_used {
            self.stuck.note_free(network);
            return Ok(NetworkRemoval::Used([others, made].concat()));
        }
        if !self.stuck.is_overdue(network, self.deadlines.unmount) {
            return Ok(NetworkRemoval::Pending);
        }
        for container in made {
            let disconnected = self.disconnect(network, &container).await;
            let error = disconnected.err().map(|error| error.message);
            tracing::warn!(
                daemon = %self.name, network, container, error,
                "the engine has kept the endpoint of a container that it has removed; the endpoint \
                 is disconnected by force"
            );
        }
        if !self.ask_to_remove(network).await? {
            self.stuck.give_up(network);
            tracing::warn!(
                daemon = %self.name, network,
                "the engine takes a network for used that no container is on: the network stays, and \
                 can be removed when the engine has been restarted"
            );
        }
        Ok(NetworkRemoval::Gone)
    }

    /// Asks the engine once to remove a network. Returns false if the engine takes it for used.
    async fn ask_to_remove(&self, network: &str) -> Result<bool, CallError> {
        let contact = self.contact()?;
        let deadline = self.deadlines.remove;
        let removal = timeout(deadline, contact.client.remove_network(network)).await;
        let failure = match removal {
            Ok(Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. })) => {
                self.stuck.note_free(network);
                return Ok(true);
            }
            // Podman answers so with a 500.
            Ok(Err(Error::DockerResponseServerError { message, .. }))
                if message.contains("active endpoints") || message.contains("being used") =>
            {
                return Ok(false);
            }
            Ok(Err(error)) => CallFailure::Engine(error),
            Err(_) => CallFailure::Late(deadline),
        };
        Err(explain::call(&self.endpoint, "the removal of a network", &failure))
    }

    /// Takes the endpoint of a container that is gone from a network.
    async fn disconnect(&self, network: &str, container: &str) -> Result<(), CallError> {
        let contact = self.contact()?;
        let deadline = self.deadlines.remove;
        let container = container.to_owned();
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

/// Says which containers are on a network.
fn used_by(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names[..names.len() - more].join(", ");
    match (names, more) {
        ([], _) => "containers are on it".to_owned(),
        (_, 0) => format!("containers are on it: {named}"),
        (_, more) => format!("containers are on it: {named}, and {more} more"),
    }
}
