//! Names and labels: how a container of ours is known, whatever reply was lost.

use std::collections::{BTreeMap, HashMap};

use ganger_pool::core::{LaunchId, ServiceName};
use ganger_pool::runtime::{ContainerKey, LaunchOrder};

/// Who we are to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The installation: the same from one run to the next, and no other's.
    pub instance: String,
    /// This run: 8 hexadecimal digits, 32 random bits. They are to differ from
    /// those of runs of this instance that have containers on its daemons: were
    /// there a thousand, one start in four million would be taken for one of them.
    pub boot: String,
}

/// Label of the instance: what bears it with our value is ours.
pub const INSTANCE: &str = "io.ganger.instance";
/// Label of the run that made the container.
pub const BOOT: &str = "io.ganger.boot";
/// Label of the service.
pub const SERVICE: &str = "io.ganger.service";
/// Label of the version of the service's spec.
pub const GENERATION: &str = "io.ganger.generation";
/// Label of the launch, `BOOT-NUMBER`.
pub const LAUNCH: &str = "io.ganger.launch";

// === impl Identity ===

impl Identity {
    /// The launch as text, unique over all runs.
    pub(super) fn launch(&self, launch: LaunchId) -> String {
        format!("{}-{launch}", self.boot)
    }

    /// The container's name, which says to people whose it is. It is also what
    /// the container is removed by; should somebody rename it, its label tells.
    pub(super) fn container(&self, service: &ServiceName, launch: LaunchId) -> String {
        let valid = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let service: String =
            service.as_str().chars().map(|c| if valid(c) { c } else { '-' }).collect();
        format!("ganger-{service}-{}", self.launch(launch))
    }

    pub(super) fn labels<S>(&self, order: &LaunchOrder<S>) -> HashMap<String, String> {
        HashMap::from([
            (INSTANCE.to_owned(), self.instance.clone()),
            (BOOT.to_owned(), self.boot.clone()),
            (SERVICE.to_owned(), order.service.to_string()),
            (GENERATION.to_owned(), order.generation.to_string()),
            (LAUNCH.to_owned(), self.launch(order.launch)),
        ])
    }

    /// The launch that a label names, when this run made it.
    pub(super) fn launch_of(&self, label: &str) -> Option<LaunchId> {
        let number = label.strip_prefix(self.boot.as_str())?.strip_prefix('-')?;
        number.parse().ok().map(LaunchId)
    }

    /// How the pool knows a container with this id and these labels.
    pub(super) fn key(&self, id: &str, labels: &BTreeMap<String, String>) -> ContainerKey {
        let ours = labels.get(BOOT).is_some_and(|boot| *boot == self.boot);
        labels
            .get(LAUNCH)
            .filter(|_| ours)
            .and_then(|label| self.launch_of(label))
            .map_or_else(|| ContainerKey::Stray(id.to_owned()), ContainerKey::Launch)
    }
}

/// Whether a text is an engine's id of a container. Ids become part of a path,
/// which the client library does not escape.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Identity {
        Identity { instance: "edge-1".into(), boot: "3fa9c1d2".into() }
    }

    #[test]
    fn a_launch_is_found_again_by_its_label() {
        let label = me().launch(LaunchId(17));
        assert_eq!(label, "3fa9c1d2-17");
        assert_eq!(me().launch_of(&label), Some(LaunchId(17)));
        assert_eq!(me().launch_of("3fa9c1d3-17"), None);
        assert_eq!(me().launch_of("3fa9c1d2-x"), None);
    }

    #[test]
    fn what_another_run_made_is_a_stray() {
        let labels = |boot: &str, launch: &str| {
            BTreeMap::from([(BOOT.into(), boot.into()), (LAUNCH.into(), launch.into())])
        };
        let key = |boot, launch| me().key("id", &labels(boot, launch));
        assert_eq!(key("3fa9c1d2", "3fa9c1d2-4"), ContainerKey::Launch(LaunchId(4)));
        assert_eq!(key("00000000", "00000000-4"), ContainerKey::Stray("id".into()));
        assert_eq!(key("3fa9c1d2", "garbage"), ContainerKey::Stray("id".into()));
        assert_eq!(me().key("id", &BTreeMap::new()), ContainerKey::Stray("id".into()));
    }

    #[test]
    fn a_name_holds_nothing_that_means_something_in_a_path() {
        let name = me().container(&"../a b".into(), LaunchId(1));
        assert_eq!(name, "ganger-..-a-b-3fa9c1d2-1");
    }
}
