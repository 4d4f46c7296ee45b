//! The Debian packages that a fleet needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The package of the machine's own engine.
pub(crate) const DOCKER: &str = "docker.io";

/// The needs of one engine in the machine's own namespace: each program, and the package that
/// has it. The demo and the benchmark need no more.
const ENGINE: &[(&str, &str)] =
    &[("dockerd", DOCKER), ("containerd", DOCKER), ("docker-proxy", DOCKER), ("ip", "iproute2")];

/// The further needs of a fleet, and of the tests on it.
const FLEET: &[(&str, &str)] = &[
    ("docker", DOCKER),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("docker-registry", "docker-registry"),
];

/// The same for the proxies that ours is measured beside, and what counts their system calls.
const PEERS: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("nginx", "libnginx-mod-stream"),
    ("docker-proxy", DOCKER),
    ("strace", "strace"),
];

/// The same for running programs with the libraries of another Debian suite.
const PATCHING: &[(&str, &str)] = &[("patchelf", "patchelf"), ("dpkg", "dpkg")];

/// The same for a virtual machine.
const MACHINE: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("debootstrap", "debootstrap"),
    ("mke2fs", "e2fsprogs"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

/// The same for making images.
const IMAGES: &[(&str, &str)] = &[("debootstrap", "debootstrap"), ("unshare", "util-linux")];

/// The clients that services in images are tested with. PostgreSQL's come with its server.
const CLIENTS: &[(&str, &str)] = &[
    ("mariadb", "mariadb-client"),
    ("redis-cli", "redis-tools"),
    ("curl", "curl"),
    ("ab", "apache2-utils"),
    ("ssh", "openssh-client"),
    ("sshpass", "sshpass"),
    ("swaks", "swaks"),
];

/// The watchers of a running Ganger in tests: Prometheus, a browser with its driver, and the Python
/// that [`crate::schemathesis`] runs in.
const WATCHERS: &[(&str, &str)] = &[
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("python3", "python3-venv"),
];

/// The program that fetches packages of npm.
const NPM: &[(&str, &str)] = &[("npm", "npm")];

/// Programs of the system are looked for here as well as in PATH.
const SYSTEM: &[&str] = &["/usr/sbin", "/sbin", "/usr/local/sbin"];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Tells Debian's packages to start nothing while it exists.
struct NoServices;

/// Installs what an engine lacks, and says so; returns the packages.
pub(crate) fn ensure_engine() -> Result<Vec<&'static str>> {
    install(ENGINE)
}

/// The same for a fleet.
pub(crate) fn ensure_fleet() -> Result<Vec<&'static str>> {
    install(&[ENGINE, FLEET].concat())
}

/// The same for the proxies that ours is measured beside.
pub(crate) fn ensure_peers() -> Result<Vec<&'static str>> {
    install(PEERS)
}

/// The same for engines of another Debian suite.
pub(crate) fn ensure_patching() -> Result<Vec<&'static str>> {
    install(PATCHING)
}

/// The same for a virtual machine.
pub(crate) fn ensure_machine() -> Result<Vec<&'static str>> {
    install(MACHINE)
}

/// The same for making images.
pub(crate) fn ensure_images() -> Result<Vec<&'static str>> {
    install(IMAGES)
}

/// The same for the clients of services in images.
pub(crate) fn ensure_clients() -> Result<Vec<&'static str>> {
    install(CLIENTS)
}

/// The same for the watchers of a running Ganger.
pub(crate) fn ensure_watchers() -> Result<Vec<&'static str>> {
    install(WATCHERS)
}

/// The same for the program that fetches packages of npm.
pub(crate) fn ensure_npm() -> Result<Vec<&'static str>> {
    install(NPM)
}

/// Whether the machine starts the services of packages as they are installed.
pub(crate) fn services_start() -> bool {
    Path::new("/run/systemd/system").exists() && !Path::new(POLICY).exists()
}

fn install(needed: &[(&str, &'static str)]) -> Result<Vec<&'static str>> {
    let missing = missing(needed, present);
    if missing.is_empty() {
        return Ok(missing);
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
    let wants_docker = needed.iter().any(|(program, _)| *program == "docker");
    if wants_docker && !present("docker") {
        // Since Debian 13 the command line has a package of its own.
        apt(&["install", "-q", "-y", "--no-install-recommends", "docker-cli"])?;
    }
    drop(quiet);
    match needed.iter().find(|(program, _)| !present(program)) {
        Some((program, package)) => bail!("package {package} is installed, but has no `{program}`"),
        None => Ok(missing),
    }
}

/// The packages of the programs that are not there, each once.
fn missing(needed: &[(&str, &'static str)], present: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut missing = Vec::new();
    for (program, package) in needed {
        if !present(program) && !missing.contains(package) {
            missing.push(*package);
        }
    }
    missing
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_for_the_demo_takes_no_more_than_an_engine() {
        assert_eq!(missing(ENGINE, |_| false), ["docker.io", "iproute2"]);
        assert_eq!(missing(ENGINE, |program| program != "dockerd"), ["docker.io"]);
        assert_eq!(missing(ENGINE, |_| true), [""; 0]);
    }

    #[test]
    fn a_fleet_takes_what_its_tests_run() {
        let all = ["docker.io", "iproute2", "iptables", "util-linux", "docker-registry"];
        assert_eq!(missing(&[ENGINE, FLEET].concat(), |_| false), all);
        // Debian 13 has the command line in a package of its own.
        let only = missing(&[ENGINE, FLEET].concat(), |program| program != "docker");
        assert_eq!(only, ["docker.io"]);
    }
}
