//! Whether the kernel has killed a process of a control group for memory.
//!
//! See "memory.oom_control" of control groups version 1 and "memory.events" of
//! version 2 in the kernel's administration guide: both have a line `oom_kill N`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The file with the counter of a process's control group, from its
/// /proc/PID/cgroup: `HIERARCHY:CONTROLLERS:PATH`, version 2 with none.
pub(super) fn counter(groups: &str) -> Option<PathBuf> {
    let mut unified = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|controller| controller == "memory") {
            return Some(Path::new(ROOT).join("memory").join(path).join("memory.oom_control"));
        }
        if controllers.is_empty() {
            unified = Some(Path::new(ROOT).join(path).join("memory.events"));
        }
    }
    unified
}

/// The most bytes of such a file that are looked at: it has about 150.
const BYTES: usize = 1024;

/// Such a file.
#[derive(Debug)]
pub(super) struct KillCounter {
    path: PathBuf,
    /// None where it could not be kept open.
    file: Option<File>,
}

// === impl KillCounter ===

impl KillCounter {
    pub(super) fn open(path: PathBuf) -> Self {
        Self { file: File::open(&path).ok(), path }
    }

    /// Whether it is above zero. An unreadable one is not.
    pub(super) fn has_killed(&self) -> bool {
        let read = |file: &File| {
            let mut text = [0; BYTES];
            let read = file.read_at(&mut text, 0).unwrap_or(0);
            str::from_utf8(&text[..read]).is_ok_and(|text| kills(text) > 0)
        };
        match &self.file {
            Some(file) => read(file),
            None => File::open(&self.path).is_ok_and(|file| read(&file)),
        }
    }
}

fn kills(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_counter_of_either_version() {
        let first = "9:name=systemd:/x\n4:cpu,memory:/docker/0123\n0::/docker/0123\n";
        let path = "/sys/fs/cgroup/memory/docker/0123/memory.oom_control";
        assert_eq!(counter(first), Some(path.into()));
        let second = "0::/system.slice/docker-0123.scope\n";
        let path = "/sys/fs/cgroup/system.slice/docker-0123.scope/memory.events";
        assert_eq!(counter(second), Some(path.into()));
        assert_eq!(counter("3:pids:/docker/0123\n"), None);
    }

    #[test]
    fn reads_the_counter() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), 2);
        assert_eq!(kills("low 0\noom 1\noom_kill 0\noom_group_kill 0\n"), 0);
        assert_eq!(kills(""), 0);
    }
}
