//! The paths, and what each answers.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

use super::Desk;
use super::problem::Problem;
use super::socket::SocketPeer;
use super::view::{About, DaemonStatus, ServiceStatus, SessionStatus, Status};
use crate::proxy::ConnId;

type AtDesk = State<Arc<Desk>>;

/// All paths that there are.
pub(super) fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/readyz/{service}", get(service_readyz))
        .route("/api/v1/version", get(version))
        .route("/api/v1/status", get(status))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{service}", get(service))
        .route("/api/v1/daemons", get(daemons))
        .route("/api/v1/daemons/{daemon}", get(daemon))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/sessions/{id}", get(session).delete(cut))
        .fallback(async || Problem::absent("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || Problem::method())
        .with_state(desk)
}

// === impl Desk ===

impl Desk {
    fn about(&self) -> About {
        let origin = &self.origin;
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: origin.instance.clone(),
            boot: origin.boot.clone(),
            pid: std::process::id(),
            uptime_seconds: origin.since.elapsed().unwrap_or_default().as_secs_f64(),
            stopping: self.subject.is_stopping(),
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
async fn readyz(State(desk): AtDesk, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let services = desk.services().await;
    let stopping = desk.subject.is_stopping();
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
    State(desk): AtDesk,
    Path(name): Path<String>,
) -> Result<(StatusCode, String), Problem> {
    let service = service_of(&desk, &name).await?;
    let ready = service.is_serving() && !desk.subject.is_stopping();
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

async fn version(State(desk): AtDesk) -> Json<About> {
    Json(desk.about())
}

async fn status(State(desk): AtDesk) -> Json<Status> {
    let (services, daemons) = (desk.services().await, desk.daemons().await);
    Json(Status { about: desk.about(), services, daemons, sessions: desk.sessions().len() })
}

async fn services(State(desk): AtDesk) -> Json<Vec<ServiceStatus>> {
    Json(desk.services().await)
}

async fn service(
    State(desk): AtDesk,
    Path(name): Path<String>,
) -> Result<Json<ServiceStatus>, Problem> {
    service_of(&desk, &name).await.map(Json)
}

async fn service_of(desk: &Desk, name: &str) -> Result<ServiceStatus, Problem> {
    let found = desk.services().await.into_iter().find(|service| service.name == name);
    found.ok_or_else(|| Problem::absent(format!("there is no service {name:?}")))
}

async fn daemons(State(desk): AtDesk) -> Json<Vec<DaemonStatus>> {
    Json(desk.daemons().await)
}

async fn daemon(
    State(desk): AtDesk,
    Path(name): Path<String>,
) -> Result<Json<DaemonStatus>, Problem> {
    let found = desk.daemons().await.into_iter().find(|daemon| daemon.name == name);
    found.map(Json).ok_or_else(|| Problem::absent(format!("there is no daemon {name:?}")))
}

async fn sessions(State(desk): AtDesk) -> Json<Vec<SessionStatus>> {
    Json(desk.sessions())
}

async fn session(
    State(desk): AtDesk,
    Path(id): Path<String>,
) -> Result<Json<SessionStatus>, Problem> {
    let number = id.parse::<u64>().ok();
    let found = desk.sessions().into_iter().find(|session| Some(session.id) == number);
    found.map(Json).ok_or_else(|| no_session(&id))
}

/// Cuts a connection. One that has ended meanwhile is as good as cut, but nobody can tell it from
/// one that never was.
async fn cut(
    State(desk): AtDesk,
    ConnectInfo(peer): ConnectInfo<SocketPeer>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let number = id.parse().map(ConnId).map_err(|_| no_session(&id))?;
    if !desk.subject.sessions().cut(number) {
        return Err(no_session(&id));
    }
    tracing::info!(
        conn = number.0,
        uid = peer.uid,
        pid = peer.pid,
        "a connection is cut, as the admin socket was asked to"
    );
    Ok(StatusCode::NO_CONTENT)
}

fn no_session(id: &str) -> Problem {
    Problem::absent(format!("there is no connection {id:?}, or it has ended"))
}
