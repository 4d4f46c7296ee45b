//! Whether the virtual machine is what it is there for: everything else would say little on
//! another one.

use std::fs;

use anyhow::{Result, ensure};

use super::{Check, said};
use crate::vm::plan::Plan;

/// The checks of the host.
pub(super) const CHECKS: &[Check] = &[
    ("has_control_groups_of_version_2_alone_by_systemd", control_groups),
    ("confines_containers_by_apparmor", confinement),
];

/// Controllers that limits need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Kernel, systemd and Docker versions.
pub(super) fn describe() -> Result<String> {
    let systemd = said("systemctl", &["--version"])?;
    Ok(format!(
        "Linux {}, {}, Docker {}",
        said("uname", &["--kernel-release"])?,
        systemd.lines().next().unwrap_or_default(),
        said("docker", &["version", "--format", "{{.Server.Version}}"])?
    ))
}

fn control_groups(_: &Plan) -> Result<()> {
    let driver = said("docker", &["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"])?;
    ensure!(driver == "systemd 2", "the engine's cgroup driver and version are {driver:?}");
    let there = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    for controller in CONTROLLERS {
        let has = there.split_whitespace().any(|word| word == controller);
        ensure!(has, "the root has the controllers {there:?}, and not {controller}");
    }
    let mounts = fs::read_to_string("/proc/mounts")?;
    let old = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup"));
    ensure!(old.is_none(), "version 1 is mounted: {old:?}");
    Ok(())
}

fn confinement(_: &Plan) -> Result<()> {
    let options = said("docker", &["info", "--format", "{{.SecurityOptions}}"])?;
    ensure!(options.contains("name=apparmor"), "the engine's security options are {options}");
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles")?;
    ensure!(loaded.contains("docker-default (enforce)"), "these profiles are loaded: {loaded}");
    Ok(())
}
