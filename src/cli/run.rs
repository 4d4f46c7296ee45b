//! `ganger run`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{ServiceView, State};
use tracing::info;

use super::{Exit, Failure, guard, keeper};
use crate::app::{
    self, AppError, Ended, GivenSockets, Instance, LoadConfig, NotLoaded, Running, Startup,
};
use crate::config::{Config, ConfigError, is_stdin};
use crate::shutdown::{HangUp, Stop};
use crate::telemetry;

pub(super) async fn run(
    config: Config,
    path: &Path,
    log: &str,
    guardian_quiet: Option<Duration>,
    take_over: bool,
) -> Result<Exit, Failure> {
    let given = GivenSockets::of_service_manager().map_err(failed)?;
    let stop = stop(HangUp::Reloads)?;
    let name = config.instance(path).map_err(|error| Failure::new(Exit::Config, error))?;
    let taken = if take_over { app::take_over(&name).await.map_err(failed)? } else { None };
    let (instance, predecessor) = match taken {
        Some((instance, predecessor)) => (instance, Some(predecessor)),
        None => (Instance::take(&name).map_err(failed)?, None),
    };
    let config = match predecessor {
        // The predecessor would have read changes so far; from now on it waits for this process.
        Some(_) if !is_stdin(path) => {
            load(path, &name).map_err(|why| Failure::new(Exit::Config, why.render()))?
        }
        _ => config,
    };
    let guardian = config.guardian.then(|| {
        let mut command = guard::command(config.log.format, log);
        if let Some(quiet) = guardian_quiet {
            command.args(["--quiet", &humantime::format_duration(quiet).to_string()]);
        }
        command
    });
    let again = (path.to_owned(), name);
    let load: LoadConfig = Arc::new(move || load(&again.0, &again.1));
    let startup = Startup {
        given,
        predecessor,
        load: Some(load),
        guardian,
        keeper: Some(keeper::command()),
        ..Startup::new(config, instance, stop)
    };
    let ended = app::run(startup, |_| (), stocked).await;
    let ended = ended.map_err(failed)?;
    Ok(exit(&ended))
}

/// Reads the configuration again, for a process that runs as this instance.
fn load(path: &Path, instance: &str) -> Result<Config, NotLoaded> {
    if is_stdin(path) {
        let why = "the configuration came from standard input and cannot be read again: restart to \
                   change it, or name a file";
        return Err(NotLoaded::Other(why.to_owned()));
    }
    let config = Config::load(path).map_err(|error| match error {
        ConfigError::Invalid(report) => NotLoaded::Mistakes(report),
        error => NotLoaded::Other(error.to_string()),
    })?;
    match config.instance(path) {
        Ok(name) if name == instance => Ok(config),
        Ok(name) => Err(NotLoaded::Other(format!(
            "{}: `instance` is {name} now, and this process runs as {instance}, whose containers it \
             has: change it back, or restart",
            path.display()
        ))),
        Err(error) => Err(NotLoaded::Other(error.to_string())),
    }
}

pub(super) fn stop(hup: HangUp) -> Result<Stop, Failure> {
    let leave = |code| {
        telemetry::flush();
        std::process::exit(code);
    };
    Stop::on_signals(hup, leave)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot handle signals: {error}")))
}

pub(super) fn failed(error: impl Into<AppError>) -> Failure {
    Failure::new(Exit::Failed, error.into())
}

pub(super) fn exit(ended: &Ended) -> Exit {
    match ended {
        Ended { cut: 1.., .. } => Exit::Cut,
        Ended { left, .. } if !left.is_empty() => Exit::Failed,
        Ended { .. } => Exit::Ok,
    }
}

fn stocked(service: &ServiceView, _: &Running) {
    info!(service = %service.name, idle = service.counts[State::Idle], "stock is full");
}
