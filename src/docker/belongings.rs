//! The networks and volumes that Ganger makes on engines.
//!
//! A run removes its own. Lists show those that an earlier run left as strays, as if they were
//! containers.

use std::collections::BTreeMap;

use bollard::errors::Error;
use bollard::query_parameters::RemoveVolumeOptions;
use ganger_pool::runtime::{CallError, ContainerKey, Removal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::calls::CallFailure;
use super::daemon::Daemon;
use super::naming::{self, BOOT, INSTANCE, NETWORK, VOLUME};
use super::strays::Stray;
use super::view::Listed;
use super::{Docker, Scope, explain};
use crate::http::{self, HttpError};

/// Statuses of a proxy between us and the engine that hides networks and volumes.
const HIDDEN: [u16; 4] = [403, 404, 405, 501];

/// A network in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetwork {
    id: String,
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// A list of volumes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListedVolumes {
    volumes: Option<Vec<ListedVolume>>,
}

/// A volume in a list. Volumes have no id: the name is one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedVolume {
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

// === impl Docker ===

impl Docker {
    /// The networks and volumes that Ganger made and that are to be removed, as if they were
    /// containers. A network that one of the `listed` containers is on is not.
    pub(super) async fn stray_belongings(
        &self,
        daemon: &Daemon,
        listed: &[Listed],
    ) -> Result<Vec<Listed>, CallError> {
        if self.scope == Scope::Overdue {
            return Ok(Vec::new());
        }
        let mut strays = Vec::new();
        let filters = json!({ "label": self.ours() });
        for network in self.made::<Vec<ListedNetwork>>(daemon, "networks", &filters).await? {
            let ListedNetwork { id, name, labels } = network;
            // Containers on it go first, be they somebody else's: until then it is in nobody's way.
            let stray = Some(id.as_str()).filter(|id| naming::is_id(id));
            let stray = stray.and_then(|id| self.stray(format!("{NETWORK}{id}"), name, labels));
            if let Some(stray) = stray
                && !daemon.stuck.is_given_up(&id)
                && !daemon.is_used(&id, listed).await?
            {
                strays.push(stray);
            }
        }
        // Other drivers than `local` are separate programs, which may not answer.
        let filters = json!({ "label": self.ours(), "driver": ["local"] });
        let volumes = self.made::<ListedVolumes>(daemon, "volumes", &filters).await?.volumes;
        for ListedVolume { name, labels } in volumes.into_iter().flatten() {
            if !daemon.stuck.is_given_up(&name) {
                strays.extend(self.stray(format!("{VOLUME}{name}"), name, labels));
            }
        }
        Ok(strays)
    }

    /// All networks, or all volumes, that bear our label.
    async fn made<T: DeserializeOwned + Default>(
        &self,
        daemon: &Daemon,
        kind: &str,
        filters: &Value,
    ) -> Result<T, CallError> {
        let path = format!("/{kind}?filters={}", http::escape(&filters.to_string()));
        match daemon.get::<T>(&path, daemon.deadlines.list).await {
            Ok(listed) => Ok(listed),
            // Then none is made either.
            Err(Ok(HttpError::Status { .. })) if self.scope == Scope::Instance => Ok(T::default()),
            Err(Ok(HttpError::Status { code, .. })) if HIDDEN.contains(&code) => Ok(T::default()),
            Err(Ok(error)) => Err(explain::wire(&daemon.endpoint, &error)),
            Err(Err(late)) => Err(late),
        }
    }

    /// A network or volume as a listed container; `None` if it is this run's own or not ours.
    fn stray(
        &self,
        id: String,
        name: String,
        labels: Option<BTreeMap<String, String>>,
    ) -> Option<Listed> {
        let listed = Listed { id, names: Some(vec![name.clone()]), labels, state: None };
        // Networks and volumes with copied labels have other names.
        let boot = listed.label(BOOT)?;
        let ours = listed.label(INSTANCE).is_some()
            && (name == naming::network(boot) || listed.bears_its_name());
        // A run removes its own networks and volumes itself.
        let own = *boot == self.identity.boot && self.scope != Scope::Run;
        (ours && !own).then_some(listed)
    }

    /// Removes a network or volume that an earlier run left.
    pub(super) async fn remove_belonging(
        &self,
        daemon: &Daemon,
        key: &str,
    ) -> Result<Removal, CallError> {
        let listed = self.stray_belongings(daemon, &[]).await?;
        let Some(stray) = listed.iter().find(|listed| listed.id == key) else {
            return Ok(Removal::Gone);
        };
        match self.judge(daemon, stray) {
            Stray::Left => match key.strip_prefix(VOLUME) {
                Some(name) => daemon.remove_volume(name).await,
                None => {
                    let network = key.strip_prefix(NETWORK).unwrap_or(key);
                    daemon.remove_network(network).await.map(Removal::from)
                }
            },
            Stray::Unclear => Ok(Removal::Pending),
            Stray::Others => Ok(Removal::Gone),
        }
    }
}

// === impl Daemon ===

impl Daemon {
    /// Removes a volume of ours. The volume is gone, or containers have it, or the engine has
    /// miscounted its mounts, as a dockerd that restarts under its containers does (moby 45754):
    /// then it stays, empty, until the engine is restarted, and nobody waits for it.
    pub(super) async fn remove_volume(&self, name: &str) -> Result<Removal, CallError> {
        let contact = self.contact()?;
        let deadline = self.deadlines.remove;
        let name = http::escape(name);
        let removal = contact.client.remove_volume(&name, None::<RemoveVolumeOptions>);
        let failure = match timeout(deadline, removal).await {
            Ok(Ok(())) => {
                self.stuck.note_free(&name);
                return Ok(Removal::Gone);
            }
            // Where volumes are hidden, none is ours.
            Ok(Err(Error::DockerResponseServerError { status_code, .. }))
                if HIDDEN.contains(&status_code) =>
            {
                return Ok(Removal::Gone);
            }
            // Docker says so when no container has the volume: otherwise it names them.
            Ok(Err(Error::DockerResponseServerError { message, .. }))
                if message.contains("active mounts") =>
            {
                if !self.stuck.is_overdue(&name, self.deadlines.unmount) {
                    return Ok(Removal::Pending);
                }
                self.stuck.give_up(&name);
                tracing::warn!(
                    daemon = %self.name, volume = name,
                    "the engine takes a volume for mounted that no container has, as it may after a \
                     restart with live-restore: it stays, empty, and can be removed when the engine \
                     has been restarted once more"
                );
                return Ok(Removal::Gone);
            }
            Ok(Err(Error::DockerResponseServerError { status_code: 409, .. })) => {
                return Ok(Removal::Pending);
            }
            Ok(Err(error)) => CallFailure::Engine(error),
            Err(_) => CallFailure::Late(deadline),
        };
        Err(explain::call(&self.endpoint, "the removal of a volume", &failure))
    }
}

/// Whether the key of a list entry is a container's, and not a network's or volume's.
#[must_use]
pub fn is_container(key: &ContainerKey) -> bool {
    belonging(key).is_none()
}

/// The key in lists of a stray that is a network or a volume.
pub(super) fn belonging(key: &ContainerKey) -> Option<&str> {
    match key {
        ContainerKey::Stray(id) => Some(id.as_str()).filter(|id| naming::is_belonging(id)),
        ContainerKey::Launch(_) => None,
    }
}
