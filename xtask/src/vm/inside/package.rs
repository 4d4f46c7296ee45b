//! The Debian package, installed where systemd and an engine run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::unit::{PORT, echo, systemctl};
use super::{Check, containers, said, wait_until};
use crate::vm::plan::Plan;

/// The checks of the package.
pub(super) const CHECKS: &[Check] =
    &[("installs_starts_reloads_upgrades_stops_and_purges_clean", from_install_to_purge)];

const NAME: &str = "ganger.service";
const CONFIG: &str = "/etc/ganger/ganger.ron";
/// Directories of an administrator's files and of Ganger's: gone with a purge.
const DIRECTORIES: [&str; 2] = ["/etc/ganger", "/var/log/ganger"];

fn from_install_to_purge(plan: &Plan) -> Result<()> {
    let result = walk(plan);
    if result.is_err() {
        // The next case is to find the machine as it was.
        let _ = said("dpkg", &["--purge", "ganger"]);
    }
    result
}

fn walk(plan: &Plan) -> Result<()> {
    let package = plan.package.as_ref().context("the package is not on the disk")?;
    let package = package.to_string_lossy();
    let before = containers()?;
    ensure!(before.is_empty(), "{before:?} were there before");

    said("dpkg", &["--install", &package])?;
    ensure!(is_active()?, "it does not run after the installation");
    let enabled = systemctl(&["is-enabled", NAME])?;
    ensure!(enabled == "enabled", "it is {enabled}");
    echo(PORT)?;
    let status = said("ganger", &["status"])?;
    ensure!(status.contains("echo"), "its status is {status}");
    let version = said("ganger", &["--version"])?;
    let packaged = said("dpkg-query", &["--show", "--showformat", "${Version}", "ganger"])?;
    let upstream = packaged.split('-').next().unwrap_or_default();
    ensure!(version.starts_with(&format!("ganger {upstream}")), "{version} is in {packaged}");
    let files = said("dpkg", &["--listfiles", "ganger"])?;
    let files: Vec<_> = files.lines().filter(|file| Path::new(file).is_file()).collect();
    for part in ["man1/ganger.1", "completions/ganger", "ganger.service"] {
        ensure!(files.iter().any(|file| file.contains(part)), "{part} is not among {files:?}");
    }

    let pid = main_pid()?;
    let changed = fs::read_to_string(CONFIG)?.replace("127.0.0.1:5454", "127.0.0.1:5464");
    fs::write(CONFIG, &changed)?;
    systemctl(&["reload", NAME])?;
    wait_until("clients are served at the changed address", || echo(5464).is_ok())?;
    ensure!(main_pid()? == pid, "a reload has made another process");

    // The upgrade keeps the file as its owner has changed it, and asks nobody.
    said("dpkg", &["--install", &package])?;
    ensure!(is_active()?, "it does not run after the upgrade");
    ensure!(main_pid()? != pid, "the process before the upgrade runs on");
    ensure!(fs::read_to_string(CONFIG)? == changed, "the upgrade has changed the configuration");
    echo(5464)?;

    systemctl(&["stop", NAME])?;
    let left = containers()?;
    ensure!(left.is_empty(), "{left:?} are left by a stop");
    systemctl(&["start", NAME])?;
    echo(5464)?;

    said("dpkg", &["--purge", "ganger"])?;
    ensure!(!is_active()?, "it runs after the purge");
    let left = containers()?;
    ensure!(left.is_empty(), "{left:?} are left by a purge");
    let left = files.into_iter().chain(DIRECTORIES).filter(|file| Path::new(file).exists());
    let left: Vec<_> = left.collect();
    ensure!(left.is_empty(), "{left:?} are left by a purge");
    Ok(())
}

fn is_active() -> Result<bool> {
    Ok(systemctl(&["show", "--value", "--property=ActiveState", NAME])? == "active")
}

fn main_pid() -> Result<String> {
    systemctl(&["show", "--value", "--property=MainPID", NAME])
}
