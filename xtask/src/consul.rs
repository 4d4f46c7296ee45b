//! A real Consul for the tests, from a Debian package: Debian 12 has none, so
//! the one of Debian 11 is unpacked, and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The suite that has the package, and whose key signs it.
const SOURCE: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                      http://deb.debian.org/debian bullseye main\n";

/// Where `consul` is, after it was fetched if there was none.
pub(crate) fn ensure() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        std::env::split_paths(&path).map(|dir| dir.join("consul")).find(|p| p.is_file())
    {
        return Ok(found);
    }
    let dir = command::root().join("target/consul");
    let program = dir.join("root/usr/bin/consul");
    if !program.is_file() {
        command::say("fetching the package consul of Debian 11 for the tests");
        fetch(&dir).context("the tests of discovery need consul, in PATH or from Debian 11")?;
    }
    Ok(program)
}

fn fetch(dir: &Path) -> Result<()> {
    let lists = dir.join("lists");
    fs::create_dir_all(lists.join("partial"))?;
    let sources = dir.join("sources.list");
    fs::write(&sources, SOURCE)?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(dir).arg("-q");
        for option in [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", lists.display()),
            // Who else may not write here.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        command::run(apt.args(args))
    };
    apt(&["update"])?;
    apt(&["download", "consul"])?;
    let package = fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
    let Some(package) = package else { bail!("no package was downloaded") };
    command::run(Command::new("dpkg").arg("-x").arg(&package).arg(dir.join("root")))?;
    fs::remove_file(package)?;
    Ok(fs::remove_dir_all(lists)?)
}
