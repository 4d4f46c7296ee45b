//! The Debian packages that a fleet needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// Each program that is needed, and the package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("dockerd", "docker.io"),
    ("containerd", "docker.io"),
    ("docker-proxy", "docker.io"),
    ("docker", "docker.io"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("docker-registry", "docker-registry"),
];

/// The same for what the data path is measured beside.
const PEERS: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("nginx", "libnginx-mod-stream"),
    ("docker-proxy", "docker.io"),
];

/// Programs of the system are looked for here as well as in PATH.
const SYSTEM: &[&str] = &["/usr/sbin", "/sbin", "/usr/local/sbin"];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Tells Debian's packages to start nothing while it exists.
struct NoServices;

/// Installs what a fleet lacks, and says so.
pub(crate) fn ensure() -> Result<()> {
    install(NEEDED)
}

/// The same for the proxies that ours is measured beside.
pub(crate) fn ensure_peers() -> Result<()> {
    install(PEERS)
}

fn install(needed: &[(&str, &'static str)]) -> Result<()> {
    let mut missing: Vec<_> = needed
        .iter()
        .filter(|(program, _)| !present(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    command::say(&format!("installing packages: {}", missing.join(" ")));
    if !present("apt-get") {
        bail!(
            "this machine lacks programs that the Debian packages {} have, and has no apt-get; \
             install them by its own means",
            missing.join(", ")
        );
    }
    let quiet = NoServices::declare()?;
    let apt = |args: &[&str]| {
        command::run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(args))
    };
    apt(&["update", "-q"])?;
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], missing.as_slice()].concat())?;
    if !present("docker") {
        // Since Debian 13 the command line has a package of its own.
        apt(&["install", "-q", "-y", "--no-install-recommends", "docker-cli"])?;
    }
    drop(quiet);
    match needed.iter().find(|(program, _)| !present(program)) {
        Some((program, package)) => bail!("package {package} is installed, but has no `{program}`"),
        None => Ok(()),
    }
}

/// PATH, with the directories that it lacks for a user who is not root.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
    format!("{path}:{}", SYSTEM.join(":"))
}

fn present(program: &str) -> bool {
    search_path().split(':').any(|directory| Path::new(directory).join(program).is_file())
}

// === impl NoServices ===

impl NoServices {
    /// Does nothing where a service manager runs, which is to have its way, or
    /// where the machine has a policy of its own.
    fn declare() -> Result<Option<Self>> {
        if Path::new("/run/systemd/system").exists() || Path::new(POLICY).exists() {
            return Ok(None);
        }
        // 101: the action is not allowed.
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| POLICY.to_owned())?;
        let declared = Self;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Some(declared))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("{POLICY} is left over: {error}");
        }
    }
}
