//! The settings that an engine leaves out, without refusing.
//!
//! A missing limit shows when it is too late, and so does a runtime other than the
//! sandbox that was asked for. Therefore a service that asks for what a daemon leaves
//! out is not launched there.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Spec;
use super::view::{HostConfig, Info};

/// A setting that an engine does not carry out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ignored {
    Memory,
    Cpus,
    Pids,
    /// A `runtime` that was asked for, and another one that runs instead. The entry says
    /// nothing of other runtimes.
    Runtime {
        asked: String,
        runs: String,
    },
}

/// The limits that an engine says it cannot set.
pub(super) fn said(info: &Info) -> BTreeSet<Ignored> {
    let none = info.cgroup_driver.as_deref() == Some("none");
    let lacks = |has: Option<bool>| none || has == Some(false);
    [
        (lacks(info.memory_limit), Ignored::Memory),
        (lacks(info.cpu_quota), Ignored::Cpus),
        (lacks(info.pids_limit), Ignored::Pids),
    ]
    .into_iter()
    .filter_map(|(lacks, limit)| lacks.then_some(limit))
    .collect()
}

/// The limit that a warning in the answer to a create says was left out.
pub(super) fn warned(warning: &str) -> Option<Ignored> {
    let lower = warning.to_lowercase();
    // The warning that memory is limited without swap discards nothing.
    if !lower.contains("discarded") {
        return None;
    }
    [("memory limit", Ignored::Memory), ("pids limit", Ignored::Pids), ("cpu", Ignored::Cpus)]
        .into_iter()
        .find_map(|(part, limit)| lower.contains(part).then_some(limit))
}

/// The limit that kept a container from being started, because its controller is not there.
pub(super) fn failed(message: &str) -> Option<Ignored> {
    let lower = message.to_lowercase();
    let absent = lower.contains("no such file or directory");
    [("memory", Ignored::Memory), ("cpu", Ignored::Cpus), ("pids", Ignored::Pids)]
        .into_iter()
        .find_map(|(name, limit)| {
            let lacks = (absent && lower.contains(&format!("{name}.max")))
                || lower.contains(&format!("controller `{name}` is not available"));
            lacks.then_some(limit)
        })
}

/// The limits that were left out, by the settings of a container that the engine has kept.
/// Engines that do not report a setting prove nothing.
pub(super) fn read_back(spec: &Spec, kept: &HostConfig) -> BTreeSet<Ignored> {
    let lost = |wanted: bool, kept: Option<i64>| wanted && kept.is_some_and(|kept| kept <= 0);
    [
        (lost(spec.limits.memory.is_some(), kept.memory), Ignored::Memory),
        (lost(spec.limits.cpus.is_some(), kept.nano_cpus), Ignored::Cpus),
        (lost(spec.limits.pids.is_some(), kept.pids_limit), Ignored::Pids),
    ]
    .into_iter()
    .filter_map(|(lost, limit)| lost.then_some(limit))
    .collect()
}

/// All limits: a container without a control group of its own has none.
pub(super) fn all_limits() -> BTreeSet<Ignored> {
    [Ignored::Memory, Ignored::Cpus, Ignored::Pids].into()
}

/// Why a service is not to be launched where these settings are ignored.
pub(super) fn refusal(ignored: &BTreeSet<Ignored>, spec: &Spec) -> Option<String> {
    let runtime = ignored.iter().find_map(|one| match one {
        Ignored::Runtime { asked, runs } if spec.runtime.as_ref() == Some(asked) => Some(format!(
            "the engine ignores `runtime: \"{asked}\"` and runs containers by {runs}: make \
             {asked} the default of the engine, or leave `runtime` out"
        )),
        _ => None,
    });
    if runtime.is_some() {
        return runtime;
    }
    let lost: Vec<&str> = lost(ignored, spec).collect();
    (spec.limits.enforce && !lost.is_empty()).then(|| {
        format!(
            "the engine discards {} (it is rootless, or the controllers of control groups are \
             not delegated to it), and the containers would run without: give it the \
             controllers, or say `limits: (enforce: false)`",
            lost.join(" and ")
        )
    })
}

/// The limits that a service asks for and would not get.
fn lost<'a>(ignored: &'a BTreeSet<Ignored>, spec: &'a Spec) -> impl Iterator<Item = &'static str> {
    ignored.iter().filter_map(|one| match one {
        Ignored::Memory => spec.limits.memory.map(|_| "`limits.memory`"),
        Ignored::Cpus => spec.limits.cpus.map(|_| "`limits.cpus`"),
        Ignored::Pids => spec.limits.pids.map(|_| "`limits.pids`"),
        Ignored::Runtime { .. } => None,
    })
}

/// The spec without the limits that an engine ignores: some fail to start a container whose
/// limits they cannot set.
pub(super) fn without<'a>(ignored: &BTreeSet<Ignored>, spec: &'a Spec) -> Cow<'a, Spec> {
    if lost(ignored, spec).next().is_none() {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    for one in ignored {
        match one {
            Ignored::Memory => spec.limits.memory = None,
            Ignored::Cpus => spec.limits.cpus = None,
            Ignored::Pids => spec.limits.pids = None,
            Ignored::Runtime { .. } => {}
        }
    }
    Cow::Owned(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Limits;

    /// Warnings as engines give them.
    #[test]
    fn a_warning_says_which_limit_was_discarded() {
        for (warning, limit) in [
            (
                "Your kernel does not support memory limit capabilities or the cgroup is not \
                 mounted. Limitation discarded.",
                Some(Ignored::Memory),
            ),
            (
                "Your kernel does not support PIDs limit capabilities or the cgroup is not \
                 mounted. PIDs limit discarded.",
                Some(Ignored::Pids),
            ),
            (
                "Your kernel does not support CPU CFS quota or the cgroup is not mounted. Quota \
                 discarded.",
                Some(Ignored::Cpus),
            ),
            (
                "Your kernel does not support swap limit capabilities or the cgroup is not \
                 mounted. Memory limited without swap.",
                None,
            ),
            ("Published ports are discarded when using host network mode", None),
        ] {
            assert_eq!(warned(warning), limit, "{warning}");
        }
    }

    #[test]
    fn a_limit_that_cannot_be_set_is_told_from_a_program_that_is_not_there() {
        // Podman 5.4 with crun 1.21, on control groups without controllers.
        let crun = "crun: opening file `memory.max` for writing: No such file or directory: OCI \
                    runtime attempted to invoke a command that was not found";
        assert_eq!(failed(crun), Some(Ignored::Memory));
        let pids =
            "crun: controller `pids` is not available under /sys/fs/cgroup/x/cgroup.controllers";
        assert_eq!(failed(pids), Some(Ignored::Pids));
        let runc = "openat2 /sys/fs/cgroup/x/pids.max: no such file or directory: unknown";
        assert_eq!(failed(runc), Some(Ignored::Pids));
        let busy = "write /sys/fs/cgroup/x/memory.max: device or resource busy";
        assert_eq!(failed(busy), None, "too little for the container");
        assert_eq!(failed("exec: \"/x\": stat /x: no such file or directory"), None);
    }

    fn limited(memory: u64, pids: u32) -> Spec {
        let limits = Limits { memory: Some(memory), pids: Some(pids), ..Limits::NONE };
        Spec { limits, ..Spec::new("demo", 1) }
    }

    #[test]
    fn what_is_asked_for_and_ignored_is_refused_and_nothing_else() {
        let limited = limited(1, 1);
        let of =
            |ignored: &[Ignored], spec: &Spec| refusal(&ignored.iter().cloned().collect(), spec);
        let why = of(&[Ignored::Memory, Ignored::Cpus, Ignored::Pids], &limited).unwrap();
        assert!(why.contains("discards `limits.memory` and `limits.pids` "), "{why}");
        assert_eq!(of(&[Ignored::Cpus], &limited), None);
        let mut lax = limited.clone();
        lax.limits.enforce = false;
        let all = all_limits();
        assert_eq!(refusal(&all, &lax), None);
        let asked = without(&all, &lax);
        assert_eq!((asked.limits.memory, asked.limits.pids), (None, None));
        let runsc = Spec { runtime: Some("runsc".into()), ..lax };
        let crun = [Ignored::Runtime { asked: "runsc".into(), runs: "crun".into() }];
        assert!(of(&crun, &runsc).is_some(), "`enforce` is about limits");
        for other in ["crun", "kata"] {
            let other = Spec { runtime: Some(other.into()), ..runsc.clone() };
            assert_eq!(of(&crun, &other), None);
        }
    }

    #[test]
    fn what_an_engine_has_kept_is_compared_with_what_was_asked() {
        let spec = limited(64 << 20, 64);
        let kept = |json: &str| read_back(&spec, &serde_json::from_str(json).unwrap());
        assert_eq!(kept("{}"), BTreeSet::new());
        assert_eq!(
            kept(r#"{"Memory": 67108864, "PidsLimit": 64, "NanoCpus": 0}"#),
            BTreeSet::new()
        );
        let lost = [Ignored::Memory, Ignored::Pids].into();
        assert_eq!(kept(r#"{"Memory": 0, "PidsLimit": 0}"#), lost);
        assert_eq!(kept(r#"{"Memory": 67108864, "PidsLimit": null}"#), BTreeSet::new());
    }
}
