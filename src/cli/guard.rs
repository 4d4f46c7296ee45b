//! `ganger guard`, which `run` and `demo` start: see `app::guard`.

use std::process::Command;
use std::time::Duration;

use super::{Exit, Failure};
use crate::config::LogFormat;
use crate::{app, telemetry};

/// The file that this process runs, even if another has taken its place since.
pub(super) const SELF: &str = "/proc/self/exe";

/// Runs as a guardian.
pub(super) async fn guard(quiet: Duration) -> Result<Exit, Failure> {
    match app::guard(quiet).await {
        Ok(true) => Ok(Exit::Ok),
        Ok(false) => Ok(Exit::Failed),
        Err(error) => Err(Failure::new(Exit::Usage, error)),
    }
}

/// The command of a guardian that logs as this process does.
pub(super) fn command(format: LogFormat, filter: &str) -> Command {
    let mut command = Command::new(SELF);
    std::os::unix::process::CommandExt::arg0(&mut command, "ganger");
    command.args(["guard", "--log", filter]);
    if format == LogFormat::Json {
        command.arg("--json");
    }
    if let Some(coloured) = telemetry::told_coloured() {
        command.args(["--color", if coloured { "always" } else { "never" }]);
    }
    command
}
