//! The paths by which something is changed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use ganger_pool::core::{AdminState, LaunchId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::access::Actor;
use super::feed::Happening;
use super::order::{AdminOrder, Ordered};
use super::problem::Problem;
use super::query::Params;
use super::{AdminShared, ServerState};
use crate::proxy::ConnId;

type Answer = Result<Json<Ordered>, Problem>;

/// The longest that leases may be given to end: what is longer is no deadline.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A body in JSON; an empty one is an empty object.
struct Body<T>(T);

/// How many containers a service is to have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleBody {
    warm: Option<u32>,
    max: Option<u32>,
}

/// Whether a service or a daemon is to be used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewState {
    state: StateWord,
    deadline_seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateWord {
    Ready,
    Drain,
    Maint,
}

/// How the configuration is to be read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadQuery {
    #[serde(default)]
    dry_run: Option<Flag>,
}

/// `?dry_run`, `?dry_run=true` or `?dry_run=false`.
#[derive(Debug, Clone, Copy, Deserialize)]
enum Flag {
    #[serde(rename = "", alias = "true")]
    Set,
    #[serde(rename = "false")]
    Unset,
}

/// All of them.
pub(super) fn routes() -> Router<Arc<AdminShared>> {
    Router::new()
        .route("/api/v1/services/{service}/scale", post(scale))
        .route("/api/v1/services/{service}/state", post(service_state))
        .route("/api/v1/services/{service}/roll", post(roll))
        .route("/api/v1/services/{service}/rollback", post(roll_back))
        .route("/api/v1/daemons/{daemon}/state", post(daemon_state))
        .route("/api/v1/containers/{launch}/retire", post(retire))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/drain", post(drain))
}

async fn scale(
    State(admin): ServerState,
    actor: Actor,
    Path(service): Path<String>,
    Body(ScaleBody { warm, max }): Body<ScaleBody>,
) -> Answer {
    if warm.is_none() && max.is_none() {
        return Err(Problem::invalid("say `warm`, `max`, or both".to_owned()));
    }
    let service = service.as_str().into();
    admin.order(actor, AdminOrder::Scale { service, warm, max }).await
}

async fn service_state(
    State(admin): ServerState,
    actor: Actor,
    Path(service): Path<String>,
    Body(wanted): Body<NewState>,
) -> Answer {
    let (state, deadline) = wanted.checked()?;
    let service = service.as_str().into();
    admin.order(actor, AdminOrder::ServiceState { service, state, deadline }).await
}

async fn daemon_state(
    State(admin): ServerState,
    actor: Actor,
    Path(daemon): Path<String>,
    Body(wanted): Body<NewState>,
) -> Answer {
    let (state, deadline) = wanted.checked()?;
    let daemon = daemon.as_str().into();
    admin.order(actor, AdminOrder::DaemonState { daemon, state, deadline }).await
}

async fn roll(State(admin): ServerState, actor: Actor, Path(service): Path<String>) -> Answer {
    admin.order(actor, AdminOrder::Roll { service: service.as_str().into() }).await
}

async fn roll_back(State(admin): ServerState, actor: Actor, Path(service): Path<String>) -> Answer {
    admin.order(actor, AdminOrder::RollBack { service: service.as_str().into() }).await
}

async fn retire(State(admin): ServerState, actor: Actor, Path(launch): Path<String>) -> Answer {
    let number = launch.parse().map(LaunchId);
    let launch = number.map_err(|_| {
        Problem::absent(format!("there is no container {launch:?}: give its number"))
    })?;
    admin.order(actor, AdminOrder::Retire { launch }).await
}

async fn reload(
    State(admin): ServerState,
    actor: Actor,
    Params(query): Params<ReloadQuery>,
) -> Answer {
    let dry_run = matches!(query.dry_run, Some(Flag::Set));
    admin.order(actor, AdminOrder::Reload { dry_run }).await
}

async fn drain(State(admin): ServerState, actor: Actor) -> Answer {
    admin.order(actor, AdminOrder::Drain).await
}

/// Cuts a connection. One that has ended meanwhile is as good as cut, but nobody can tell it from
/// one that never was.
pub(super) async fn cut(
    State(admin): ServerState,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    cut_connection(&admin, actor, &id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The same, for whoever asks by another way.
pub(super) fn cut_connection(admin: &AdminShared, actor: Actor, id: &str) -> Result<(), Problem> {
    let absent = || Problem::absent(format!("there is no connection {id:?}, or it has ended"));
    let number = id.parse().map(ConnId).map_err(|_| absent())?;
    if !admin.subject.sessions().cut(number) {
        return Err(absent());
    }
    let detail = format!("connection {number}, by {actor}");
    admin.feed.tell(Happening::new("connection-cut", false, Some(detail)));
    tracing::info!(conn = number.0, by = %actor, "a connection is cut, as the admin server was asked to");
    Ok(())
}

// === impl AdminShared ===

impl AdminShared {
    /// Has an order carried out, and says so where that changed something.
    pub(super) async fn order(&self, actor: Actor, order: AdminOrder) -> Answer {
        let (kind, subject) = (order.kind(), order.subject());
        let ordered = self.subject.order(order).await?;
        // Whoever has ordered something is told what it came to.
        self.forget_copy().await;
        if ordered.changed {
            let on = subject.map_or_else(String::new, |subject| format!(" of {subject}"));
            let detail = format!("{kind}{on}: {}, by {actor}", ordered.detail);
            self.feed.tell(Happening::new("ordered", false, Some(detail)));
        }
        let (by, detail) = (actor.to_string(), &ordered.detail);
        tracing::info!(order = kind, by, detail, "the admin server was given an order");
        Ok(Json(ordered))
    }
}

// === impl NewState ===

impl NewState {
    fn checked(self) -> Result<(AdminState, Option<Duration>), Problem> {
        let state = match self.state {
            StateWord::Ready => AdminState::Ready,
            StateWord::Drain => AdminState::Drain,
            StateWord::Maint => AdminState::Maint,
        };
        if state.is_ready() && self.deadline_seconds.is_some() {
            let detail = "`deadline_seconds` is for `drain` and `maint`";
            return Err(Problem::invalid(detail.to_owned()));
        }
        let seconds = |seconds: f64| {
            let found = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST);
            let detail = || format!("`deadline_seconds` is 0 to {}", LONGEST.as_secs());
            found.ok_or_else(|| Problem::invalid(detail()))
        };
        Ok((state, self.deadline_seconds.map(seconds).transpose()?))
    }
}

// === impl Body ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(),
            _ => Problem::invalid(error.body_text()),
        })?;
        let text = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes[..] };
        let body = serde_json::from_slice(text);
        body.map(Self).map_err(|error| Problem::invalid(format!("the body is wrong: {error}")))
    }
}
