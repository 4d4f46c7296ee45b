//! `ganger keep-cells`, which a run starts for `sandbox: Cell`: see `cell::keep`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Exit, Failure, guard};
use crate::cell;

/// The verb.
const VERB: &str = "keep-cells";
/// The first process of a namespace of processes.
const FIRST: u32 = 1;

/// Keeps cells, or starts the process that does.
pub(super) fn keep(group: &str) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error);
    if std::process::id() != FIRST {
        let mut command = command();
        command.args(["--group", group]);
        return cell::start_keeper(&mut command).map(|()| Exit::Ok).map_err(failed);
    }
    // With one thread, so without the log's: a process with more cannot enter a mount namespace.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.and_then(|runtime| runtime.block_on(cell::keep(group)));
    kept.map(|()| Exit::Ok).map_err(failed)
}

/// The command that starts a keeper, but for the group of its cells.
pub(super) fn command() -> Command {
    let mut command = Command::new(guard::SELF);
    command.arg0("ganger").arg(VERB);
    command
}
