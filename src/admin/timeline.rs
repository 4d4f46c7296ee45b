//! `/api/v1/sessions/N/timeline`: what became of one connection, step by step.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use ganger_pool::core::short_id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ServerState;
use super::problem::Problem;
use super::query::Segment;
use crate::proxy::{ConnId, ConnRecord, QueuePlace, ReplacedContainer, SessionTrace};

/// A connection, from accept to now or to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionTimeline {
    /// Its number.
    pub id: u64,
    /// The service.
    pub service: String,
    /// The client's address.
    #[schema(value_type = String)]
    pub client: SocketAddr,
    /// When it was accepted, as RFC 3339 says it.
    pub accepted: String,
    /// From accept to its end, or until now.
    pub total_seconds: f64,
    /// The id of the container that served it last.
    pub container: Option<String>,
    /// The launch of that container.
    pub launch: Option<u64>,
    /// The daemon of that container.
    pub daemon: Option<String>,
    /// How the lease was served: `warm`, `reused` or `cold`.
    pub start: Option<String>,
    /// From the client.
    pub in_bytes: u64,
    /// To the client.
    pub out_bytes: u64,
    /// The two letters of its end; `None` when it is there.
    pub end: Option<String>,
    /// What was the reason, where the end was not normal.
    pub reason: Option<String>,
    /// What happened, in order.
    pub steps: Vec<TimelineStep>,
}

/// Something that happened to a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimelineStep {
    /// From accept until then.
    pub after_seconds: f64,
    /// One of `accepted`, `queued`, `leased`, `connected`, `replaced`, `first-byte`, `ended`, `now`.
    pub what: String,
    /// The same for people, with what else is known.
    pub detail: String,
}

/// What became of a connection, step by step: also for the latest that have ended.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/timeline", tag = "sessions",
    params(("id" = u64, Path, description = "The number of the connection")),
    responses((status = 200, description = "Its timeline", body = SessionTimeline)))]
pub(super) async fn timeline(
    State(admin): ServerState,
    Segment(id): Segment,
) -> Result<Json<SessionTimeline>, Problem> {
    let found = id.parse().ok().and_then(|id| admin.subject.sessions().trace(ConnId(id)));
    let absent = || {
        let detail = format!(
            "there is no connection {id:?}, and it is none of the latest that have ended: look for it in the \
             log or in `access_log`"
        );
        Problem::absent(detail)
    };
    found.map(|trace| Json(SessionTimeline::from(&trace))).ok_or_else(absent)
}

// === impl SessionTimeline ===

impl From<&SessionTrace> for SessionTimeline {
    fn from(trace: &SessionTrace) -> Self {
        let SessionTrace { record, ended, .. } = trace;
        let accepted = ended.unwrap_or_else(SystemTime::now).checked_sub(record.total);
        let accepted = accepted.unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            id: record.id.0,
            service: record.service.to_string(),
            client: record.client,
            accepted: humantime::format_rfc3339_millis(accepted).to_string(),
            total_seconds: record.total.as_secs_f64(),
            container: record.container.as_ref().map(ToString::to_string),
            launch: record.launch.map(|launch| launch.0),
            daemon: record.daemon.as_ref().map(ToString::to_string),
            start: record.start.map(|start| start.to_string()),
            in_bytes: record.bytes_in,
            out_bytes: record.bytes_out,
            end: ended.map(|_| record.end.to_string()),
            reason: record.reason.clone(),
            steps: steps(trace),
        }
    }
}

fn steps(trace: &SessionTrace) -> Vec<TimelineStep> {
    let SessionTrace { record, queued, replaced, ended } = trace;
    let step = |after: Duration, what: &str, detail: String| {
        let what = what.to_owned();
        TimelineStep { after_seconds: after.as_secs_f64(), what, detail }
    };
    let accepted = format!("accepted for {}", record.service);
    let mut steps = vec![step(Duration::ZERO, "accepted", accepted)];
    steps.extend(queued.iter().map(|QueuePlace { after, place }| {
        step(*after, "queued", format!("queue: place {place}"))
    }));
    steps.extend(replaced.iter().map(|it| step(it.after, "replaced", failure(it))));
    if let Some(after) = record.leased {
        steps.push(step(after, "leased", lease(record)));
        // With others before it, it is unknown which of them was dialled for so long.
        if let Some(dial) = record.connect.filter(|_| replaced.is_empty()) {
            let detail = format!("connected to it, within {:.1}ms", dial.as_secs_f64() * 1e3);
            steps.push(step(after + dial, "connected", detail));
        }
    }
    if let Some(after) = record.first_byte {
        steps.push(step(after, "first-byte", "the container's first byte".to_owned()));
    }
    let moved = format!("{} bytes in, {} bytes out", record.bytes_in, record.bytes_out);
    steps.push(match ended {
        Some(_) => {
            let why = record.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let detail = format!("{} {}{why}; {moved}", record.end, record.end.in_words());
            step(record.total, "ended", detail)
        }
        None if record.leased.is_none() => {
            step(record.total, "now", "it waits for a container".to_owned())
        }
        None => step(record.total, "now", format!("it is connected; {moved}")),
    });
    steps.sort_by(|a, b| a.after_seconds.total_cmp(&b.after_seconds));
    steps
}

fn lease(record: &ConnRecord) -> String {
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let container = text(record.container.as_deref().map(|id| short_id(id).to_owned()));
    let daemon = text(record.daemon.as_ref().map(ToString::to_string));
    let start = text(record.start.map(|start| start.to_string()));
    let launch = text(record.launch.map(|launch| launch.to_string()));
    let mut detail = format!("leased container {container} (launch {launch}) on {daemon}, {start}");
    if let Some((uses, most)) = record.uses {
        detail += &format!(", use {uses} of {most}");
    }
    match record.ready {
        None => {}
        Some(0 | 1) => detail += "; no other was ready",
        Some(ready) => detail += &format!("; first of {ready} that were ready"),
    }
    detail
}

fn failure(replaced: &ReplacedContainer) -> String {
    let ReplacedContainer { container, daemon, end, reason, .. } = replaced;
    let container = container.as_deref().map_or("-", short_id);
    let daemon = daemon.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let why = reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!("container {container} on {daemon} failed before its first byte: {end}{why}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_became_of_a_connection_is_told_in_order() {
        let client = ([192, 0, 2, 1], 9).into();
        let mut record = ConnRecord::new(ConnId(7), "echo".into(), client);
        record.container = Some("0123456789abcdef".into());
        record.daemon = Some("two".into());
        record.leased = Some(Duration::from_millis(30));
        record.ready = Some(3);
        record.total = Duration::from_secs(2);
        record.first_byte = Some(Duration::from_millis(40));
        let failed = ReplacedContainer {
            id: ConnId(7),
            service: "echo".into(),
            client,
            container: None,
            launch: None,
            daemon: Some("one".into()),
            after: Duration::from_millis(20),
            end: record.end,
            reason: Some("it hangs".to_owned()),
            remains: None,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(3);
        let place = |millis, place| QueuePlace { after: Duration::from_millis(millis), place };
        let queued = vec![place(1, 3), place(21, 1)];
        let (record, replaced) = (Arc::new(record), vec![failed]);
        let trace = SessionTrace { record, queued, replaced, ended: Some(at) };
        let timeline = SessionTimeline::from(&trace);
        assert_eq!(timeline.accepted, "1970-01-01T00:00:01.000Z");
        let steps: Vec<_> = timeline.steps.iter().map(|step| step.what.as_str()).collect();
        let (waited, replaced) = (["accepted", "queued"], ["replaced", "queued"]);
        assert_eq!(steps, [&waited[..], &replaced, &["leased", "first-byte", "ended"]].concat());
        assert_eq!(timeline.steps[1].detail, "queue: place 3");
        assert!(
            timeline.steps[2].detail.ends_with("on one failed before its first byte: --: it hangs")
        );
        assert!(timeline.steps[4].detail.ends_with("; first of 3 that were ready"));
        let now = SessionTimeline::from(&SessionTrace { ended: None, ..trace });
        assert_eq!((now.end, now.steps.last().unwrap().what.as_str()), (None, "now"));
    }
}
