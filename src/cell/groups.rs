//! The control groups of cells, in every hierarchy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, statfs};
use rustix::process::{Pid, Signal, kill_process};

/// The file systems of control groups, of both versions, by the numbers in `linux/magic.h`.
const CGROUP: FsWord = 0x0027_e0eb;
const CGROUP2: FsWord = 0x6367_7270;

/// The group of all cells of a run, in every hierarchy.
#[derive(Debug)]
pub(crate) struct Groups {
    parents: Vec<PathBuf>,
}

// === impl Groups ===

impl Groups {
    /// The group `name`, from the root of each hierarchy that is mounted now.
    ///
    /// # Errors
    /// The table of mounts cannot be read.
    pub(crate) fn find(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let parents = hierarchies(&mounts).map(|root| root.join(name.trim_start_matches('/')));
        Ok(Self { parents: parents.collect() })
    }

    /// Whether the kernel has killed a process of a cell for memory.
    pub(super) fn has_run_out_of_memory(&self, cell: &str) -> bool {
        // The first version's file, and the second's.
        let files = ["memory.oom_control", "memory.events"];
        let mut all =
            self.parents.iter().flat_map(|parent| files.map(|file| parent.join(cell).join(file)));
        all.any(|file| {
            let counters = fs::read_to_string(file).unwrap_or_default();
            let kills = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.and_then(|kills| kills.parse().ok()).is_some_and(|kills: u64| kills > 0)
        })
    }

    /// Kills all that is in the group of a cell, and removes it.
    ///
    /// # Errors
    /// A process is left in it, or the kernel has not noticed its end yet.
    pub(crate) fn remove(&self, cell: &str) -> io::Result<()> {
        let removed = self.parents.iter().map(|parent| clear(&parent.join(cell)));
        // Each of them, whatever became of the others.
        removed.fold(Ok(()), Result::and)
    }

    /// Kills and removes all that is below the group of all cells, and that group.
    ///
    /// # Errors
    /// As for [`Groups::remove`].
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        self.parents.iter().map(|parent| clear(parent)).fold(Ok(()), Result::and)
    }
}

/// Where hierarchies are mounted, by a table of mounts.
fn hierarchies(mounts: &str) -> impl Iterator<Item = PathBuf> {
    mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let kind = kind.split(' ').next()?;
        let mut place = place.split(' ');
        let (root, target) = (place.nth(3)?, place.next()?);
        (matches!(kind, "cgroup" | "cgroup2") && root == "/").then(|| PathBuf::from(target))
    })
}

/// Removes what a killed keeper has left of the groups whose names `is_left` accepts: the empty ones,
/// for one that is not is somebody's.
pub(crate) fn sweep(is_left: impl Fn(&str) -> bool) {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return };
    for root in hierarchies(&mounts) {
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(&is_left) {
                remove_empty(&entry.path());
            }
        }
    }
}

fn remove_empty(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // The kernel refuses where a process is, or another group.
    _ = fs::remove_dir(group);
}

/// Whether a directory is a control group, and not one that a runtime takes for such.
fn is_kernels(group: &Path) -> io::Result<bool> {
    let kind = statfs(group)?.f_type;
    Ok(kind == CGROUP || kind == CGROUP2)
}

/// Removes a group with all groups below it.
fn clear(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
        }
    }
    if !is_kernels(group)? {
        return fs::remove_dir_all(group);
    }
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            _ = kill_process(pid, Signal::KILL);
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_those_whose_root_is_mounted() {
        let mounts = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
33 30 0:28 /docker/x /var/lib/y rw - cgroup cgroup rw,memory
";
        let found: Vec<_> = hierarchies(mounts).collect();
        assert_eq!(
            found,
            [Path::new("/sys/fs/cgroup/unified"), Path::new("/sys/fs/cgroup/memory")]
        );
    }
}
