//! `cargo xtask soak`: brings up what `tests/soak` needs and takes it down.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::SoakArgs;
use crate::child::Interrupts;
use crate::command;
use crate::fleet::{Fleet, Settings, Site, is_root};

/// One of these hosts is no daemon at first: it is given the names of others.
const HOSTS: u8 = 4;

/// Runs the soak test; returns 1 when something was violated.
pub(crate) fn run(args: &SoakArgs) -> Result<ExitCode> {
    if !is_root() {
        bail!("you are not root, and this stops daemons and cuts links");
    }
    let packages = ["--package", "ganger", "--package", "ganger-soak"];
    command::run(command::cargo(&["build", "--release", "--bins"]).args(packages))?;
    let mut soak = Command::new(command::target().join("release/soak"));
    soak.args(["--minutes", &args.minutes.to_string()]).current_dir(command::root());
    if let Some(seed) = args.seed {
        soak.args(["--seed", &seed.to_string()]);
    }
    let interrupts = Interrupts::take()?;
    if std::env::var_os("GANGER_FLEET").is_some() {
        // The fleet is somebody else's, who has it stay.
        return code(&interrupts, &mut soak);
    }
    let fleet = Fleet::lock(Site::tests()?)?;
    let result = on(&fleet, &interrupts, &mut soak);
    let down = fleet.down();
    let code = result?;
    down?;
    Ok(code)
}

fn on(fleet: &Fleet, interrupts: &Interrupts, soak: &mut Command) -> Result<ExitCode> {
    // A fleet that runs may have been started otherwise, or be in any state.
    fleet.down()?;
    fleet.up(HOSTS, &[], &[], Settings::default())?;
    if interrupts.came() {
        bail!("interrupted");
    }
    code(interrupts, soak.env("GANGER_FLEET", fleet.record()))
}

fn code(interrupts: &Interrupts, soak: &mut Command) -> Result<ExitCode> {
    Ok(if interrupts.run(soak)?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
