//! The paths, and what each answers.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};

use super::AdminState;
use super::access::{self, Access, AccessRules, Actor};
use super::events::events;
use super::feed::Happening;
use super::metrics::{Exposition, MetricsReading};
use super::problem::Problem;
use super::view::{About, DaemonStatus, ServiceStatus, SessionStatus, Status};
use crate::proxy::ConnId;

/// The largest body of a request, in bytes.
const LARGEST: usize = 64 << 10;

type Shared = State<Arc<AdminState>>;

/// All paths that there are.
pub(super) fn routes(admin: Arc<AdminState>, rules: Arc<AccessRules>) -> Router {
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
        .route("/api/v1/sessions/{id}", get(session).delete(cut))
        .fallback(async || Problem::absent("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || Problem::method())
        .with_state(admin)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(from_fn_with_state(rules, access::admit))
}

// === impl AdminState ===

impl AdminState {
    fn about(&self, access: Access) -> About {
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

    async fn services(&self) -> Vec<ServiceStatus> {
        self.snapshot().await.services.iter().map(ServiceStatus::from).collect()
    }

    async fn daemons(&self) -> Vec<DaemonStatus> {
        self.snapshot().await.daemons.iter().map(DaemonStatus::from).collect()
    }

    fn sessions(&self) -> Vec<SessionStatus> {
        self.subject.sessions().list().into_iter().map(SessionStatus::from).collect()
    }
}

/// Whether everybody can be sent here: 503 as soon as it was told to stop, and where a service
/// refuses. With `?verbose` a line for each service.
async fn readyz(State(admin): Shared, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let services = admin.services().await;
    let stopping = admin.subject.is_stopping();
    let ready = !stopping && services.iter().all(ServiceStatus::is_serving);
    let mut said = String::new();
    let verbose = query.is_some_and(|query| query.split('&').any(|word| word == "verbose"));
    for service in services.iter().filter(|service| verbose || !service.is_serving()) {
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
    State(admin): Shared,
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
async fn metrics(State(admin): Shared, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let exposition = Exposition::accepted(accept);
    let reading = MetricsReading {
        pool: admin.snapshot().await,
        proxy: admin.subject.counts(),
        reload: Some(admin.subject.last_reload()),
        certificates: admin.subject.certificates(),
    };
    let said = admin.metrics.encode(reading, exposition);
    ([(CONTENT_TYPE, exposition.media_type())], said).into_response()
}

async fn version(State(admin): Shared, Extension(access): Extension<Access>) -> Json<About> {
    Json(admin.about(access))
}

async fn status(State(admin): Shared, Extension(access): Extension<Access>) -> Json<Status> {
    let (services, daemons) = (admin.services().await, admin.daemons().await);
    Json(Status { about: admin.about(access), services, daemons, sessions: admin.sessions().len() })
}

async fn services(State(admin): Shared) -> Json<Vec<ServiceStatus>> {
    Json(admin.services().await)
}

async fn service(
    State(admin): Shared,
    Path(name): Path<String>,
) -> Result<Json<ServiceStatus>, Problem> {
    service_of(&admin, &name).await.map(Json)
}

async fn service_of(admin: &AdminState, name: &str) -> Result<ServiceStatus, Problem> {
    let found = admin.services().await.into_iter().find(|service| service.name == name);
    found.ok_or_else(|| Problem::absent(format!("there is no service {name:?}")))
}

async fn daemons(State(admin): Shared) -> Json<Vec<DaemonStatus>> {
    Json(admin.daemons().await)
}

async fn daemon(
    State(admin): Shared,
    Path(name): Path<String>,
) -> Result<Json<DaemonStatus>, Problem> {
    let found = admin.daemons().await.into_iter().find(|daemon| daemon.name == name);
    found.map(Json).ok_or_else(|| Problem::absent(format!("there is no daemon {name:?}")))
}

async fn sessions(State(admin): Shared) -> Json<Vec<SessionStatus>> {
    Json(admin.sessions())
}

async fn session(
    State(admin): Shared,
    Path(id): Path<String>,
) -> Result<Json<SessionStatus>, Problem> {
    let number = id.parse::<u64>().ok();
    let found = admin.sessions().into_iter().find(|session| Some(session.id) == number);
    found.map(Json).ok_or_else(|| no_session(&id))
}

/// Cuts a connection. One that has ended meanwhile is as good as cut, but nobody can tell it from
/// one that never was.
async fn cut(
    State(admin): Shared,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let number = id.parse().map(ConnId).map_err(|_| no_session(&id))?;
    if !admin.subject.sessions().cut(number) {
        return Err(no_session(&id));
    }
    let detail = format!("connection {}, by {actor}", number.0);
    admin.feed.tell(Happening::new("connection-cut", false, Some(detail)));
    tracing::info!(conn = number.0, by = %actor, "a connection is cut, as the admin server was asked to");
    Ok(StatusCode::NO_CONTENT)
}

fn no_session(id: &str) -> Problem {
    Problem::absent(format!("there is no connection {id:?}, or it has ended"))
}
