//! Schemathesis, which asks an API for what its description allows and forbids: from PyPI, in an
//! environment of its own below target/, where the tests look for it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// A fixed version: others find other mistakes.
const PACKAGE: &str = "schemathesis==4.32.5";

/// Sees that it is there. A failed fetch is told, and the test that needs it fails.
pub(crate) fn ensure() {
    let dir = command::root().join("target/schemathesis");
    if dir.join("bin/schemathesis").is_file() {
        return;
    }
    command::say(&format!("fetching {PACKAGE} from PyPI, to {}", dir.display()));
    if let Err(error) = fetch(&dir) {
        command::say(&format!("the test of the OpenAPI description will fail: {error:#}"));
    }
}

fn fetch(dir: &Path) -> Result<()> {
    // An environment that was begun and not ended is made anew.
    command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir)).context(
        "Python cannot make an environment; on Debian it needs the package python3-venv",
    )?;
    let mut pip = Command::new(dir.join("bin/pip"));
    command::run(pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]))
        .context("pip cannot install it")
}
