//! Which program runs cells.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first version of crun that is known to keep cells in as an engine's runtime does.
const CRUN: (u32, u32) = (1, 8);
/// Where programs of root are, which may not be in a user's path.
const PLACES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The runtime of cells: crun where there is one that is new enough, because it takes a quarter of the
/// time, else runc. Starts a program and waits for it.
pub(crate) fn runtime() -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let places: Vec<_> = env::split_paths(&path).chain(env::split_paths(PLACES)).collect();
    let find = |name: &str| {
        places
            .iter()
            .map(|place| place.join(name))
            .find(|file| file.is_absolute() && file.is_file())
    };
    let crun = find("crun").filter(|crun| version(crun).is_some_and(|version| version >= CRUN));
    crun.or_else(|| find("runc"))
}

fn version(crun: &Path) -> Option<(u32, u32)> {
    let said = Command::new(crun).arg("--version").stdin(Stdio::null()).output().ok()?;
    read_version(&String::from_utf8_lossy(&said.stdout))
}

fn read_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.lines().next()?.strip_prefix("crun version ")?.split(['.', '-', '+']);
    Some((numbers.next()?.trim().parse().ok()?, numbers.next()?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_crun_says_it() {
        for (said, version) in [
            ("crun version 1.8.1\ncommit: f8a096be\n", Some((1, 8))),
            ("crun version 1.21\n", Some((1, 21))),
            ("crun version 0.17+dfsg\n", Some((0, 17))),
            ("crun version UNKNOWN\n", None),
            ("runc version 1.1.5\n", None),
        ] {
            assert_eq!(read_version(said), version, "{said}");
        }
        assert!(read_version("crun version 1.8").is_some_and(|version| version >= CRUN));
        assert!(read_version("crun version 0.17").is_some_and(|version| version < CRUN));
    }
}
