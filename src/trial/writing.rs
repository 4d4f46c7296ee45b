//! Where a program writes, and what of it can be in memory while the rest is read-only.

use std::collections::BTreeSet;

use crate::docker::Written;

/// Directories for scratch, whatever is in them.
const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];
/// Where programs of Debian and others keep what changes: a directory of the image's that is
/// written to here is expected to be made anew.
const STATE: [&str; 5] = ["/run", "/var/run", "/var/log", "/var/cache", "/var/lib"];
/// Directories in which each program has one of its own.
const SHARED: [&str; 3] = ["/var", "/var/cache", "/var/lib"];

/// Directories of programs and settings, which no file system in memory can replace.
const FIXED: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

/// The places that a container writes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Writing {
    /// Directories that can be file systems in memory.
    pub(super) tmpfs: BTreeSet<String>,
    /// Written paths whose directory cannot be a file system in memory.
    pub(super) fixed: BTreeSet<String>,
}

/// Sorts what a container has written.
pub(super) fn writing(written: &[Written]) -> Writing {
    let is_directory = |path: &str| {
        let below = format!("{path}/");
        written.iter().any(|other| other.path.starts_with(&below))
    };
    let mut found = Writing::default();
    for Written { path, kind } in written {
        if is_directory(path) {
            continue;
        }
        let below = |top: &&&str| path == **top || path.starts_with(&format!("{top}/"));
        let place = match (SCRATCH.iter().find(below), STATE.iter().find(below)) {
            (Some(top), _) => Some((*top).to_owned()),
            // A directory whose new files are gone again.
            (None, Some(_)) if *kind == 0 => directory_of(&format!("{path}/x")),
            (None, Some(_)) => directory_of(path).map(|parent| in_image(&parent, written)),
            (None, None) => None,
        };
        // A shared directory belongs to others, too.
        match place.filter(|place| !SHARED.contains(&place.as_str())) {
            Some(place) => _ = found.tmpfs.insert(place),
            None => _ = found.fixed.insert(path.escape_debug().to_string()),
        }
    }
    let all = found.tmpfs.clone();
    let above = |path: &String| {
        all.iter().any(|other| path != other && path.starts_with(&format!("{other}/")))
    };
    found.tmpfs.retain(|path| !above(path));
    found
}

/// The directory of a path, if a file system in memory may stand in its place.
pub(super) fn directory_of(path: &str) -> Option<String> {
    let (parent, _) = path.rsplit_once('/')?;
    // An image is not trusted: its paths become part of a file, and of what people read.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !parent.chars().all(plain) {
        return None;
    }
    let is_fixed = |top: &str| parent == top || parent.starts_with(&format!("{top}/"));
    (!parent.is_empty() && !FIXED.iter().any(|top| is_fixed(top))).then(|| parent.to_owned())
}

/// The nearest directory, from this one upwards, that the image has: a file system in memory needs
/// an existing mount point.
fn in_image(directory: &str, written: &[Written]) -> String {
    let is_new = |path: &str| written.iter().any(|one| one.path == path && one.kind == 1);
    let mut path = directory;
    while is_new(path) {
        path = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_memory_where_the_image_has_nothing_of_its_own() {
        let paths = [
            ("/run", 0),
            ("/run/nginx.pid", 1),
            ("/var", 0),
            ("/var/lib", 0),
            ("/var/lib/nginx", 0),
            ("/var/lib/nginx/body", 1),
            ("/var/lib/nginx/proxy", 1),
            ("/tmp", 0),
            ("/tmp/a", 1),
            ("/tmp/a/b", 1),
            ("/var/cache", 0),
            ("/var/cache/new", 1),
            ("/var/log/app", 0),
            ("/etc", 0),
            ("/etc/mailname", 1),
            ("/var/lib/${X}", 0),
            ("/var/lib/${X}/y", 1),
        ];
        let written: Vec<_> =
            paths.iter().map(|&(path, kind)| Written { path: path.into(), kind }).collect();
        let found = writing(&written);
        let tmpfs: Vec<_> = found.tmpfs.iter().map(String::as_str).collect();
        assert_eq!(tmpfs, ["/run", "/tmp", "/var/lib/nginx", "/var/log/app"]);
        let fixed: Vec<_> = found.fixed.iter().map(String::as_str).collect();
        assert_eq!(fixed, ["/etc/mailname", "/var/cache/new", "/var/lib/${X}/y"]);
    }
}
