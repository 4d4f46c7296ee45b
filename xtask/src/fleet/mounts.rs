//! Mounts that an engine leaves behind when it is killed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

/// Unmounts everything below a directory, the innermost first.
pub(crate) fn remove_below(dir: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    for point in points(&table).into_iter().rev().filter(|point| point.starts_with(dir)) {
        // Lazily, for a process outside of our control may look at it.
        unmount(&point, UnmountFlags::DETACH)
            .with_context(|| format!("unmount {}", point.display()))?;
    }
    Ok(())
}

/// Whether a table has a tmpfs that bears a host's directory as its name.
pub(super) fn are_of(table: &str, host: &Path) -> bool {
    table.lines().any(|line| {
        let source = line.split_once(" - tmpfs ").and_then(|(_, rest)| rest.split(' ').next());
        source.is_some_and(|source| Path::new(&source.replace("\\040", " ")) == host)
    })
}

/// The mount points of a table, in the order in which they were mounted.
fn points(table: &str) -> Vec<PathBuf> {
    let field = table.lines().filter_map(|line| line.split(' ').nth(4));
    // Of mountinfo's escapes only a space can be in a path of ours.
    field.map(|point| point.replace("\\040", " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_the_fifth_field() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                     40 22 0:4 net:[1] /run/a\\040b/exec/netns/c rw - nsfs nsfs rw\n";
        assert_eq!(points(table), [Path::new("/"), Path::new("/run/a b/exec/netns/c")]);
    }

    #[test]
    fn a_namespace_of_mounts_belongs_to_the_host_that_they_name() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                     41 22 0:50 / /run/crun rw,relatime - tmpfs /run/fleet/host-4 rw\n";
        assert!(are_of(table, Path::new("/run/fleet/host-4")));
        assert!(!are_of(table, Path::new("/run/fleet/host-40")));
        assert!(!are_of(table, Path::new("/run/fleet")));
    }
}
