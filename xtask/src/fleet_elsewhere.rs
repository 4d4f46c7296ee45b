//! Stands in for a fleet on a machine that is not Linux: says why there is none.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The kind of engine that no host runs here.
pub(crate) type Kind = String;

/// Never held.
#[derive(Debug)]
pub(crate) enum Fleet {}

/// As on Linux.
#[expect(dead_code, reason = "nothing is set up here")]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settings {
    pub(crate) live_restore: bool,
    pub(crate) userland_proxy: bool,
}

/// Where a fleet would live.
#[derive(Debug)]
pub(crate) struct Site;

// === impl Fleet ===

impl Fleet {
    pub(crate) fn lock(_: Site) -> Result<Self> {
        bail!("a fleet needs Linux, and root: network namespaces, mounts, dockerd")
    }

    pub(crate) fn record(&self) -> PathBuf {
        match *self {}
    }

    pub(crate) fn up(&self, _: u8, _: &[(u8, Kind)], _: &[u32], _: Settings) -> Result<()> {
        match *self {}
    }

    pub(crate) fn down(&self) -> Result<()> {
        match *self {}
    }
}

// === impl Site ===

impl Site {
    pub(crate) fn tests() -> Result<Self> {
        Ok(Self)
    }

    pub(crate) fn demo() -> Self {
        Self
    }

    pub(crate) fn root_socket(&self) -> PathBuf {
        "/var/run/docker.sock".into()
    }
}

pub(crate) fn status(_: &Site, _: bool) -> Result<()> {
    Fleet::lock(Site).map(drop)
}

/// As on Linux.
#[expect(dead_code, reason = "nobody is asked here")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Answers,
    Listens,
    Nobody,
}

/// Whether there is one: it will say for itself when it does not answer.
pub(crate) fn presence(socket: &Path) -> Presence {
    if socket.exists() { Presence::Answers } else { Presence::Nobody }
}

pub(crate) fn install_engine() -> Result<bool> {
    Ok(false)
}

/// As on Linux, and not looked at.
pub(crate) fn assignment(text: &str) -> Result<(u8, Kind)> {
    Ok((0, text.to_owned()))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
