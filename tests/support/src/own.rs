//! A fleet of a test's own, beside the one that all tests share: for what is done to whole
//! fleets.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet::{Host, read};
use crate::hang::UnderWay;

/// A fleet that is taken down when this is dropped.
#[derive(Debug)]
pub struct OwnFleet {
    number: u8,
    dir: PathBuf,
    hosts: Vec<Host>,
    /// A name that only one process can have: two tests never take the same number.
    _taken: UnixListener,
    _test: UnderWay,
}

// === impl OwnFleet ===

impl OwnFleet {
    /// Starts one, as `cargo xtask fleet up` with these arguments does.
    ///
    /// # Panics
    /// When it does not start, or every number is taken.
    #[must_use]
    pub fn up(args: &[&str]) -> Self {
        let (number, taken) = (1..10).rev().find_map(take).expect("a number for a fleet");
        let dir = directory(number);
        let mut own =
            Self { number, dir, hosts: Vec::new(), _taken: taken, _test: UnderWay::begin() };
        own.up_again(args);
        own.hosts = read(&own.dir.join("fleet.json")).hosts;
        own
    }

    /// Starts what does not run of it.
    ///
    /// # Panics
    /// When that fails.
    pub fn up_again(&self, args: &[&str]) {
        self.xtask(&[&["up"], args].concat()).unwrap_or_else(|said| panic!("fleet up: {said}"));
    }

    /// Its hosts, host 0 first.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes it down.
    ///
    /// # Panics
    /// When that fails.
    pub fn down(&self) {
        self.xtask(&["down"]).unwrap_or_else(|said| panic!("fleet down: {said}"));
    }

    fn xtask(&self, args: &[&str]) -> Result<(), String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["run", "--quiet", "--package", "xtask", "--", "fleet"])
            .args(args)
            .env("GANGER_FLEET_NUMBER", self.number.to_string())
            .env_remove("GANGER_FLEET_DIR");
        let output = cargo.output().expect("cargo");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }
}

impl Drop for OwnFleet {
    fn drop(&mut self) {
        // A panic while one unwinds would end the whole run.
        if let Err(said) = self.xtask(&["down"]) {
            eprintln!("fleet down: {said}");
        }
    }
}

fn directory(number: u8) -> PathBuf {
    format!("/run/ganger-fleet-{number}").into()
}

/// A number that nobody uses.
fn take(number: u8) -> Option<(u8, UnixListener)> {
    let name = SocketAddr::from_abstract_name(format!("ganger-own-fleet/{number}")).ok()?;
    let taken = UnixListener::bind_addr(&name).ok()?;
    (!directory(number).exists()).then_some((number, taken))
}
