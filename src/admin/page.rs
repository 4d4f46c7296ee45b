//! The status page, for people with a browser: useful as it is sent, live with its script.

mod confirm;
mod export;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytesize::ByteSize;
use ganger_pool::core::short_id;
use sha2::{Digest, Sha256};

use super::access::{Access, Actor};
use super::failures::FailureBundle;
use super::feed::Happening;
use super::latencies::Percentiles;
use super::problem::Problem;
use super::view::{About, Condition, DaemonStatus, ServiceStatus, SessionStatus};
use super::{AdminShared, ServerState};
use crate::chart;

/// The most sessions, failures and events that the page shows.
const SESSIONS: usize = 200;
const FAILURES: usize = 20;
const EVENTS: usize = 50;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const STARTING: &str = include_str!("page/starting.html");
const ICON: &str = include_str!("page/icon.svg");

#[derive(Template)]
#[template(path = "page.html")]
struct StatusPage {
    about: About,
    up: String,
    now: String,
    style: &'static str,
    script: &'static str,
    icon: &'static str,
    session_count: usize,
    can_login: bool,
    service_columns: usize,
    services: Vec<ServiceRow>,
    daemons: Vec<DaemonRow>,
    sessions: Vec<SessionRow>,
    more_sessions: usize,
    failures: Vec<FailureBundle>,
    more_failures: usize,
    events: Vec<Happening>,
    reload_at: String,
    reload_taken: bool,
}

struct ServiceRow {
    status: ServiceStatus,
    tone: &'static str,
    is_used: bool,
    deadline: Option<String>,
    oldest: Option<String>,
    leases: u64,
    hit_rate: SortedCell,
    wait: SortedCell,
    first_byte: SortedCell,
    refused: u64,
    latest_rate: f64,
    spark: String,
}

struct DaemonRow {
    status: DaemonStatus,
    tone: &'static str,
    is_used: bool,
    deadline: Option<String>,
    containers: u32,
    start: SortedCell,
    /// The last failure, where the reason of its state is another.
    last_error: Option<String>,
}

struct SessionRow {
    status: SessionStatus,
    container: Option<String>,
    age: String,
    received: String,
    sent: String,
}

/// The text of a cell, and the number that its column is sorted by. Both are empty where nothing is known.
#[derive(Default)]
struct SortedCell {
    text: String,
    value: String,
}

/// A file that the page loads, under a name that changes when it does.
struct Asset {
    path: String,
    media_type: &'static str,
    text: &'static str,
}

/// The page and what belongs to it.
pub(super) fn routes() -> Router<Arc<AdminShared>> {
    Router::new()
        .route("/", get(page))
        .route("/login", get(login))
        .route("/assets/{name}", get(asset))
        .merge(confirm::routes())
        .merge(export::routes())
}

async fn page(State(admin): ServerState, Extension(access): Extension<Access>) -> Response {
    rendered(&StatusPage::of(&admin, access).await)
}

/// The page while the process starts.
pub(super) async fn starting() -> (StatusCode, Html<&'static str>) {
    (StatusCode::SERVICE_UNAVAILABLE, Html(STARTING))
}

/// Has the browser ask for the token, which it shows from then on.
async fn login(_: Actor) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, "/")]).into_response()
}

async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = assets().iter().find(|asset| asset.path.rsplit('/').next() == Some(name.as_str()));
    let asset = found.ok_or_else(|| Problem::absent(format!("there is no file {name:?}")))?;
    let headers = [
        (CONTENT_TYPE, asset.media_type),
        // Another file has another name.
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.text).into_response())
}

fn rendered(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(error = error.to_string(), "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The style, the script and the icon.
fn assets() -> &'static [Asset; 3] {
    static ASSETS: OnceLock<[Asset; 3]> = OnceLock::new();
    ASSETS.get_or_init(|| {
        [
            ("css", "text/css; charset=utf-8", STYLE),
            ("js", "text/javascript; charset=utf-8", SCRIPT),
            ("svg", "image/svg+xml", ICON),
        ]
        .map(|(kind, media_type, text)| {
            let digest = Sha256::digest(text);
            let name: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
            Asset { path: format!("/assets/{name}.{kind}"), media_type, text }
        })
    })
}

// === impl StatusPage ===

impl StatusPage {
    async fn of(admin: &AdminShared, access: Access) -> Self {
        let [style, script, icon] = assets();
        let (about, reload) = (admin.about(access), admin.subject.last_reload());
        let services = admin.services().await;
        let services = services.into_iter().map(|status| ServiceRow::of(status, admin)).collect();
        let daemons = admin.daemons().await.into_iter().map(DaemonRow::of).collect();
        let mut sessions = admin.sessions();
        let more_sessions = sessions.len().saturating_sub(SESSIONS);
        sessions.truncate(SESSIONS);
        let mut failures = admin.failures.latest();
        let more_failures = failures.len().saturating_sub(FAILURES);
        failures.truncate(FAILURES);
        let events = admin.feed.happenings().into_iter().rev().take(EVENTS).collect();
        Self {
            up: coarse(about.uptime_seconds),
            now: at(SystemTime::now()),
            style: &style.path,
            script: &script.path,
            icon: &icon.path,
            session_count: sessions.len() + more_sessions,
            can_login: admin.can_login,
            service_columns: if about.may_act { 13 } else { 12 },
            services,
            daemons,
            sessions: sessions.into_iter().map(SessionRow::of).collect(),
            more_sessions,
            failures,
            more_failures,
            events,
            reload_at: at(reload.at),
            reload_taken: reload.taken,
            about,
        }
    }
}

// === impl ServiceRow ===

impl ServiceRow {
    fn of(status: ServiceStatus, admin: &AdminShared) -> Self {
        let leases = status.leases;
        let (hits, all) = (leases.warm + leases.reused, leases.warm + leases.reused + leases.cold);
        let rates = admin.trend.rates(&status.name);
        let latest = rates.last().copied().flatten().unwrap_or_default();
        let most = rates.iter().flatten().copied().fold(0.0, f64::max);
        let words = format!("{latest} leases a second now, at most {most} in the last ten minutes");
        Self {
            tone: tone(status.state),
            is_used: !matches!(status.state, Condition::Drain | Condition::Maint),
            deadline: status.deadline_seconds.map(coarse),
            oldest: status.oldest_wait_seconds.map(fine),
            leases: all,
            hit_rate: share(hits, all),
            wait: both(status.wait),
            first_byte: both(status.first_byte),
            refused: status.refused.values().sum(),
            latest_rate: latest,
            spark: chart::spark(&rates, &words),
            status,
        }
    }
}

// === impl DaemonRow ===

impl DaemonRow {
    fn of(status: DaemonStatus) -> Self {
        Self {
            tone: tone(status.state),
            is_used: !matches!(status.state, Condition::Drain | Condition::Maint),
            deadline: status.deadline_seconds.map(coarse),
            containers: status.containers.by_word().iter().map(|(_, count)| count).sum(),
            start: status.start_seconds.map(|s| SortedCell::new(fine(s), s)).unwrap_or_default(),
            last_error: status.last_error.clone().filter(|_| status.last_error != status.reason),
            status,
        }
    }
}

// === impl SortedCell ===

impl SortedCell {
    fn new(text: String, value: f64) -> Self {
        Self { text, value: value.to_string() }
    }
}

// === impl SessionRow ===

impl SessionRow {
    fn of(status: SessionStatus) -> Self {
        let bytes = |count| ByteSize(count).display().iec().to_string();
        Self {
            container: status.container.as_deref().map(|id| short_id(id).to_owned()),
            age: coarse(status.age_seconds),
            received: bytes(status.in_bytes),
            sent: bytes(status.out_bytes),
            status,
        }
    }
}

/// The style of a state, besides its word.
const fn tone(state: Condition) -> &'static str {
    match state {
        Condition::Ready | Condition::Up => "good",
        Condition::Filling | Condition::Joining => "busy",
        Condition::Failing | Condition::Degraded => "warn",
        Condition::Refusing | Condition::Down => "bad",
        Condition::Drain | Condition::Maint | Condition::Leaving => "off",
    }
}

/// A date and a time, by UTC.
fn at(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Whole seconds and more.
fn coarse(seconds: f64) -> String {
    humantime::format_duration(Duration::from_secs(seconds as u64)).to_string()
}

/// Three digits and a unit.
fn fine(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

/// Both, to be sorted by the first.
fn both(percentiles: Option<Percentiles>) -> SortedCell {
    let cell = |of: Percentiles| {
        let text = format!("{}, {}", fine(of.p50_seconds), fine(of.p99_seconds));
        SortedCell::new(text, of.p50_seconds)
    };
    percentiles.map(cell).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a share with one decimal")]
fn share(of: u64, all: u64) -> SortedCell {
    let share = of as f64 / all as f64;
    let known = (all > 0).then(|| SortedCell::new(format!("{:.1} %", share * 100.0), share));
    known.unwrap_or_default()
}
