//! The tables of the page as files for spreadsheets.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::super::problem::Problem;
use super::super::{AdminShared, ServerState};

pub(super) fn routes() -> Router<Arc<AdminShared>> {
    Router::new().route("/export/{file}", get(export))
}

async fn export(State(admin): ServerState, Path(file): Path<String>) -> Result<Response, Problem> {
    let table = match file.as_str() {
        "services.csv" => services(&admin).await,
        "daemons.csv" => daemons(&admin).await,
        "sessions.csv" => sessions(&admin),
        "containers.csv" => containers(&admin).await,
        "failures.csv" => failures(&admin),
        _ => return Err(Problem::absent(format!("there is no file {file:?}"))),
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    // A vector takes any row.
    let written = table
        .iter()
        .try_for_each(|row| writer.write_record(row.iter().map(|it| text_only(it).into_owned())));
    let text = written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
    let name = format!("attachment; filename=\"{file}\"");
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, text).into_response())
}

/// A cell that no spreadsheet takes for a formula, whatever a container has written.
fn text_only(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

type Rows = Vec<Vec<String>>;

fn with_head(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Rows {
    let head = head.iter().map(ToString::to_string).collect();
    std::iter::once(head).chain(rows).collect()
}

/// The value, or an empty cell.
fn perhaps(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

async fn services(admin: &AdminShared) -> Rows {
    let head = [
        "service", "state", "reason", "target", "max", "starting", "ready", "leased", "checking",
        "unknown", "stopping", "waiting", "warm", "reused", "cold", "refused", "rollout",
    ];
    let rows = admin.services().await.into_iter().map(|s| {
        let mut row = vec![s.name.clone(), s.state.to_string(), perhaps(s.reason.as_ref())];
        row.extend([s.target, s.max].map(|n| n.to_string()));
        row.extend(s.containers.by_word().map(|(_, count)| count.to_string()));
        row.push(s.waiting.to_string());
        row.extend([s.leases.warm, s.leases.reused, s.leases.cold].map(|n| n.to_string()));
        row.push(s.refused.values().sum::<u64>().to_string());
        row.push(perhaps(s.rollout));
        row
    });
    // The words of `ContainerCounts::by_word` are in this order, too.
    with_head(&head, rows)
}

async fn daemons(admin: &AdminShared) -> Rows {
    let head = [
        "daemon",
        "state",
        "reason",
        "engine",
        "capacity",
        "tier",
        "others",
        "starting",
        "ready",
        "leased",
        "checking",
        "unknown",
        "stopping",
        "launches",
        "launch_limit",
        "start_seconds",
        "last_error",
    ];
    let rows = admin.daemons().await.into_iter().map(|d| {
        let mut row = vec![d.name.clone(), d.state.to_string(), perhaps(d.reason.as_ref())];
        row.push(perhaps(d.engine.as_ref()));
        row.extend([d.capacity, d.tier, d.others].map(|n| n.to_string()));
        row.extend(d.containers.by_word().map(|(_, count)| count.to_string()));
        row.extend([d.launches, d.launch_limit].map(|n| n.to_string()));
        row.extend([perhaps(d.start_seconds), perhaps(d.last_error)]);
        row
    });
    with_head(&head, rows)
}

fn sessions(admin: &AdminShared) -> Rows {
    let head = [
        "id",
        "service",
        "client",
        "container",
        "daemon",
        "uses",
        "age_seconds",
        "in_bytes",
        "out_bytes",
    ];
    let rows = admin.sessions().into_iter().map(|s| {
        let mut row = vec![s.id.to_string(), s.service, s.client.to_string()];
        row.extend([perhaps(s.container), perhaps(s.daemon), perhaps(s.uses)]);
        row.extend([s.age_seconds.to_string(), s.in_bytes.to_string(), s.out_bytes.to_string()]);
        row
    });
    with_head(&head, rows)
}

async fn containers(admin: &AdminShared) -> Rows {
    let head = [
        "launch",
        "id",
        "service",
        "generation",
        "daemon",
        "state",
        "state_seconds",
        "age_seconds",
        "uses",
        "retire_reason",
    ];
    let all = admin.containers().await;
    let rows = all.iter().cloned().map(|c| {
        let mut row = vec![c.launch.to_string(), perhaps(c.id), c.service];
        row.extend([c.generation.to_string(), c.daemon, c.state]);
        row.extend([c.state_seconds.to_string(), c.age_seconds.to_string(), c.uses.to_string()]);
        row.push(perhaps(c.retire_reason));
        row
    });
    with_head(&head, rows)
}

fn failures(admin: &AdminShared) -> Rows {
    let head = [
        "id",
        "at",
        "first_at",
        "count",
        "service",
        "daemon",
        "launch",
        "container",
        "phase",
        "fault",
        "end",
        "exit_code",
        "out_of_memory",
        "error",
        "hint",
        "log",
    ];
    let rows = admin.failures.all().into_iter().map(|f| {
        let mut row = vec![f.id.to_string(), f.at, f.first_at, f.count.to_string(), f.service];
        row.extend([perhaps(f.daemon), perhaps(f.launch), perhaps(f.container)]);
        row.extend([f.phase.to_string(), perhaps(f.fault), perhaps(f.end)]);
        row.extend([perhaps(f.exit_code), f.out_of_memory.to_string(), f.error]);
        row.extend([perhaps(f.hint), f.log.join("\n")]);
        row
    });
    with_head(&head, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        let cells = ["=HYPERLINK(1)", "+1", "-", "@x", "a=b", ""].map(text_only);
        assert_eq!(cells, ["'=HYPERLINK(1)", "'+1", "'-", "'@x", "a=b", ""]);
    }
}
