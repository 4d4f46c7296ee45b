//! `ganger status`, and the tables of services and daemons.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{Exit, Failure};
use super::show::Showing;
use super::table::{Grid, Shown};
use super::words::{age, none, percentiles, took};
use crate::admin::{ContainerCounts, DaemonStatus, ServiceStatus, Status};

/// Says how services and daemons are.
pub(super) async fn status(showing: &Showing, config: Option<PathBuf>) -> Result<Exit, Failure> {
    showing.show("/api/v1/status", config, text).await
}

fn text(status: &Status, wide: bool) -> String {
    let about = &status.about;
    let up = Duration::from_secs(about.uptime_seconds as u64);
    let mut text = format!(
        "ganger {}, instance {}, pid {}, up {}, sessions {}{}\n\n{}\n\n{}",
        about.version,
        about.instance,
        about.pid,
        humantime::format_duration(up),
        status.sessions,
        if about.stopping { ", stopping" } else { "" },
        services(&status.services, wide),
        daemons(&status.daemons, wide),
    );
    let of_services = status.services.iter().map(|service| (&service.name, &service.reason));
    let of_daemons = status.daemons.iter().map(|daemon| (&daemon.name, &daemon.reason));
    for (name, reason) in of_services.chain(of_daemons) {
        if let Some(reason) = reason {
            text += &format!("\n\n{name}: {reason}");
        }
    }
    text
}

fn services(services: &[ServiceStatus], wide: bool) -> String {
    type S = ServiceStatus;
    Grid::new(wide)
        .with("SERVICE", Shown::Always, services, |s: &S| s.name.clone())
        .with("STATE", Shown::Always, services, |s: &S| s.state.to_string())
        .with("READY", Shown::Always, services, |s: &S| {
            format!("{}/{}{}", s.containers.ready, s.target, if s.is_scaled { "*" } else { "" })
        })
        .with("LEASED", Shown::Always, services, |s: &S| s.containers.leased.to_string())
        .with("STARTING", Shown::Always, services, |s: &S| s.containers.starting.to_string())
        .with("STOPPING", Shown::Wide, services, |s: &S| s.containers.stopping.to_string())
        .with("MAX", Shown::Always, services, |s: &S| s.max.to_string())
        .with("WAITING", Shown::Always, services, waiting)
        .with("WAIT p50/p99", Shown::Always, services, |s: &S| percentiles(s.wait))
        .with("FIRST BYTE", Shown::Wide, services, |s: &S| percentiles(s.first_byte))
        .with("WARM", Shown::Wide, services, |s: &S| s.leases.warm.to_string())
        .with("REUSED", Shown::Wide, services, |s: &S| s.leases.reused.to_string())
        .with("COLD", Shown::Always, services, |s: &S| s.leases.cold.to_string())
        .with("REFUSED", Shown::Always, services, |s: &S| refused(s).to_string())
        .with("GENERATION", Shown::Wide, services, |s: &S| s.generation.to_string())
        .with("ROLLOUT", Shown::Filled, services, |s: &S| s.rollout.clone().unwrap_or_else(none))
        .with("CUT IN", Shown::Filled, services, |s: &S| s.deadline_seconds.map_or_else(none, age))
        .with("LAST ERROR", Shown::Wide, services, |s: &S| line(s.last_error.as_deref()))
        .lines()
}

/// The table of daemons.
pub(super) fn daemons(daemons: &[DaemonStatus], wide: bool) -> String {
    type D = DaemonStatus;
    Grid::new(wide)
        .with("DAEMON", Shown::Always, daemons, |d: &D| d.name.clone())
        .with("STATE", Shown::Always, daemons, |d: &D| d.state.to_string())
        .with("CONTAINERS", Shown::Always, daemons, |d: &D| all(&d.containers).to_string())
        .with("LEASED", Shown::Always, daemons, |d: &D| d.containers.leased.to_string())
        .with("OTHERS", Shown::Always, daemons, |d: &D| d.others.to_string())
        .with("CAPACITY", Shown::Always, daemons, |d: &D| d.capacity.to_string())
        .with("TIER", Shown::Wide, daemons, |d: &D| d.tier.to_string())
        .with("LAUNCHES", Shown::Always, daemons, |d: &D| {
            format!("{}/{}", d.launches, d.launch_limit)
        })
        .with("START", Shown::Always, daemons, |d: &D| d.start_seconds.map_or_else(none, took))
        .with("STRAYS", Shown::Wide, daemons, |d: &D| d.strays.to_string())
        .with("ENGINE", Shown::Always, daemons, |d: &D| d.engine.clone().unwrap_or_else(none))
        .with("CUT IN", Shown::Filled, daemons, |d: &D| d.deadline_seconds.map_or_else(none, age))
        .with("LAST ERROR", Shown::Wide, daemons, |d: &D| line(d.last_error.as_deref()))
        .lines()
}

/// All that count against a capacity.
pub(in crate::cli) fn all(counts: &ContainerCounts) -> u32 {
    let ContainerCounts { starting, ready, leased, checking, unknown, stopping } = counts;
    starting + ready + leased + checking + unknown + stopping
}

/// Connections that got nothing, for whatever reason.
pub(in crate::cli) fn refused(service: &ServiceStatus) -> u64 {
    service.refused.values().sum()
}

/// How many wait, and the first of them for how long.
pub(in crate::cli) fn waiting(service: &ServiceStatus) -> String {
    match service.oldest_wait_seconds {
        Some(oldest) => format!("{} for {}", service.waiting, took(oldest)),
        None => service.waiting.to_string(),
    }
}

/// A text in one line.
pub(in crate::cli) fn line(text: Option<&str>) -> String {
    text.map_or_else(none, |text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}
