//! `cargo xtask demo`: the demo on a machine that may have no engine.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::child::Interrupts;
use crate::command;
use crate::fleet::{Fleet, Settings, Site, engine_answers, is_root};

/// Runs `ganger demo`, on an engine of our own when none answers where it looks.
pub(crate) fn run() -> Result<ExitCode> {
    command::run(&mut command::cargo(&["build", "--release", "--package", "ganger"]))?;
    let interrupts = Interrupts::take()?;
    let site = Site::demo();
    let socket = site.root_socket();
    let own = if engine_answers(&socket) {
        None
    } else {
        println!("no engine answers at {}: starting one", socket.display());
        if !is_root() {
            bail!(
                "only root can start an engine; start one yourself, or run this as root. If one \
                 runs, you may lack permission for {}",
                socket.display()
            );
        }
        let fleet = Fleet::lock(site)?;
        if let Err(error) = fleet.up(0, &[], Settings::default()) {
            fleet.down()?;
            return Err(error);
        }
        Some(fleet)
    };
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| command::root().join("target"), Into::into);
    let result = interrupts
        .run(Command::new(target.join("release/ganger")).arg("demo").current_dir(command::root()));
    if let Some(fleet) = own {
        fleet.down()?;
    }
    let code = result?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
