//! `ganger containers`, `daemons` and `sessions`.

use std::path::PathBuf;

use clap::Args;
use ganger_pool::core::short_id;

use super::super::{Exit, Failure};
use super::show::Showing;
use super::status;
use super::table::{Grid, Shown};
use super::words::{age, none, size};
use crate::admin::{ContainerStatus, DaemonStatus, SessionStatus};
use crate::http::escape;

/// What is listed, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Listing {
    #[command(flatten)]
    pub(super) showing: Showing,
    /// Numbers only, as other verbs take them
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Only those of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only those on this daemon
    #[arg(long, value_name = "NAME")]
    daemon: Option<String>,
    /// Only those that are so: a container starting, ready, leased, checking, unknown or stopping; a
    /// session waiting or served; a failure in the phase pull, create, start, ready, stock or lease
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

/// Says which containers there are.
pub(super) async fn containers(
    listing: &Listing,
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let text = |told: &Vec<ContainerStatus>, wide: bool| match listing.quiet {
        true => ids(told.iter().map(|container| container.launch)),
        false => container_table(told, wide),
    };
    listing.showing.show(&listing.path("containers"), config, text).await
}

/// Says who is connected.
pub(super) async fn sessions(listing: &Listing, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let text = |told: &Vec<SessionStatus>, wide: bool| match listing.quiet {
        true => ids(told.iter().map(|session| session.id)),
        false => session_table(told, wide),
    };
    listing.showing.show(&listing.path("sessions"), config, text).await
}

/// Says how daemons are, filtered by name or by state.
pub(super) async fn daemons(
    showing: &Showing,
    quiet: bool,
    [daemon, state]: [Option<String>; 2],
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let text = |told: &Vec<DaemonStatus>, wide: bool| match quiet {
        true => ids(told.iter().map(|daemon| &daemon.name)),
        false => status::daemons(told, wide),
    };
    let path = path("daemons", &[("daemon", &daemon), ("state", &state)]);
    showing.show(&path, config, text).await
}

// === impl Listing ===

impl Listing {
    /// The path of a list, with its filters as a query.
    pub(super) fn path(&self, list: &str) -> String {
        let Self { service, daemon, state, .. } = self;
        path(list, &[("service", service), ("daemon", daemon), ("state", state)])
    }
}

/// The path of a list, with its filters as a query.
fn path(list: &str, filters: &[(&str, &Option<String>)]) -> String {
    let filters = filters.iter().filter_map(|(name, value)| {
        value.as_ref().map(|value| format!("{name}={}", escape(value)))
    });
    format!("/api/v1/{list}?{}", filters.collect::<Vec<_>>().join("&"))
}

pub(super) fn ids(ids: impl Iterator<Item = impl ToString>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join("\n")
}

fn container_table(containers: &[ContainerStatus], wide: bool) -> String {
    type C = ContainerStatus;
    Grid::new(wide)
        .with("LAUNCH", Shown::Always, containers, |c: &C| c.launch.to_string())
        .with("CONTAINER", Shown::Always, containers, |c: &C| id(c.id.as_deref(), wide))
        .with("SERVICE", Shown::Always, containers, |c: &C| c.service.clone())
        .with("DAEMON", Shown::Always, containers, |c: &C| c.daemon.clone())
        .with("STATE", Shown::Always, containers, |c: &C| c.state.clone())
        .with("FOR", Shown::Always, containers, |c: &C| age(c.state_seconds))
        .with("AGE", Shown::Always, containers, |c: &C| age(c.age_seconds))
        .with("USES", Shown::Always, containers, |c: &C| c.uses.to_string())
        .with("GENERATION", Shown::Wide, containers, |c: &C| c.generation.to_string())
        .with("REASON", Shown::Filled, containers, |c: &C| {
            c.retire_reason.clone().unwrap_or_else(none)
        })
        .lines()
}

fn session_table(sessions: &[SessionStatus], wide: bool) -> String {
    type S = SessionStatus;
    Grid::new(wide)
        .with("ID", Shown::Always, sessions, |s: &S| s.id.to_string())
        .with("SERVICE", Shown::Always, sessions, |s: &S| s.service.clone())
        .with("CLIENT", Shown::Always, sessions, |s: &S| s.client.to_string())
        .with("CONTAINER", Shown::Always, sessions, |s: &S| id(s.container.as_deref(), wide))
        .with("DAEMON", Shown::Always, sessions, |s: &S| s.daemon.clone().unwrap_or_else(none))
        .with("AGE", Shown::Always, sessions, |s: &S| age(s.age_seconds))
        .with("USES", Shown::Wide, sessions, |s: &S| {
            s.uses.map_or_else(none, |uses| uses.to_string())
        })
        .with("IN", Shown::Always, sessions, |s: &S| size(s.in_bytes))
        .with("OUT", Shown::Always, sessions, |s: &S| size(s.out_bytes))
        .lines()
}

/// The id of a container, if it has one.
pub(in crate::cli) fn id(id: Option<&str>, wide: bool) -> String {
    match id {
        Some(id) if wide => id.to_owned(),
        Some(id) => short_id(id).to_owned(),
        None => none(),
    }
}
