//! Who is at fault when the engine refuses to create or start a container.
//!
//! Status codes differ between versions and engines, and one code means many
//! things: an unknown network is a 404 of start. Therefore the message decides first,
//! and the code only when no message is known.

use bollard::errors::Error;
use ganger_pool::runtime::{CallError, Fault, LaunchError};

use super::calls::CallFailure;
use super::explain::{explain, late};
use crate::endpoint::Endpoint;

/// The call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Network,
    Create,
    Start,
}

/// Parts of messages that put the fault on the service, with the setting that is
/// the likely cause. The first that matches counts, so the narrow come first.
const SERVICE: &[(&str, &str)] = &[
    ("could not select device driver", "`gpus`: the daemon has no driver for them"),
    ("gathering device information", "`devices`: the daemon's machine has no such device"),
    ("container create: stat /dev/", "`devices`: the daemon's machine has no such device"),
    ("no command specified", "`command`: the image has none of its own"),
    ("memory limit too low", "`limits.memory`: too little to start"),
    ("minimum memory limit", "`limits.memory`: too little for the engine"),
    ("oom-killed", "`limits.memory`: too little to start"),
    ("range of cpus", "`limits.cpus`: more than the daemon has"),
    ("unknown runtime", "`runtime`: the daemon does not have it"),
    ("invalid runtime", "`runtime`: the daemon does not have it"),
    ("open /proc/sys/", "`sysctls`: the daemon's kernel has no such parameter"),
    ("open `/proc/sys/", "`sysctls`: the daemon's kernel has no such parameter"),
    ("write /proc/sys/", "`sysctls`: the daemon's kernel does not take the value"),
    ("write to `/proc/sys/", "`sysctls`: the daemon's kernel does not take the value"),
    ("setting rlimit", "`ulimits`: the daemon may not set them so high"),
    ("unknown capability", "`privileges` or `cap_add`: not a capability the daemon knows"),
    ("invalid capadd", "`privileges` or `cap_add`: not a capability the daemon knows"),
    ("bind source path does not exist", "`mounts`: the source is not on the daemon's machine"),
    ("bind mount", "`mounts`"),
    ("invalid mount", "`mounts`"),
    ("mount denied", "`mounts`"),
    ("cannot setresgid", "`user`: the daemon has no such group id to give"),
    ("cannot setresuid", "`user`: the daemon has no such user id to give"),
    ("unable to find user", "`user`: the image does not know it"),
    ("unable to find group", "`user`: the image does not know the group"),
    ("no matching entries in", "`user`: the image does not know it"),
    ("linux spec user", "`user`: the image does not know it"),
    ("invalid tmpfs", "`tmpfs`"),
    ("read-only file system", "`read_only`, or `tmpfs` for what it writes"),
    ("executable file not found", "`command`: the image has no such program"),
    ("no such file or directory", "`command`: the image has no such program"),
    ("not a directory", "`mounts` or `command`"),
    ("exec format error", "`image`: it was built for another processor"),
    ("permission denied", "`user`, `privileges` or `command`: it may not run the program"),
    ("operation not permitted", "`privileges` or `user`: it lacks a right"),
    ("invalid environment variable", "`env`"),
    ("invalid port", "`port`"),
    ("specified platform", "`image`: it was built for another platform"),
];

/// Parts of messages that put the fault on the daemon, with what to look at.
/// The parts are looked for before [`SERVICE`].
const DAEMON: &[(&str, &str)] = &[
    (
        "setrlimit",
        "it may not set `ulimits` so high, or those that it is configured to give containers",
    ),
    ("/dev/net/tun", "its user may not open /dev/net/tun, or the kernel's module tun is absent"),
    ("pasta failed", "its program for rootless networks, pasta, fails"),
    ("find pasta", "its program for rootless networks, pasta, is not installed"),
    ("slirp4netns failed", "its program for rootless networks, slirp4netns, fails"),
    ("rootlessport", "its program for rootless ports, rootlessport, fails"),
    ("netavark", "its program for networks, netavark, fails: look at its firewall"),
    ("aardvark", "its program for names, aardvark-dns, fails"),
    ("iptables failed", "its firewall, iptables, fails"),
    ("helper_binaries_dir", "a program that it needs is not installed"),
    ("opening file `memory.max`", "it has no controller of control groups for memory"),
    ("opening file `cpu.max`", "it has no controller of control groups for processors"),
    ("opening file `pids.max`", "it has no controller of control groups for processes"),
    ("` is not available under /sys/fs/cgroup", "it has no controller of control groups for this"),
    ("creating cgroup", "it may not make control groups"),
    ("create cgroup", "it may not make control groups"),
    ("cgroup.subtree_control", "it may not make control groups"),
    ("cgroup.controllers", "it may not read its control groups"),
    ("newuidmap", "its user has no ids to give to containers: see /etc/subuid there"),
    ("newgidmap", "its user has no ids to give to containers: see /etc/subgid there"),
    ("insufficient uids", "its user has too few ids to give to containers: see /etc/subuid there"),
    ("mount `proc`", "it may not mount /proc: it has too few rights itself"),
    ("containerd.sock", "its containerd is out of its reach"),
    ("conmon failed", "its conmon fails"),
    ("conmon exited", "its conmon fails"),
    ("init binary", "its program for `init`, catatonit, is not installed"),
    ("exec: \"docker-init\"", "its program for `init`, docker-init, is not installed"),
    ("find conmon", "its conmon is not installed"),
    ("creating container storage", "its storage fails"),
    ("no space left on device", "its disk is full"),
    ("disk quota exceeded", "its disk is full"),
    ("port is already allocated", "it has no free port"),
    ("all ports are allocated", "it has no free port"),
    ("address already in use", "it has no free port"),
    (
        "cannot assign requested address",
        "its `url` is not an address of its own machine, so that no port can be published on it",
    ),
    ("no available ipv4 addresses", "its network has no free address"),
    ("no available ip", "its network has no free address"),
    // Each network takes a whole range, of which Docker has about 30 unless it is told of more.
    (
        "non-overlapping ipv4 address pool",
        "it has no free range of addresses for another network: remove networks that nobody uses \
         (`docker network prune`), or give it more (`default-address-pools` in its daemon.json)",
    ),
    (
        "isolate option",
        "it cannot keep networks apart, its netavark or CNI is too old: choose another `network`",
    ),
    ("exchange full", "its bridge is full: it takes 1,024 containers"),
    ("errno 524", "its kernel is out of BPF memory: raise net.core.bpf_jit_limit"),
    ("too many open files", "it is out of file descriptors"),
    ("cannot allocate memory", "its machine is out of memory"),
    ("resource temporarily unavailable", "its machine is out of processes"),
];

/// Whether the engine says that it does not have the image.
pub(super) fn is_image_missing(operation: Operation, failure: &CallFailure) -> bool {
    let CallFailure::Engine(Error::DockerResponseServerError { status_code, message }) = failure
    else {
        return false;
    };
    let message = message.to_lowercase();
    operation == Operation::Create
        && *status_code == 404
        && (message.contains("no such image") || message.contains("image not known"))
}

/// The pool's view of a failed create or start.
pub(super) fn launch_error(
    endpoint: &Endpoint,
    operation: Operation,
    failure: &CallFailure,
) -> LaunchError {
    let what = match operation {
        Operation::Network => "making a network",
        Operation::Create => "create",
        Operation::Start => "start",
    };
    let (error, hint) = match failure {
        CallFailure::Late(deadline) => (daemon(late(endpoint, what, *deadline)), None),
        CallFailure::Engine(error) => said(operation, what, error, &explain(endpoint, error)),
    };
    LaunchError { hint: hint.map(str::to_owned), ..error }
}

/// The pool's view of an engine's answer, and the setting or part of the daemon it is about.
fn said(
    operation: Operation,
    what: &str,
    error: &Error,
    text: &str,
) -> (LaunchError, Option<&'static str>) {
    let Error::DockerResponseServerError { status_code, message } = error else {
        return (daemon(format!("{what} failed: {text}")), None);
    };
    judged(operation, what, (*status_code, message), text)
}

/// The pool's view of a cell that could not be made, by what its runtime has said, or the keeper.
pub(super) fn of_cell(why: &str, by_runtime: bool) -> LaunchError {
    // Of what is not the service's, the words may be those of a service's mistake.
    let is_ours = ["/sys/fs/cgroup", "/run/ganger-cells"].iter().any(|place| why.contains(place));
    if !by_runtime || is_ours {
        return daemon(format!("the launch of a cell failed: {why}"));
    }
    let (error, hint) = judged(Operation::Start, "the launch of a cell", (500, why), why);
    LaunchError { hint: hint.map(str::to_owned), ..error }
}

fn judged(
    operation: Operation,
    what: &str,
    (status_code, message): (u16, &str),
    text: &str,
) -> (LaunchError, Option<&'static str>) {
    let lower = message.to_lowercase();
    // Podman's message for this also has the words of storage that fails.
    if lower.contains("storage-opt is supported only") {
        let setting = "`storage`: the daemon's storage driver knows no limit";
        return (service(format!("{what} failed, see {setting}: {text}")), Some(setting));
    }
    if let Some((_, cause)) = DAEMON.iter().find(|(part, _)| lower.contains(part)) {
        return (daemon(format!("{what} failed, {cause}: {text}")), Some(cause));
    }
    if operation == Operation::Network {
        return (daemon(format!("{what} failed: {text}")), None);
    }
    if status_code == 404 && lower.contains("no such container") {
        let error = unwanted(format!("{what} failed, somebody removed the container: {text}"));
        return (error, None);
    }
    // Some engines answer a create so with a 404, which could be taken for the image's absence.
    if lower.contains("network") && lower.contains("not found") {
        let setting = "`network`: the daemon has none so";
        return (service(format!("{what} failed, see {setting}: {text}")), Some(setting));
    }
    if let Some((_, setting)) = SERVICE.iter().find(|(part, _)| lower.contains(part)) {
        return (service(format!("{what} failed, see {setting}: {text}")), Some(setting));
    }
    let error = match status_code {
        400 | 403 | 406 | 422 => service(format!("{what} failed: {text}")),
        _ => daemon(format!("{what} failed: {text}")),
    };
    (error, None)
}

/// The daemon's failure to answer a call that a launch needs.
pub(super) fn of_call(error: CallError) -> LaunchError {
    daemon(error.message)
}

pub(super) fn daemon(message: String) -> LaunchError {
    LaunchError::new(Fault::Daemon, message)
}

/// The daemon lacks what it was prepared with.
pub(super) fn unprepared(message: String) -> LaunchError {
    LaunchError::new(Fault::Unprepared, message)
}

/// Nobody's fault: somebody removed the container before it was ready.
pub(super) fn unwanted(message: String) -> LaunchError {
    LaunchError::new(Fault::Unwanted, message)
}

pub(super) fn service(message: String) -> LaunchError {
    LaunchError::new(Fault::Service, message)
}

#[cfg(test)]
mod tests;
