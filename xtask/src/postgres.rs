//! A real PostgreSQL for the tests, from Debian's packages: unpacked, and not installed,
//! so that no server of the machine's own is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// Where its packages put each version of it.
const VERSIONS: &str = "usr/lib/postgresql";

/// Sees that there is one, on this machine or in `target/postgres/root`, where the tests
/// look for it.
pub(crate) fn ensure() -> Result<()> {
    let dir = command::root().join("target/postgres");
    if has_server(Path::new("/")) || has_server(&dir.join("root")) {
        return Ok(());
    }
    command::say("fetching Debian's packages of PostgreSQL for the tests");
    fetch(&dir).context("the tests of readiness need PostgreSQL, from Debian's packages")
}

fn has_server(root: &Path) -> bool {
    let versions = fs::read_dir(root.join(VERSIONS)).into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("bin/initdb").is_file())
}

fn fetch(dir: &Path) -> Result<()> {
    let archives = dir.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-q").args(args);
        apt.args(["-o", &format!("Dir::Cache::archives={}", archives.display())]);
        // Another user may not write here.
        command::run(apt.args(["-o", "APT::Sandbox::User=root"]))
    };
    apt(&["update"])?;
    // Dependencies that the machine has already are found there.
    apt(&["install", "-y", "--no-install-recommends", "--download-only", "postgresql"])?;
    let packages: Vec<PathBuf> = fs::read_dir(&archives)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    let root = dir.join("root");
    for package in &packages {
        command::run(Command::new("dpkg").arg("-x").arg(package).arg(&root))?;
    }
    fs::remove_dir_all(archives)?;
    if !has_server(&root) {
        bail!("the packages have no server under {VERSIONS}");
    }
    Ok(())
}
