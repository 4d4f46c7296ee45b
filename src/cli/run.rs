//! `ganger run`.

use std::path::Path;

use ganger_pool::core::{ServiceView, State};
use tracing::info;

use super::{Exit, Failure, guard};
use crate::app::{self, AppError, Ended, Instance, Running};
use crate::config::Config;
use crate::shutdown::Stop;
use crate::telemetry;

pub(super) async fn run(config: &Config, path: &Path, log: &str) -> Result<Exit, Failure> {
    let stop = stop()?;
    let name = config.instance(path).map_err(|error| Failure::new(Exit::Config, error))?;
    let instance = Instance::take(&name).map_err(failed)?;
    let guardian = config.guardian.then(|| guard::command(config.log.format, log));
    let ended = app::run(config, instance, stop, guardian, |_| (), stocked).await;
    let ended = ended.map_err(failed)?;
    Ok(exit(&ended))
}

pub(super) fn stop() -> Result<Stop, Failure> {
    let leave = |code| {
        telemetry::flush();
        std::process::exit(code);
    };
    Stop::on_signals(leave)
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
