//! `cargo xtask vm`: a virtual machine as production usually has it, a Debian with systemd and its
//! own Docker, for what cannot be run outside.

mod inside;
mod payload;
mod plan;
mod qemu;
mod system;

use std::fs::{self, File};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

pub(crate) use self::inside::run as inside;
use crate::child::Interrupts;
use crate::command;
use crate::fleet::is_root;
use crate::packages;

/// Runs the machine; returns 1 when something failed there, or its end was not heard of.
pub(crate) fn run(filters: Vec<String>) -> Result<ExitCode> {
    let obstacle = match () {
        // Its programs are built for this machine.
        () if !cfg!(target_arch = "x86_64") => Some("this machine is not x86-64"),
        () if !is_root() => Some("you are not root, and debootstrap needs that"),
        () => None,
    };
    if let Some(obstacle) = obstacle {
        bail!("{obstacle}, so no virtual machine can be made");
    }
    let cases = inside::selected(&filters);
    if cases.is_empty() {
        bail!("nothing of what runs in the machine has one of {filters:?} in its name");
    }
    packages::ensure_machine()?;
    let dir = std::path::absolute(command::target().join("vm"))?;
    fs::create_dir_all(&dir)?;
    let lock = File::create(dir.join("lock"))?;
    if lock.try_lock().is_err() {
        command::say("waiting for another `cargo xtask vm`");
        lock.lock().context("lock on the virtual machine")?;
    }
    let payload = payload::build(&dir, filters, &cases)?;
    let interrupts = Interrupts::take()?;
    let result = system::ensure(&dir.join("system"), &interrupts).and_then(|system| {
        interrupts.check()?;
        qemu::run(&dir, &system, &payload, &interrupts)
    });
    // The disk is as large as all that is tested, and made anew each time.
    let removed = fs::remove_file(payload);
    let code = result?;
    removed?;
    Ok(code)
}
