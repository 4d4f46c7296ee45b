//! The paths, and what each answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use ganger_pool::core::{DaemonView, ServiceView};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{self, Access, AccessRules, Gate};
use super::body;
use super::engines::KnownDaemon;
use super::metrics::{Exposition, MetricsReading};
use super::page;
use super::problem::Problem;
use super::query::{ListQuery, Params, Segment};
use super::timeline;
use super::view::{
    About, ContainerCounts, ContainerStatus, DaemonStatus, ServiceStatus, SessionStatus, Status,
};
use super::{AdminShared, ServerState, changes, config_status, events, failures, openapi};
use crate::legible::legible;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::written(described().into_openapi()));

/// The description of all paths as OpenAPI 3.1, in JSON.
#[must_use]
pub fn openapi_json() -> String {
    DOCUMENT.clone()
}

/// All paths that there are, as they are described.
pub(super) fn routes(admin: Arc<AdminShared>, rules: AccessRules) -> Router {
    let (paths, _) = described().split_for_parts();
    paths
        .merge(page::routes())
        .fallback(async || Problem::absent("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || Problem::method())
        .with_state(admin)
        .layer(from_fn(body::in_time))
        .layer(from_fn_with_state(Arc::new(Gate::of(rules)), access::admit))
}

/// The paths that are answered while the process starts.
pub(super) fn starting(rules: AccessRules) -> Router {
    Router::new()
        .route("/livez", axum::routing::get(livez))
        .route("/readyz", axum::routing::get(not_ready))
        .route("/readyz/{service}", axum::routing::get(not_ready))
        .route("/", axum::routing::get(page::starting))
        .fallback(async || Problem::starting())
        .layer(from_fn_with_state(Arc::new(Gate::of(rules)), access::admit))
}

/// All paths of the interface, each with its description: what is not here is not answered.
fn described() -> OpenApiRouter<Arc<AdminShared>> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(service_readyz))
        .routes(routes!(metrics))
        .routes(routes!(document))
        .routes(routes!(version))
        .routes(routes!(status))
        .routes(routes!(events::events))
        .routes(routes!(config_status::config))
        .routes(routes!(services))
        .routes(routes!(service))
        .routes(routes!(daemons))
        .routes(routes!(daemon))
        .routes(routes!(sessions))
        .routes(routes!(session, changes::cut))
        .routes(routes!(timeline::timeline))
        .routes(routes!(containers))
        .routes(routes!(container))
        .routes(routes!(failures::failures))
        .routes(routes!(failures::failure))
        .merge(changes::described())
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
            [status.wait, status.first_byte] = self.latencies.of(&view.name);
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
            let KnownDaemon { version, start, last_error } =
                facts.remove(&view.name).unwrap_or_default();
            status.engine = version.map(|version| version.to_string());
            status.start_seconds = start.map(|start| start.as_secs_f64());
            status.last_error = last_error.map(|error| error.to_string());
            status.deadline_seconds = notes.daemon_deadlines.get(&view.name).map(left);
            status
        };
        snapshot.daemons.iter().map(&mut told).collect()
    }

    pub(super) fn sessions(&self) -> Vec<SessionStatus> {
        self.subject.sessions().list().into_iter().map(SessionStatus::from).collect()
    }
}

/// The time left, in whole seconds: readers of events are told of each change.
fn left(deadline: &Instant) -> f64 {
    deadline.saturating_duration_since(Instant::now()).as_secs_f64().ceil()
}

/// That the process answers.
#[utoipa::path(get, path = "/livez", tag = "health",
    responses((status = 200, description = "It answers", body = String, content_type = "text/plain")))]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether everybody can be sent here: 503 as soon as it was told to stop, and where a service
/// refuses that nobody has drained. With `?verbose` a line for each service. Who may not learn what there
/// is hears `ok` or `not ready`.
#[utoipa::path(get, path = "/readyz", tag = "health",
    params(("verbose" = Option<String>, Query, description = "Tell each service, however it is")),
    responses((status = 200, description = "Everybody is served", body = String, content_type = "text/plain"),
        (status = 503, description = "It is stopping, or a service refuses", body = String, content_type = "text/plain")))]
async fn readyz(
    State(admin): ServerState,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> (StatusCode, String) {
    let services = admin.services().await;
    let stopping = admin.subject.is_stopping();
    let ready = !stopping && !services.iter().any(ServiceStatus::is_refusing);
    if !access.may_look() {
        return (code(ready), if ready { "ok\n" } else { "not ready\n" }.to_owned());
    }
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

/// Whether clients of one service can be sent here.
#[utoipa::path(get, path = "/readyz/{service}", tag = "health",
    params(("service" = String, Path, description = "Its name")),
    responses((status = 200, description = "It serves", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not serve, or the process is stopping", body = String, content_type = "text/plain")))]
async fn service_readyz(
    State(admin): ServerState,
    Segment(name): Segment,
) -> Result<(StatusCode, String), Problem> {
    let service = service_of(&admin, &name).await?;
    let ready = service.is_serving() && !admin.subject.is_stopping();
    Ok((code(ready), line(&service)))
}

async fn not_ready() -> (StatusCode, &'static str) {
    (code(false), "starting\n")
}

fn code(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn line(service: &ServiceStatus) -> String {
    let mut line = format!("{} {}", service.name, service.state);
    if let Some(reason) = &service.reason {
        // A line break in a reason would look like another service.
        _ = write!(line, ": {}", legible(reason));
    }
    line.push('\n');
    line
}

/// All metrics, as OpenMetrics where that is accepted, else in Prometheus' own text.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "All metrics", content((String = "text/plain"), (String = "application/openmetrics-text")))))]
async fn metrics(State(admin): ServerState, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let exposition = Exposition::accepted(accept);
    let mut containers = BTreeMap::<_, ContainerCounts>::new();
    for it in admin.containers().await.iter() {
        let of = (it.service.clone(), it.daemon.clone());
        containers.entry(of).or_default().add(&it.state);
    }
    let asked = Arc::clone(&admin);
    let certificates = admin.certificates.read(move || asked.subject.certificates()).await;
    if certificates.is_none() {
        tracing::warn!("the files of certificates cannot be read in time: metrics leave them out");
    }
    let reading = MetricsReading {
        pool: admin.snapshot().await,
        containers,
        proxy: admin.subject.counts(),
        connections_max: admin.subject.connections_max(),
        sources: admin.subject.sources(),
        reload: Some(admin.subject.last_reload()),
        certificates: certificates.unwrap_or_default(),
    };
    let said = admin.metrics.encode(reading, exposition);
    ([(CONTENT_TYPE, exposition.media_type())], said).into_response()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The process.
#[utoipa::path(get, path = "/api/v1/version", tag = "status",
    responses((status = 200, description = "The process", body = About)))]
async fn version(State(admin): ServerState, Extension(access): Extension<Access>) -> Json<About> {
    Json(admin.about(access))
}

/// All at a glance.
#[utoipa::path(get, path = "/api/v1/status", tag = "status",
    responses((status = 200, description = "All at a glance", body = Status)))]
async fn status(State(admin): ServerState, Extension(access): Extension<Access>) -> Json<Status> {
    let (services, daemons) = (admin.services().await, admin.daemons().await);
    let (sessions, sessions_max) =
        (admin.subject.sessions().count(), admin.subject.connections_max());
    Json(Status { about: admin.about(access), services, daemons, sessions, sessions_max })
}

/// All services, or some of them.
#[utoipa::path(get, path = "/api/v1/services", tag = "services",
    params(ListQuery),
    responses((status = 200, description = "Those that were asked for", body = Vec<ServiceStatus>, headers(("Link" = Option<String>, description = "Leads to the next part, where there is one")))))]
async fn services(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/services", admin.services().await)
}

/// One service.
#[utoipa::path(get, path = "/api/v1/services/{service}", tag = "services",
    params(("service" = String, Path, description = "Its name")),
    responses((status = 200, description = "How it is", body = ServiceStatus)))]
async fn service(
    State(admin): ServerState,
    Segment(name): Segment,
) -> Result<Json<ServiceStatus>, Problem> {
    service_of(&admin, &name).await.map(Json)
}

async fn service_of(admin: &AdminShared, name: &str) -> Result<ServiceStatus, Problem> {
    let found = admin.services().await.into_iter().find(|service| service.name == name);
    found.ok_or_else(|| Problem::absent(format!("there is no service {name:?}")))
}

/// All daemons, or some of them.
#[utoipa::path(get, path = "/api/v1/daemons", tag = "daemons",
    params(ListQuery),
    responses((status = 200, description = "Those that were asked for", body = Vec<DaemonStatus>, headers(("Link" = Option<String>, description = "Leads to the next part, where there is one")))))]
async fn daemons(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/daemons", admin.daemons().await)
}

/// One daemon.
#[utoipa::path(get, path = "/api/v1/daemons/{daemon}", tag = "daemons",
    params(("daemon" = String, Path, description = "Its name")),
    responses((status = 200, description = "How it is", body = DaemonStatus)))]
async fn daemon(
    State(admin): ServerState,
    Segment(name): Segment,
) -> Result<Json<DaemonStatus>, Problem> {
    let found = admin.daemons().await.into_iter().find(|daemon| daemon.name == name);
    found.map(Json).ok_or_else(|| Problem::absent(format!("there is no daemon {name:?}")))
}

/// All containers, or some of them.
#[utoipa::path(get, path = "/api/v1/containers", tag = "containers",
    params(ListQuery),
    responses((status = 200, description = "Those that were asked for", body = Vec<ContainerStatus>, headers(("Link" = Option<String>, description = "Leads to the next part, where there is one")))))]
async fn containers(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/containers", admin.containers().await.to_vec())
}

/// One container.
#[utoipa::path(get, path = "/api/v1/containers/{launch}", tag = "containers",
    params(("launch" = u64, Path, description = "The number of its launch")),
    responses((status = 200, description = "How it is", body = ContainerStatus)))]
async fn container(
    State(admin): ServerState,
    Segment(launch): Segment,
) -> Result<Json<ContainerStatus>, Problem> {
    let all = admin.containers().await;
    let found = all.iter().find(|it| it.launch.to_string() == launch);
    found
        .cloned()
        .map(Json)
        .ok_or_else(|| Problem::absent(format!("there is no container {launch:?}")))
}

/// All connections, or some of them.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions",
    params(ListQuery),
    responses((status = 200, description = "Those that were asked for", body = Vec<SessionStatus>, headers(("Link" = Option<String>, description = "Leads to the next part, where there is one")))))]
async fn sessions(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/sessions", admin.sessions())
}

/// One connection.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "sessions",
    params(("id" = u64, Path, description = "The number of the connection")),
    responses((status = 200, description = "How it is", body = SessionStatus)))]
async fn session(
    State(admin): ServerState,
    Segment(id): Segment,
) -> Result<Json<SessionStatus>, Problem> {
    let number = id.parse::<u64>().ok();
    let found = admin.sessions().into_iter().find(|session| Some(session.id) == number);
    found.map(Json).ok_or_else(|| Problem::no_connection(&id))
}
