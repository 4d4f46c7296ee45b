//! The content of each pane.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::lists::id;
use super::super::status::{all, line, refused, waiting};
use super::super::words::{age, none, percentiles, size, took};
use super::follow::Outlook;
use crate::admin::{
    Condition, ContainerStatus, DaemonStatus, Happening, ServiceStatus, SessionStatus,
};

/// A pane: one of the five lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Services,
    Daemons,
    Sessions,
    Containers,
    Events,
}

/// A line of a pane.
#[derive(Debug, Clone)]
pub(super) struct TopRow {
    /// The name or number of its subject.
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
    /// Something is wrong with it.
    pub(super) is_bad: bool,
}

/// A cell: its text, and a rank that it is sorted by first.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    rank: f64,
}

// === impl Pane ===

impl Pane {
    /// All of them, in the order of their keys.
    pub(super) const ALL: [Self; 5] =
        [Self::Services, Self::Daemons, Self::Sessions, Self::Containers, Self::Events];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Daemons => "daemons",
            Self::Sessions => "sessions",
            Self::Containers => "containers",
            Self::Events => "events",
        }
    }

    pub(super) fn after(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}

// === impl Cell ===

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), rank: 0.0 }
    }

    fn number(number: u32) -> Self {
        Self { text: number.to_string(), rank: number.into() }
    }

    #[expect(clippy::cast_precision_loss, reason = "it is only sorted by it")]
    fn count(count: u64) -> Self {
        Self { text: count.to_string(), rank: count as f64 }
    }

    #[expect(clippy::cast_precision_loss, reason = "it is only sorted by it")]
    fn size(bytes: u64) -> Self {
        Self { text: size(bytes), rank: bytes as f64 }
    }

    fn age(seconds: f64) -> Self {
        Self { text: age(seconds), rank: seconds }
    }

    fn of(text: String, rank: impl Into<f64>) -> Self {
        Self { text, rank: rank.into() }
    }

    /// Numbers by their size, texts by their letters.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.rank.total_cmp(&other.rank).then_with(|| self.text.cmp(&other.text))
    }
}

/// The heads of the columns of a pane.
pub(super) const fn heads(pane: Pane) -> &'static [&'static str] {
    match pane {
        Pane::Services => &[
            "SERVICE",
            "STATE",
            "READY",
            "LEASED",
            "STARTING",
            "MAX",
            "WAITING",
            "WAIT p50/p99",
            "COLD",
            "REFUSED",
        ],
        Pane::Daemons => &[
            "DAEMON",
            "STATE",
            "CONTAINERS",
            "LEASED",
            "OTHERS",
            "CAPACITY",
            "LAUNCHES",
            "START",
            "ENGINE",
            "LAST ERROR",
        ],
        Pane::Sessions => &["ID", "SERVICE", "CLIENT", "CONTAINER", "DAEMON", "AGE", "IN", "OUT"],
        Pane::Containers => {
            &["LAUNCH", "CONTAINER", "SERVICE", "DAEMON", "STATE", "FOR", "AGE", "USES", "REASON"]
        }
        Pane::Events => &["AT", "WHAT", "ABOUT", "DETAIL"],
    }
}

/// All lines of a pane, in the order in which they were told.
pub(super) fn all_rows(
    pane: Pane,
    seen: Option<&Outlook>,
    happenings: &BTreeMap<u64, Happening>,
) -> Vec<TopRow> {
    let Some(seen) = seen else { return Vec::new() };
    match pane {
        Pane::Services => seen.status.services.iter().map(service).collect(),
        Pane::Daemons => seen.status.daemons.iter().map(daemon).collect(),
        Pane::Sessions => seen.sessions.iter().map(session).collect(),
        Pane::Containers => seen.containers.iter().map(container).collect(),
        Pane::Events => happenings.values().map(happening).collect(),
    }
}

fn service(it: &ServiceStatus) -> TopRow {
    let counts = it.containers;
    let scaled = if it.is_scaled { "*" } else { "" };
    let wait = it.wait.map_or(0.0, |wait| wait.p99_seconds);
    let cells = vec![
        Cell::text(&it.name),
        Cell::text(it.state.to_string()),
        Cell::of(format!("{}/{}{scaled}", counts.ready, it.target), counts.ready),
        Cell::number(counts.leased),
        Cell::number(counts.starting),
        Cell::number(it.max),
        Cell::of(waiting(it), it.waiting),
        Cell::of(percentiles(it.wait), wait),
        Cell::count(it.leases.cold),
        Cell::count(refused(it)),
    ];
    let is_bad = matches!(it.state, Condition::Failing | Condition::Refusing);
    TopRow { key: it.name.clone(), cells, is_bad }
}

fn daemon(it: &DaemonStatus) -> TopRow {
    let error = it.reason.as_deref().or(it.last_error.as_deref());
    let cells = vec![
        Cell::text(&it.name),
        Cell::text(it.state.to_string()),
        Cell::number(all(&it.containers)),
        Cell::number(it.containers.leased),
        Cell::number(it.others),
        Cell::number(it.capacity),
        Cell::of(format!("{}/{}", it.launches, it.launch_limit), it.launches),
        Cell::of(it.start_seconds.map_or_else(none, took), it.start_seconds.unwrap_or_default()),
        Cell::text(it.engine.clone().unwrap_or_else(none)),
        Cell::text(line(error)),
    ];
    let is_bad = matches!(it.state, Condition::Down | Condition::Degraded);
    TopRow { key: it.name.clone(), cells, is_bad }
}

fn session(it: &SessionStatus) -> TopRow {
    let cells = vec![
        Cell::count(it.id),
        Cell::text(&it.service),
        Cell::text(it.client.to_string()),
        Cell::text(id(it.container.as_deref(), false)),
        Cell::text(it.daemon.clone().unwrap_or_else(none)),
        Cell::age(it.age_seconds),
        Cell::size(it.in_bytes),
        Cell::size(it.out_bytes),
    ];
    TopRow { key: it.id.to_string(), cells, is_bad: false }
}

fn container(it: &ContainerStatus) -> TopRow {
    let cells = vec![
        Cell::count(it.launch),
        Cell::text(id(it.id.as_deref(), false)),
        Cell::text(&it.service),
        Cell::text(&it.daemon),
        Cell::text(&it.state),
        Cell::age(it.state_seconds),
        Cell::age(it.age_seconds),
        Cell::number(it.uses),
        Cell::text(it.retire_reason.clone().unwrap_or_else(none)),
    ];
    TopRow { key: it.launch.to_string(), cells, is_bad: it.state == "unknown" }
}

fn happening(it: &Happening) -> TopRow {
    let launch = it.launch.map(|launch| format!("launch {launch}"));
    let about = [&it.service, &it.daemon, &launch].into_iter().flatten().cloned();
    let about = about.collect::<Vec<_>>().join(" ");
    let times = if it.count > 1 { format!("{} times: ", it.count) } else { String::new() };
    // The time of the day is enough for what is on a screen.
    let at = it.at.split(['T', '.']).nth(1).unwrap_or(&it.at);
    #[expect(clippy::cast_precision_loss, reason = "it is only sorted by it")]
    let number = it.id as f64;
    let cells = vec![
        Cell::of(at.to_owned(), number),
        Cell::text(&it.kind),
        Cell::text(about),
        Cell::text(format!("{times}{}", line(it.detail.as_deref()))),
    ];
    TopRow { key: it.id.to_string(), cells, is_bad: it.is_bad }
}
