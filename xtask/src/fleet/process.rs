//! The processes of a host, found by what they are rather than by a number
//! that may have been given to another since.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::mounts;
use super::remnants::container_ids;
use super::site::Host;
use crate::wait;

/// The programs that answer at an engine's socket.
const SERVERS: &[&str] = &["dockerd", "podman"];
/// The programs that make up an engine and name their host.
const ENGINE: &[&str] = &["dockerd", "containerd", "containerd-shim", "podman", "conmon"];

/// The process that answers at the host's socket, if it lives.
pub(crate) fn server(host: &Host) -> Option<Pid> {
    let pid =
        fs::read_to_string(host.pidfile()).ok()?.trim().parse().ok().and_then(Pid::from_raw)?;
    SERVERS.iter().any(|name| is_engine(pid, name, host)).then_some(pid)
}

/// The host's containerd, if it lives.
pub(crate) fn containerd(host: &Host) -> Option<Pid> {
    engine(host).into_iter().find(|pid| is_engine(*pid, "containerd", host))
}

/// Everything of the host's engine: dockerd, containerd, shims; Podman and all that it starts.
pub(crate) fn engine(host: &Host) -> Vec<Pid> {
    let named = |pid| ENGINE.iter().any(|name| is_engine(pid, name, host));
    all().filter(|pid| named(*pid) || has_mounts(*pid, host)).collect()
}

/// Whether a process is in the mount namespace of the host's engine. Containers are in others.
fn has_mounts(pid: Pid, host: &Host) -> bool {
    let table = fs::read_to_string(proc(pid).join("mountinfo")).unwrap_or_default();
    mounts::are_of(&table, &host.dir)
}

/// The processes in the host's containers.
pub(crate) fn contained(host: &Host) -> Vec<Pid> {
    let ids = container_ids(host);
    if ids.is_empty() {
        return Vec::new();
    }
    all()
        .filter(|pid| {
            let groups = fs::read_to_string(proc(*pid).join("cgroup")).unwrap_or_default();
            groups
                .split(|c: char| !c.is_ascii_hexdigit())
                .any(|word| word.len() == 64 && ids.contains(word))
        })
        .collect()
}

/// Sends a signal to each; those that have gone meanwhile do not matter.
pub(crate) fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill_process(*pid, signal);
    }
}

/// Waits until a process ends; says whether it did.
pub(crate) fn ended(pid: Pid, time: Duration) -> bool {
    wait::until(time, || (!lives(pid)).then_some(())).is_some()
}

/// Whether a process runs. An ended one may still wait for its parent to ask.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(proc(pid).join("stat")).unwrap_or_default();
    // The name before the state is in parentheses, and may hold some itself.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Whether a process is this program of this host's engine.
fn is_engine(pid: Pid, name: &str, host: &Host) -> bool {
    let Ok(exe) = fs::read_link(proc(pid).join("exe")) else {
        return false;
    };
    // A program that was upgraded meanwhile reads `dockerd (deleted)`.
    let exe = exe.file_name().unwrap_or_default().to_string_lossy();
    let exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe);
    let matches = exe == name || name == "containerd-shim" && exe.starts_with(name);
    matches && {
        let arguments = fs::read(proc(pid).join("cmdline")).unwrap_or_default();
        names(&String::from_utf8_lossy(&arguments), &host.exec_root())
    }
}

/// Whether a command line, its words ended by NUL, has a path at or below this
/// one: as a word, or as the value of `--option=PATH`.
fn names(arguments: &str, root: &Path) -> bool {
    arguments
        .split('\0')
        .map(|word| word.split_once('=').map_or(word, |(_, value)| value))
        .any(|word| Path::new(word).starts_with(root))
}

fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn proc(pid: Pid) -> std::path::PathBuf {
    format!("/proc/{}", pid.as_raw_nonzero()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_to_the_host_whose_directory_it_names() {
        let root = Path::new("/run/fleet/host-1/exec");
        assert!(names("dockerd\0--exec-root=/run/fleet/host-1/exec\0", root));
        assert!(names("containerd\0--address\0/run/fleet/host-1/exec/containerd/sock\0", root));
        assert!(!names("dockerd\0--exec-root=/run/fleet/host-11/exec\0", root));
        assert!(!names("dockerd\0--exec-root=/run/fleet/host-1/executive\0", root));
        assert!(!names("", root));
    }
}
