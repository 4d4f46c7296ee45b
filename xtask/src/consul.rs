//! A real Consul for the tests, from a Debian package: Debian 12 has none, so
//! the one of Debian 11 is unpacked, and not installed.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::suite::{self, Extent};

/// The suite that has the package.
const SUITE: &str = "bullseye";

/// Where `consul` is, after it was fetched if there was none.
pub(crate) fn ensure() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        std::env::split_paths(&path).map(|dir| dir.join("consul")).find(|p| p.is_file())
    {
        return Ok(found);
    }
    let unpacked = suite::directory("consul", SUITE, &["consul"], Extent::Alone, |_| Ok(()));
    let dir = unpacked.context("the tests of discovery need consul, in PATH or from Debian 11")?;
    Ok(dir.join("root/usr/bin/consul"))
}
