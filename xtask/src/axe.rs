//! axe-core, which looks at the status page for those who do not see it or have no mouse: a package of
//! npm, for the tests alone.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, packages};

/// A fixed version: its rules change with its versions.
const PACKAGE: &str = "axe-core@4.14.1";

/// Sees that it is in `target/axe`, where the tests look for it.
pub(crate) fn ensure() -> Result<()> {
    let dir = command::root().join("target/axe");
    if dir.join("node_modules/axe-core/axe.min.js").is_file() {
        return Ok(());
    }
    packages::ensure_npm()?;
    command::say("fetching axe-core for the tests of the status page");
    let mut npm = Command::new("npm");
    npm.arg("install").arg("--prefix").arg(&dir);
    npm.args(["--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]);
    command::run(&mut npm).context("the tests of the status page need axe-core, from npm")
}
