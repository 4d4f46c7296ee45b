//! `cargo xtask deb`: a Debian package, made by cargo-deb of what Cargo.toml says.
//!
//! The unit, the manual, completions and the changelog are not files of the repository: the program
//! that is packed prints them. They are written to target/deb, where Cargo.toml has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo, root};

/// The version of cargo-deb, so that the same package is made everywhere.
const CARGO_DEB: &str = "3.8.0";
/// Where a package has the program.
const PROGRAM: &str = "/usr/bin/ganger";
/// A shell, and what its completions are called in a package.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "ganger"), ("zsh", "_ganger"), ("fish", "ganger.fish")];

/// Makes the package, says what is in it, and returns where it is.
pub(crate) fn run(maintainer: Option<&str>) -> Result<PathBuf> {
    let packer = cargo_deb()?;
    command::run(&mut cargo(&["build", "--release", "--locked", "--package", "ganger"]))?;
    let epoch = epoch()?;
    generate(&root().join("target/deb"), &epoch, maintainer)?;
    let mut pack = Command::new(packer);
    pack.args(["--no-build", "--locked", "--package", "ganger"]).current_dir(root());
    // Times in it are the commit's: the same commit gives the same package.
    pack.env("SOURCE_DATE_EPOCH", &epoch);
    pack.args(maintainer.iter().flat_map(|name| ["--maintainer", name]));
    let said = command::output_of(pack)?;
    let Some(package) = said.lines().map(str::trim).find(|line| line.ends_with(".deb")) else {
        bail!("cargo-deb does not say where the package is: {said}");
    };
    command::say(&command::output("dpkg-deb", &["--info", package])?);
    command::say(&command::output("dpkg-deb", &["--contents", package])?);
    command::say(package);
    Ok(std::path::absolute(package)?)
}

/// cargo-deb, which is installed below target/ where it is not there.
fn cargo_deb() -> Result<PathBuf> {
    let tools = command::target().join("tools");
    let packer = tools.join("bin/cargo-deb");
    let said = Command::new(&packer).arg("--version").output();
    if said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(CARGO_DEB)) {
        return Ok(packer);
    }
    let install = ["install", "cargo-deb", "--locked", "--version", CARGO_DEB, "--root"];
    command::run(cargo(&install).arg(tools))?;
    Ok(packer)
}

/// The time of all in the package, in seconds since 1970: SOURCE_DATE_EPOCH or the commit's.
fn epoch() -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(root());
    let epoch = command::output_of(git).context(
        "where there is no git checkout, SOURCE_DATE_EPOCH says the time of the package",
    )?;
    Ok(epoch.trim().to_owned())
}

/// Writes what the program prints for a package.
fn generate(dir: &Path, epoch: &str, maintainer: Option<&str>) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    for part in ["systemd", "completions"] {
        fs::create_dir_all(dir.join(part))?;
    }
    let print = |args: &[&str], to: PathBuf| -> Result<()> {
        let mut ganger = command::ganger();
        ganger.arg("generate").args(args);
        let text = command::output_of(ganger)?;
        fs::write(&to, text).with_context(|| to.display().to_string())
    };
    print(&["systemd", "--program", PROGRAM], dir.join("systemd/ganger.service"))?;
    for (shell, name) in COMPLETIONS {
        print(&["completions", shell], dir.join("completions").join(name))?;
    }
    let mut manual = command::ganger();
    manual.args(["generate", "man", "--dir"]).arg(dir.join("man"));
    command::output_of(manual)?;
    let date = command::output("date", &["--utc", "--rfc-email", "--date", &format!("@{epoch}")])?;
    let metadata = metadata()?;
    let maintainer = maintainer.unwrap_or(&metadata.maintainer);
    let changelog = changelog(&metadata.version, maintainer, date.trim());
    fs::write(dir.join("changelog"), changelog).context("target/deb/changelog")
}

/// The package's fields in Cargo.toml.
struct Metadata {
    version: String,
    maintainer: String,
}

fn metadata() -> Result<Metadata> {
    let metadata = command::output_of(cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let ganger = packages.iter().find(|package| package["name"] == "ganger");
    let ganger = ganger.context("cargo metadata has no package ganger")?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Ok(Metadata {
        version: text(&ganger["version"]).context("ganger has no version")?,
        maintainer: text(&ganger["metadata"]["deb"]["maintainer"]).context("no maintainer")?,
    })
}

/// The changelog of the package, in Debian's form. That of the program is CHANGELOG.md.
fn changelog(version: &str, maintainer: &str, date: &str) -> String {
    format!(
        "ganger ({version}-1) unstable; urgency=medium\n\n  \
         * Package of Ganger {version}, whose changes CHANGELOG.md says.\n\n \
         -- {maintainer}  {date}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changelog_is_as_debian_has_it() {
        let text = changelog("1.2.3", "A B <a@b>", "Thu, 01 Jan 1970 00:00:00 +0000");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ganger (1.2.3-1) unstable; urgency=medium");
        assert!(lines[2].starts_with("  * "), "{text}");
        assert_eq!(lines[4], " -- A B <a@b>  Thu, 01 Jan 1970 00:00:00 +0000");
    }
}
