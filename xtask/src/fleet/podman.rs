//! Podman's API as a host's engine: no daemon, but two services on one store, as each has one
//! listener.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::programs;
use super::site::Host;

/// Directories that every Podman of a machine uses, whatever it is told.
const FIXED: [&str; 3] = ["/run/crun", "/run/containers", "/var/lib/containers"];

/// The start command: in the host's network namespace, and in a mount namespace of its own.
pub(super) fn command(host: &Host) -> Vec<String> {
    let netns = host.netns().unwrap_or_default();
    let start = start_file(host).display().to_string();
    ["nsenter", &format!("--net=/run/netns/{netns}"), "unshare", "--mount", "sh", &start]
        .map(Into::into)
        .to_vec()
}

/// Writes the files that Podman is started with.
pub(super) fn prepare(host: &Host) -> Result<()> {
    let bin = programs::directory(host.kind).context("a Podman of the machine's own")?;
    let policy = home(host).join(".config/containers");
    for dir in [&policy, &host.exec_root(), &host.data] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::write(policy.join("policy.json"), r#"{"default": [{"type": "insecureAcceptAnything"}]}"#)?;
    fs::write(host.dir.join("storage.conf"), "[storage]\ndriver = \"overlay\"\n")?;
    fs::write(host.dir.join("containers.conf"), settings(&bin))?;
    fs::write(start_file(host), script(host))?;
    Ok(())
}

/// The directories that are there of those that every Podman uses.
pub(super) fn fixed_directories() -> impl Iterator<Item = &'static Path> {
    FIXED.iter().map(Path::new).filter(|dir| dir.exists())
}

fn start_file(host: &Host) -> PathBuf {
    host.dir.join("start")
}

fn home(host: &Host) -> PathBuf {
    host.dir.join("home")
}

/// Replaces every other containers.conf of the machine. Locks are in files, for locks in memory
/// are shared by all Podmans of a machine.
fn settings(bin: &Path) -> String {
    let bin = bin.display();
    format!(
        r#"[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
helper_binaries_dir = ["{bin}"]
conmon_path = ["{bin}/conmon"]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "crun"
[engine.runtimes]
crun = ["{bin}/crun"]
[network]
network_backend = "netavark"
firewall_driver = "iptables"
"#
    )
}

/// In a mount namespace of its own nothing of the machine's is changed: what Podman keeps in
/// fixed places is on a tmpfs there. Each such mount names the host, so that every process in
/// the namespace is known as the host's.
fn script(host: &Host) -> String {
    let path = |path: &Path| path.display().to_string();
    let options = [
        format!("--root={}", path(&host.data.join("storage"))),
        format!("--runroot={}", path(&host.exec_root().join("run"))),
        format!("--tmpdir={}", path(&host.exec_root().join("tmp"))),
        format!("--network-config-dir={}", path(&host.data.join("networks"))),
    ]
    .join(" ");
    let (dir, fixed) = (path(&host.dir), FIXED.join(" "));
    let (home, url) = (path(&home(host)), host.tcp_url().unwrap_or_default());
    let (search, pidfile) = (programs::search_path(host.kind), path(&host.pidfile()));
    let socket = path(&host.socket);
    format!(
        r#"set -e
mkdir -p {fixed}
for place in {fixed} /run/netns; do mount -t tmpfs {dir} $place; done
# Where version 1 and 2 are both mounted, crun and Podman do not agree on which one counts.
if [ -d /sys/fs/cgroup/unified ]; then mount -t tmpfs {dir} /sys/fs/cgroup/unified; fi
export HOME={home} XDG_CONFIG_HOME={home}/.config PATH={search}
export CONTAINERS_CONF={dir}/containers.conf CONTAINERS_STORAGE_CONF={dir}/storage.conf
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
rm -f {socket}
podman {options} system service --time=0 {url} &
echo $$ > {pidfile}
exec podman {options} system service --time=0 unix://{socket}
"#
    )
}
