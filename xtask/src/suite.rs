//! Packages of another Debian suite than the machine's: unpacked below target/, never
//! installed, with an apt state of their own, so that the machine's stays as it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The keys that sign every suite.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Written last, and says for which place the rest was made.
const MADE: &str = "made-for";

/// The extent of what is unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// The packages alone: their programs run with the machine's libraries.
    Alone,
    /// All that they depend on too, the C library included.
    WithDependencies,
}

/// The directory `target/suites/NAME`, which is made once: packages of a suite are unpacked to
/// `root` in it, then `finish` makes of them what is needed.
pub(crate) fn directory(
    name: &str,
    suite: &str,
    packages: &[&str],
    extent: Extent,
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let suites = command::target().join("suites");
    // The files may hold their own place in absolute paths.
    let dir = std::path::absolute(suites.join(name))?;
    if is_made(&dir, packages) {
        return Ok(dir);
    }
    fs::create_dir_all(&suites)?;
    let lock = File::create(suites.join(format!("{name}.lock")))?;
    lock.lock().context("lock on what is unpacked")?;
    if is_made(&dir, packages) {
        return Ok(dir);
    }
    command::say(&format!(
        "fetching {} of Debian {suite}, to {}",
        packages.join(" "),
        dir.display()
    ));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    unpack(&dir, suite, packages, extent)
        .and_then(|()| finish(&dir))
        .with_context(|| format!("packages of Debian {suite}: {}", packages.join(" ")))?;
    fs::write(dir.join(MADE), mark(&dir, packages))?;
    Ok(dir)
}

/// Whether the directory is whole, of these packages, and not moved or copied since.
fn is_made(dir: &Path, packages: &[&str]) -> bool {
    fs::read_to_string(dir.join(MADE)).is_ok_and(|made| made == mark(dir, packages))
}

fn mark(dir: &Path, packages: &[&str]) -> String {
    format!("{}: {}", dir.display(), packages.join(" "))
}

fn unpack(dir: &Path, suite: &str, packages: &[&str], extent: Extent) -> Result<()> {
    let apt = dir.join("apt");
    for part in ["lists/partial", "cache/archives/partial", "preferences.d"] {
        fs::create_dir_all(apt.join(part))?;
    }
    fs::write(apt.join("sources.list"), source(suite, &archive()?))?;
    // Nothing is installed, as far as this apt knows.
    fs::write(apt.join("status"), "")?;
    run_apt(&apt, &["update"])?;
    let archives = apt.join("cache/archives");
    match extent {
        Extent::Alone => {
            run_apt(&apt, &[&["download"], packages].concat())?;
        }
        Extent::WithDependencies => {
            let install = ["install", "--download-only", "--yes", "--no-install-recommends"];
            run_apt(&apt, &[&install, packages].concat())?;
        }
    }
    let mut found = 0;
    for entry in fs::read_dir(&archives)? {
        let package = entry?.path();
        if package.extension().is_some_and(|end| end == "deb") {
            command::output(
                "dpkg",
                &["-x", &package.to_string_lossy(), &dir.join("root").to_string_lossy()],
            )?;
            found += 1;
        }
    }
    if found == 0 {
        bail!("no package was downloaded");
    }
    Ok(fs::remove_dir_all(apt)?)
}

fn run_apt(apt: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    // `download` puts packages where it runs.
    command.current_dir(apt.join("cache/archives")).arg("-qq");
    command.args(args);
    for option in options(apt) {
        command.args(["-o", &option]);
    }
    command::output_of(command).map(drop)
}

/// Options that make an apt leave the machine's own alone.
fn options(apt: &Path) -> Vec<String> {
    let path = |name: &str| apt.join(name).display().to_string();
    vec![
        format!("Dir::Etc::sourcelist={}", path("sources.list")),
        "Dir::Etc::sourceparts=-".into(),
        "Dir::Etc::preferences=/dev/null".into(),
        format!("Dir::Etc::preferencesparts={}", path("preferences.d")),
        format!("Dir::State::lists={}", path("lists")),
        format!("Dir::State::status={}", path("status")),
        format!("Dir::Cache={}", path("cache")),
        "Acquire::Languages=none".into(),
        // Apt's own user may not write here.
        "APT::Sandbox::User=root".into(),
    ]
}

fn source(suite: &str, archive: &str) -> String {
    format!("deb [signed-by={KEYRING}] {archive} {suite} main\n")
}

/// The archive that the machine's own apt fetches Debian from.
pub(crate) fn archive() -> Result<String> {
    let format = "$(REPO_URI) $(ORIGIN)";
    let targets = ["indextargets", "--format", format, "Identifier: Packages"];
    let named = || -> Result<Option<String>> {
        let targets = command::output("apt-get", &targets)?;
        Ok(archive_in(&targets).map(str::to_owned))
    };
    if let Some(archive) = named()? {
        return Ok(archive);
    }
    // An archive's lists tell its origin, and the machine may not have them.
    command::output("apt-get", &["update", "-qq"])?;
    named()?.context("the machine's apt names no archive of Debian's in its sources")
}

/// The first archive of Debian's that has suites for everybody, and not security fixes alone.
fn archive_in(targets: &str) -> Option<&str> {
    let mut archives = targets.lines().filter_map(|line| line.strip_suffix(" Debian"));
    archives.find(|archive| !archive.contains("security"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_own_archive_is_used() {
        let targets = "https://repo.example/x/ Example\n\
                       http://mirror.example/debian-security/ Debian\n\
                       http://mirror.example/debian/ Debian\n";
        assert_eq!(archive_in(targets), Some("http://mirror.example/debian/"));
        assert_eq!(archive_in("https://repo.example/x/ Example\n"), None);
        let line = source("trixie", "http://mirror.example/debian/");
        assert!(line.ends_with(" http://mirror.example/debian/ trixie main\n"), "{line}");
    }

    #[test]
    fn apt_writes_nothing_of_the_machine_s() {
        let apt = Path::new("/repository/target/suites/x/apt");
        let none = ["=-", "=/dev/null"];
        let kept = |option: &&String| {
            option.starts_with("Dir::") && !none.iter().any(|none| option.ends_with(none))
        };
        let options = options(apt);
        let paths: Vec<_> = options.iter().filter(kept).collect();
        assert_eq!(paths.len(), 5);
        for option in paths {
            let (_, path) = option.split_once('=').unwrap();
            assert!(Path::new(path).starts_with(apt), "{option}");
        }
    }

    #[test]
    fn what_was_copied_elsewhere_is_made_anew() {
        let dir = std::env::temp_dir().join(format!("ganger-suite-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert!(!is_made(&dir, &["one"]));
        fs::write(dir.join(MADE), mark(&dir, &["one"])).unwrap();
        assert!(is_made(&dir, &["one"]));
        assert!(!is_made(&dir, &["one", "two"]));
        fs::write(dir.join(MADE), "/elsewhere").unwrap();
        assert!(!is_made(&dir, &["one"]));
        fs::remove_dir_all(&dir).unwrap();
    }
}
