//! The names and labels by which a container of ours is known, whatever reply was lost.

use std::collections::{BTreeMap, HashMap};

use ganger_pool::core::LaunchId;
use ganger_pool::runtime::{ContainerKey, LaunchOrder};

pub use super::clock::DEADLINE;

/// The identity of a run to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The installation: the same from one run to the next, and no other's.
    pub instance: String,
    /// This run: 8 hexadecimal digits, 32 random bits. The value has to differ from
    /// those of runs of this instance that have containers on its daemons: with a
    /// thousand of them, one start in four million would be taken for one of them.
    pub boot: String,
}

/// Label of the instance: everything of ours bears it with our value.
pub const INSTANCE: &str = "io.ganger.instance";
/// Label of the run that made the container.
pub const BOOT: &str = "io.ganger.boot";
/// Label of the service.
pub const SERVICE: &str = "io.ganger.service";
/// Label of the version of the service's spec.
pub const GENERATION: &str = "io.ganger.generation";
/// Label of the launch, `BOOT-NUMBER`.
pub const LAUNCH: &str = "io.ganger.launch";
/// Label of a holder, and of its volume: its number.
pub(super) const SANDBOX: &str = "io.ganger.sandbox";

/// Prefix of a network's id where a container's id could stand.
pub(super) const NETWORK: &str = "network:";
/// Prefix of a volume's name there.
pub(super) const VOLUME: &str = "volume:";

/// Every label of ours. An image's labels become those of its containers, and `docker
/// commit` puts ours on an image. Therefore a container of ours is given all of them, some
/// empty: every reader takes an empty label for an absent one.
const ALL: [&str; 7] = [INSTANCE, BOOT, SERVICE, GENERATION, LAUNCH, SANDBOX, DEADLINE];

// === impl Identity ===

impl Identity {
    /// The launch as text, unique over all runs.
    pub(super) fn launch(&self, launch: LaunchId) -> String {
        format!("{}-{launch}", self.boot)
    }

    /// All labels of a launch's container, but for a deadline.
    pub(super) fn labels<S>(&self, order: &LaunchOrder<S>) -> HashMap<String, String> {
        self.with([
            (SERVICE, order.service.to_string()),
            (GENERATION, order.generation.to_string()),
            (LAUNCH, self.launch(order.launch)),
        ])
    }

    /// All labels of a holder, and of its volume.
    pub(super) fn holder_labels(&self, number: u64) -> HashMap<String, String> {
        self.with([(SANDBOX, number.to_string())])
    }

    /// All labels of the run's network.
    pub(super) fn network_labels(&self) -> HashMap<String, String> {
        self.with([])
    }

    fn with<const N: usize>(&self, own: [(&str, String); N]) -> HashMap<String, String> {
        let mut labels: HashMap<_, _> =
            ALL.iter().map(|label| ((*label).to_owned(), String::new())).collect();
        let ours = [(INSTANCE, self.instance.clone()), (BOOT, self.boot.clone())];
        labels.extend(ours.into_iter().chain(own).map(|(key, value)| (key.to_owned(), value)));
        labels
    }

    /// The launch that a label names, when this run made it.
    pub(super) fn launch_of(&self, label: &str) -> Option<LaunchId> {
        let number = label.strip_prefix(self.boot.as_str())?.strip_prefix('-')?;
        number.parse().ok().map(LaunchId)
    }

    /// How the pool knows a container with this id and these labels.
    pub(super) fn key(&self, id: &str, labels: &BTreeMap<String, String>) -> ContainerKey {
        let ours =
            value(labels.get(BOOT)).is_some_and(|boot| *boot == self.boot) && !is_belonging(id);
        value(labels.get(LAUNCH))
            .filter(|_| ours)
            .and_then(|label| self.launch_of(label))
            .map_or_else(|| ContainerKey::Stray(id.to_owned()), ContainerKey::Launch)
    }
}

/// A label that is set. An empty one says that the label does not apply.
pub(super) fn value(label: Option<&String>) -> Option<&String> {
    label.filter(|value| !value.is_empty())
}

/// The name of the container with these labels of ours. An image that is made of it (`docker
/// commit`) has its labels, but not its name: containers that bear our labels under another
/// name are not ours. `None` when the labels are not ours.
pub(super) fn name_by<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<String> {
    let label = |key| value(label(key));
    match label(SANDBOX) {
        Some(number) => Some(holder(label(BOOT)?, number)),
        None => Some(container(label(SERVICE)?, label(LAUNCH)?)),
    }
}

/// The name of a launch's container, which tells people whose it is. The container is also
/// removed by this name.
pub(super) fn container(service: &str, launch: &str) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let service: String = service.chars().map(|c| if valid(c) { c } else { '-' }).collect();
    format!("ganger-{service}-{launch}")
}

/// The name of a holder, and of its volume.
pub(super) fn holder(boot: &str, number: &str) -> String {
    format!("ganger-sandbox-{boot}-{number}")
}

/// The control group of a run's cells.
pub(super) fn cells(instance: &str, boot: &str) -> String {
    format!("/ganger-cells-{instance}-{boot}")
}

/// The boot of the run of an instance whose cells have the control group of this name.
pub(super) fn run_of_cells<'n>(name: &'n str, instance: &str) -> Option<&'n str> {
    let boot = name.strip_prefix("ganger-cells-")?.strip_prefix(instance)?.strip_prefix('-')?;
    Some(boot).filter(|boot| is_boot(boot))
}

/// Whether an id stands for a network or a volume where a container's could stand.
pub(super) fn is_belonging(id: &str) -> bool {
    id.starts_with(NETWORK) || id.starts_with(VOLUME)
}

/// The name of a run's network.
pub(super) fn network(boot: &str) -> String {
    format!("ganger-{boot}")
}

/// The boot of the run whose network has this name.
pub(super) fn run_of_network(name: &str) -> Option<&str> {
    name.strip_prefix("ganger-").filter(|boot| is_boot(boot))
}

/// Whether a run has given this name to a container, be it a launch's or a holder. No name is given
/// twice.
pub(super) fn is_of_run(name: &str, boot: &str) -> bool {
    let numbered = name.strip_prefix("ganger-").and_then(|rest| rest.rsplit_once('-'));
    numbered.is_some_and(|(rest, number)| {
        let own = rest.strip_suffix(boot).is_some_and(|service| service.ends_with('-'));
        own && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_boot(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a text is an engine's id of a container, or of a network. Ids become part of a path,
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
    fn the_control_groups_of_cells_are_found_again_and_no_other_instances() {
        let group = cells("edge-1", "3fa9c1d2");
        let name = group.trim_start_matches('/');
        assert_eq!(run_of_cells(name, "edge-1"), Some("3fa9c1d2"));
        for (name, instance) in [
            (name, "edge"),
            ("ganger-cells-edge-1-3fa9c1d2", "edge-1-3fa9"),
            ("edge-1-3fa9c1d2", "edge-1"),
        ] {
            assert_eq!(run_of_cells(name, instance), None, "{name} {instance}");
        }
    }

    #[test]
    fn containers_of_a_run_are_known_by_their_names() {
        let names = [container("a-b", &me().launch(LaunchId(7))), holder(&me().boot, "12")];
        for name in &names {
            assert!(is_of_run(name, "3fa9c1d2"), "{name}");
            assert!(!is_of_run(name, "00000000"), "{name}");
        }
        for name in [
            "ganger-3fa9c1d2-7",
            "ganger-a-3fa9c1d2-",
            "ganger-a-3fa9c1d2-x",
            "a-3fa9c1d2-7",
            "ganger-a3fa9c1d2-7",
        ] {
            assert!(!is_of_run(name, "3fa9c1d2"), "{name}");
        }
        assert_eq!(run_of_network(&network("3fa9c1d2")), Some("3fa9c1d2"));
        assert_eq!(run_of_network(&names[0]), None);
    }

    #[test]
    fn a_name_holds_nothing_that_means_something_in_a_path() {
        let name = container("../a b", &me().launch(LaunchId(1)));
        assert_eq!(name, "ganger-..-a-b-3fa9c1d2-1");
    }

    #[test]
    fn labels_that_are_not_whole_are_not_ours() {
        let name = |labels: &[(&str, &str)]| {
            let labels: BTreeMap<String, String> =
                labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            name_by(|key| labels.get(key))
        };
        let launch = [(SERVICE, "echo"), (LAUNCH, "3fa9c1d2-1")];
        assert_eq!(name(&launch).as_deref(), Some("ganger-echo-3fa9c1d2-1"));
        let empty = [launch[0], launch[1], (SANDBOX, "")];
        assert_eq!(name(&empty), name(&launch));
        let holder = [(BOOT, "3fa9c1d2"), (SANDBOX, "4"), (SERVICE, ""), (LAUNCH, "")];
        assert_eq!(name(&holder).as_deref(), Some("ganger-sandbox-3fa9c1d2-4"));
        for odd in [&[][..], &launch[..1], &[(SERVICE, ""), launch[1]], &[(SANDBOX, "4")]] {
            assert_eq!(name(odd), None);
        }
    }
}
