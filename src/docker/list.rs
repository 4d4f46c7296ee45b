//! Lists of containers: whose they are, which of them count, and which are ours.

use std::collections::BTreeSet;

use ganger_pool::core::LaunchId;
use ganger_pool::runtime::{CallError, ContainerKey};

use super::daemon::Daemon;
use super::naming::{BOOT, DEADLINE, INSTANCE, LAUNCH, SANDBOX, is_id};
use super::view::Listed;
use super::{Docker, Scope};
use crate::http;

// === impl Daemon ===

impl Daemon {
    /// All containers that have these labels and, if given, this id.
    async fn list(&self, labels: &[String], id: Option<&str>) -> Result<Vec<Listed>, CallError> {
        let mut filters = serde_json::json!({ "label": labels });
        if let Some(id) = id {
            filters["id"] = serde_json::json!([id]);
        }
        let path = format!("/containers/json?all=1&filters={}", http::escape(&filters.to_string()));
        self.read(&path, self.deadlines.list).await
    }
}

// === impl Docker ===

impl Docker {
    /// Every container that has these labels by right, and, if given, this id.
    pub(super) async fn list_labelled(
        &self,
        daemon: &Daemon,
        labels: &[String],
        id: Option<&str>,
    ) -> Result<Vec<Listed>, CallError> {
        let mut listed = daemon.list(labels, id).await?;
        // A container that somebody has renamed is known by its id.
        listed.retain(|one| one.bears_its_name() || self.calls.has_made(&one.id));
        Ok(listed)
    }

    /// The labels that everything of ours has.
    pub(super) fn ours(&self) -> Vec<String> {
        let label = |key: &str, value: &str| format!("{key}={value}");
        let instance = label(INSTANCE, &self.identity.instance);
        match self.scope {
            Scope::Instance => vec![instance],
            Scope::Run => vec![instance, label(BOOT, &self.identity.boot)],
            Scope::Overdue => vec![INSTANCE.to_owned(), DEADLINE.to_owned()],
        }
    }

    /// The labels of all containers that count against a daemon's capacity: those of
    /// every instance, for they share it.
    pub(super) fn counted(&self) -> Vec<String> {
        match self.scope {
            Scope::Instance => vec![INSTANCE.to_owned()],
            Scope::Run | Scope::Overdue => self.ours(),
        }
    }

    /// Whether a container, of those that are counted, is in our scope.
    pub(super) fn is_ours(&self, daemon: &Daemon, listed: &Listed) -> bool {
        match self.scope {
            Scope::Instance | Scope::Run => listed.label(INSTANCE) == Some(&self.identity.instance),
            Scope::Overdue => {
                let passed = |deadline: &String| daemon.clock.has_passed(deadline);
                listed.label(INSTANCE).is_some() && listed.label(DEADLINE).is_some_and(passed)
            }
        }
    }

    /// The containers of a target that a list shows.
    pub(super) async fn find(
        &self,
        daemon: &Daemon,
        key: &ContainerKey,
    ) -> Result<Vec<Listed>, CallError> {
        match key {
            ContainerKey::Launch(launch) => {
                let label = format!("{LAUNCH}={}", self.identity.launch(*launch));
                let labels = [self.ours(), vec![label]].concat();
                self.list_labelled(daemon, &labels, None).await
            }
            ContainerKey::Stray(id) => {
                if !is_id(id) {
                    return Err(CallError::refused(format!("\"{id}\" is not a container's id")));
                }
                let mut found = self.list_labelled(daemon, &self.ours(), Some(id)).await?;
                found.retain(|listed| listed.id == *id && self.is_ours(daemon, listed));
                Ok(found)
            }
        }
    }

    /// Whether a list is to leave a container out: a holder that this run looks after, or
    /// another instance. `live` are the holders from before and after the list.
    fn is_kept(&self, daemon: &Daemon, live: &BTreeSet<u64>, listed: &Listed) -> bool {
        let Some(number) = listed.label(SANDBOX) else { return false };
        match self.scope {
            Scope::Instance if !self.is_ours(daemon, listed) => true,
            Scope::Instance => {
                listed.label(BOOT) == Some(&self.identity.boot)
                    && number.parse().is_ok_and(|number| live.contains(&number))
            }
            Scope::Run | Scope::Overdue => false,
        }
    }

    /// The numbers of all sandboxes that are no strays: those of a daemon, and those of other
    /// daemons, which may be the same engine by another way. No number is given twice.
    fn live_sandboxes(&self, daemon: &Daemon) -> BTreeSet<u64> {
        let mut live = daemon.sandboxes.live();
        self.daemons.lock().values().for_each(|other| live.extend(other.sandboxes.live()));
        self.leaving.lock().iter().for_each(|other| live.extend(other.sandboxes.live()));
        live
    }

    /// All containers that count, and the launches among them whose sandbox has ended.
    pub(super) async fn list_counted(
        &self,
        daemon: &Daemon,
    ) -> Result<(Vec<Listed>, Vec<LaunchId>), CallError> {
        // Read before the list: changes meanwhile are in order.
        let (mut live, mut lost) = (self.live_sandboxes(daemon), daemon.sandboxes.taken());
        let mut all = self.list_labelled(daemon, &self.counted(), None).await?;
        live.extend(self.live_sandboxes(daemon));
        // A paused holder keeps its network.
        let runs = |holder: &&Listed| matches!(holder.state.as_deref(), Some("running" | "paused"));
        for holder in all.iter().filter(runs).filter(|listed| self.is_ours(daemon, listed)) {
            if holder.label(BOOT) == Some(&self.identity.boot)
                && let Some(number) = holder.label(SANDBOX).and_then(|n| n.parse().ok())
            {
                lost.remove(&number);
            }
        }
        all.retain(|listed| !self.is_kept(daemon, &live, listed));
        Ok((all, lost.into_values().collect()))
    }
}
