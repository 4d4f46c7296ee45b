//! Containers that their engine has forgotten.
//!
//! A dockerd that is killed after it has started a container's process, and before it has written
//! that down, takes the container, once it is there again, for one that never ran. When asked to,
//! it removes the container while the process runs on: known to containerd alone, at an address
//! that the engine gives to the next container, so that the port published for that one leads
//! here (Docker 20.10). The engine's API shows none of it. The program makes no mistake here; an
//! operator would end such a process, and so does the soak.

use std::fs;
use std::time::Duration;

use ganger_test_support::Fleet;
use rustix::process::{Pid, Signal, kill_process};

use crate::nap;

/// The beginning of an id that clients are told, in hexadecimal digits.
const DIGITS: usize = 12;
/// A container that is being removed has ended by then.
const REMOVED: Duration = Duration::from_secs(2);

/// Whether a container, given by the beginning of its id, still runs though no engine knows it.
/// Its processes are ended then.
pub(crate) fn end(fleet: &Fleet, id: &str) -> bool {
    // The id may be anything that a client read, and these processes are killed.
    if id.len() != DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let is_forgotten = || {
        let known = |host: &ganger_test_support::Host| {
            let answer = host.try_docker(&["inspect", "--type=container", id]);
            // An engine that does not answer may know it.
            answer.map_or_else(|why| !why.contains("No such container"), |_| true)
        };
        !processes(id).is_empty() && !fleet.all().iter().any(known)
    };
    if !is_forgotten() {
        return false;
    }
    nap(REMOVED);
    let forgotten = is_forgotten();
    if forgotten {
        for pid in processes(id) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    forgotten
}

/// The processes in a container.
fn processes(id: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inside = |pid: &i32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.split(['/', '-', '\n']).any(|part| part.starts_with(id))
    };
    pids.filter(inside).filter_map(Pid::from_raw).collect()
}
