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
    /// The place of the group in the hierarchy of version 1 that freezes, if that is used.
    freezer: Option<PathBuf>,
    /// Where the kernel counts whom it has killed for memory: the place of the group, and the file.
    kills: Option<(PathBuf, &'static str)>,
}

// === impl Groups ===

impl Groups {
    /// The group `name`, from the root of each hierarchy that is mounted now.
    ///
    /// # Errors
    /// The table of mounts cannot be read.
    pub(crate) fn find(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let name = name.trim_start_matches('/');
        let parents = hierarchies(&mounts).map(|hierarchy| hierarchy.root.join(name)).collect();
        let freezer = hierarchies(&mounts).find(|hierarchy| hierarchy.has("freezer"));
        let freezer = freezer.map(|hierarchy| hierarchy.root.join(name));
        // A controller is in one hierarchy: in one of its own, or else in that of version 2.
        let by_memory = hierarchies(&mounts).filter_map(|hierarchy| hierarchy.kills());
        let kills = by_memory.min_by_key(|(_, file)| *file != FIRST_VERSIONS);
        let kills = kills.map(|(root, file)| (root.join(name), file));
        Ok(Self { parents, freezer, kills })
    }

    /// Lets the processes of a cell run again if somebody has frozen them.
    pub(super) fn thaw(&self, cell: &str) {
        if let Some(freezer) = &self.freezer {
            thaw(&freezer.join(cell));
        }
    }

    /// Whether the kernel has killed a process of a cell for memory.
    pub(super) fn has_run_out_of_memory(&self, cell: &str) -> bool {
        let Some((parent, file)) = &self.kills else { return false };
        let counters = fs::read_to_string(parent.join(cell).join(file)).unwrap_or_default();
        let kills = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.parse().ok()).is_some_and(|kills: u64| kills > 0)
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

/// The file that moves processes into the control group that this one is in.
pub(super) fn own_processes() -> Option<PathBuf> {
    let (mounts, own) =
        ["mountinfo", "cgroup"].map(|file| fs::read_to_string(format!("/proc/self/{file}"))).into();
    let (mounts, own) = (mounts.ok()?, own.ok()?);
    let mut all = own.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_its = |hierarchy: &Hierarchy<'_>| match hierarchy.kind {
            "cgroup2" => controllers.is_empty(),
            _ => !controllers.is_empty() && hierarchy.controllers.ends_with(controllers),
        };
        let root = hierarchies(&mounts).find(is_its)?.root;
        Some(root.join(path.trim_start_matches('/')).join("cgroup.procs"))
    });
    all.find(|file| file.exists())
}

/// A hierarchy of control groups.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy<'m> {
    root: &'m Path,
    kind: &'m str,
    controllers: &'m str,
}

/// The file in which version 1 counts whom the kernel has killed for memory.
const FIRST_VERSIONS: &str = "memory.oom_control";

// === impl Hierarchy ===

impl<'m> Hierarchy<'m> {
    /// Where, and in which file, kills for memory are counted, if they may be.
    fn kills(&self) -> Option<(&'m Path, &'static str)> {
        match self.kind {
            "cgroup2" => Some((self.root, "memory.events")),
            _ => self.has("memory").then_some((self.root, FIRST_VERSIONS)),
        }
    }

    /// Whether it is of version 1 and has a controller.
    fn has(&self, controller: &str) -> bool {
        self.kind == "cgroup" && self.controllers.split(',').any(|one| one == controller)
    }
}

/// The hierarchies that are mounted whole, by a table of mounts.
fn hierarchies(mounts: &str) -> impl Iterator<Item = Hierarchy<'_>> {
    mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let (mut place, mut kind) = (place.split(' '), kind.split(' '));
        let (from, root) = (place.nth(3)?, Path::new(place.next()?));
        let (kind, controllers) = (kind.next()?, kind.nth(1)?);
        let is_whole = matches!(kind, "cgroup" | "cgroup2") && from == "/";
        is_whole.then_some(Hierarchy { root, kind, controllers })
    })
}

/// Removes the empty ones among the groups whose names `is_left` accepts, which killed keepers have
/// left. A group with processes in it is in use.
pub(crate) fn sweep(is_left: impl Fn(&str) -> bool) {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return };
    for Hierarchy { root, .. } in hierarchies(&mounts) {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
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

/// Lets the processes of a group run again if somebody has frozen them: by version 1 those that were
/// killed do not end before.
fn thaw(group: &Path) {
    // A group that has no such file is not frozen.
    _ = fs::write(group.join("freezer.state"), "THAWED");
}

/// Removes a group with all groups below it.
fn clear(group: &Path) -> io::Result<()> {
    // As a rule nothing is in it.
    match fs::remove_dir(group) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // What is left of it keeps this one from being removed, which is told.
            _ = clear(&entry.path());
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
    thaw(group);
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
        let found: Vec<_> = hierarchies(mounts).map(|hierarchy| hierarchy.root).collect();
        let [unified, memory] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"].map(Path::new);
        assert_eq!(found, [unified, memory]);
        let kills: Vec<_> = hierarchies(mounts).filter_map(|one| one.kills()).collect();
        assert_eq!(kills, [(unified, "memory.events"), (memory, FIRST_VERSIONS)]);
    }
}
