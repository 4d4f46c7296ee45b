//! The paths, and what each answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use ganger_pool::core::{DaemonView, ServiceView};
use tokio::time::Instant;

use super::access::{self, Access, AccessRules};
use super::changes;
use super::engines::EngineFacts;
use super::events::events;
use super::metrics::{Exposition, MetricsReading};
use super::page;
use super::problem::Problem;
use super::query::{ListQuery, Params};
use super::view::{
    About, ContainerCounts, ContainerStatus, DaemonStatus, ServiceStatus, SessionStatus, Status,
};
use super::{AdminShared, ServerState};

/// The largest body of a request, in bytes.
pub(super) const LARGEST: usize = 64 << 10;

/// All paths that there are.
pub(super) fn routes(admin: Arc<AdminShared>, rules: Arc<AccessRules>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/readyz/{service}", get(service_readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/version", get(version))
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(events))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{service}", get(service))
        .route("/api/v1/daemons", get(daemons))
        .route("/api/v1/daemons/{daemon}", get(daemon))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/sessions/{id}", get(session).delete(changes::cut))
        .route("/api/v1/containers", get(containers))
        .route("/api/v1/containers/{launch}", get(container))
        .merge(changes::routes())
        .merge(page::routes())
        .fallback(async || Problem::absent("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || Problem::method())
        .with_state(admin)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(from_fn_with_state(rules, access::admit))
}

// === impl AdminShared ===

impl AdminShared {
    pub(super) fn about(&self, access: Access) -> About {
        let origin = &self.origin;
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: origin.instance.clone(),
            boot: origin.boot.clone(),
            pid: std::process::id(),
            uptime_seconds: origin.since.elapsed().unwrap_or_default().as_secs_f64(),
            stopping: self.subject.is_stopping(),
            may_act: access.may_act(),
        }
    }

    pub(super) async fn services(&self) -> Vec<ServiceStatus> {
        let (snapshot, notes) = (self.snapshot().await, self.subject.notes());
        let told = |view: &ServiceView| {
            let mut status = ServiceStatus::from(view);
            [status.wait, status.first_byte] = self.latencies.of(&status.name);
            status.is_scaled = notes.scaled.contains(&view.name);
            status.deadline_seconds = notes.service_deadlines.get(&view.name).map(left);
            status
        };
        snapshot.services.iter().map(told).collect()
    }

    pub(super) async fn daemons(&self) -> Vec<DaemonStatus> {
        let (snapshot, notes) = (self.snapshot().await, self.subject.notes());
        let mut facts = self.engines.facts();
        let mut told = |view: &DaemonView| {
            let mut status = DaemonStatus::from(view);
            let EngineFacts { version, start, last_error } =
                facts.remove(&view.name).unwrap_or_default();
            status.engine = version.map(|version| version.to_string());
            status.start_seconds = start.map(|start| start.as_secs_f64());
            status.last_error = last_error.map(|error| error.to_string());
            status.deadline_seconds = notes.daemon_deadlines.get(&view.name).map(left);
            status
        };
        snapshot.daemons.iter().map(&mut told).collect()
    }

    pub(super) fn containers(&self) -> Vec<ContainerStatus> {
        self.subject.containers()
    }

    pub(super) fn sessions(&self) -> Vec<SessionStatus> {
        self.subject.sessions().list().into_iter().map(SessionStatus::from).collect()
    }
}

/// What is left until then, in seconds.
fn left(deadline: &Instant) -> f64 {
    deadline.saturating_duration_since(Instant::now()).as_secs_f64()
}

/// Whether everybody can be sent here: 503 as soon as it was told to stop, and where a service
/// refuses that nobody has drained. With `?verbose` a line for each service.
async fn readyz(State(admin): ServerState, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let services = admin.services().await;
    let stopping = admin.subject.is_stopping();
    let ready = !stopping && !services.iter().any(ServiceStatus::is_refusing);
    let mut said = String::new();
    let verbose = query.is_some_and(|query| query.split('&').any(|word| word == "verbose"));
    for service in services.iter().filter(|service| verbose || service.is_refusing()) {
        said.push_str(&line(service));
    }
    if stopping {
        said.push_str("stopping\n");
    } else if ready {
        said.push_str("ok\n");
    }
    (code(ready), said)
}

async fn service_readyz(
    State(admin): ServerState,
    Path(name): Path<String>,
) -> Result<(StatusCode, String), Problem> {
    let service = service_of(&admin, &name).await?;
    let ready = service.is_serving() && !admin.subject.is_stopping();
    Ok((code(ready), line(&service)))
}

fn code(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn line(service: &ServiceStatus) -> String {
    let mut line = format!("{} {}", service.name, service.state);
    if let Some(reason) = &service.reason {
        _ = write!(line, ": {reason}");
    }
    line.push('\n');
    line
}

/// All metrics, as OpenMetrics where that is accepted, else in Prometheus' own text.
async fn metrics(State(admin): ServerState, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let exposition = Exposition::accepted(accept);
    let mut containers = BTreeMap::<_, ContainerCounts>::new();
    for it in admin.containers() {
        containers.entry((it.service, it.daemon)).or_default().add(&it.state);
    }
    let reading = MetricsReading {
        pool: admin.snapshot().await,
        containers,
        proxy: admin.subject.counts(),
        reload: Some(admin.subject.last_reload()),
        certificates: admin.subject.certificates(),
    };
    let said = admin.metrics.encode(reading, exposition);
    ([(CONTENT_TYPE, exposition.media_type())], said).into_response()
}

async fn version(State(admin): ServerState, Extension(access): Extension<Access>) -> Json<About> {
    Json(admin.about(access))
}

async fn status(State(admin): ServerState, Extension(access): Extension<Access>) -> Json<Status> {
    let (services, daemons) = (admin.services().await, admin.daemons().await);
    Json(Status { about: admin.about(access), services, daemons, sessions: admin.sessions().len() })
}

async fn services(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/services", admin.services().await)
}

async fn service(
    State(admin): ServerState,
    Path(name): Path<String>,
) -> Result<Json<ServiceStatus>, Problem> {
    service_of(&admin, &name).await.map(Json)
}

async fn service_of(admin: &AdminShared, name: &str) -> Result<ServiceStatus, Problem> {
    let found = admin.services().await.into_iter().find(|service| service.name == name);
    found.ok_or_else(|| Problem::absent(format!("there is no service {name:?}")))
}

async fn daemons(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/daemons", admin.daemons().await)
}

async fn daemon(
    State(admin): ServerState,
    Path(name): Path<String>,
) -> Result<Json<DaemonStatus>, Problem> {
    let found = admin.daemons().await.into_iter().find(|daemon| daemon.name == name);
    found.map(Json).ok_or_else(|| Problem::absent(format!("there is no daemon {name:?}")))
}

async fn containers(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/containers", admin.containers())
}

async fn container(
    State(admin): ServerState,
    Path(launch): Path<String>,
) -> Result<Json<ContainerStatus>, Problem> {
    let found = admin.containers().into_iter().find(|it| it.launch.to_string() == launch);
    found.map(Json).ok_or_else(|| Problem::absent(format!("there is no container {launch:?}")))
}

async fn sessions(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/sessions", admin.sessions())
}

async fn session(
    State(admin): ServerState,
    Path(id): Path<String>,
) -> Result<Json<SessionStatus>, Problem> {
    let number = id.parse::<u64>().ok();
    let found = admin.sessions().into_iter().find(|session| Some(session.id) == number);
    found.map(Json).ok_or_else(|| no_session(&id))
}

fn no_session(id: &str) -> Problem {
    Problem::absent(format!("there is no connection {id:?}, or it has ended"))
}
