//! The paths by which something is changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use ganger_pool::core::{AdminState, LaunchId};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::Actor;
use super::feed::Happening;
use super::order::{AdminOrder, NotOrdered, Ordered};
use super::problem::Problem;
use super::query::{Params, Segment};
use super::{AdminShared, ServerState};
use crate::proxy::ConnId;

type ChangeAnswer = Result<Json<Ordered>, Problem>;

/// A body in JSON; an empty one is an empty object.
struct Body<T>(T);

/// How many containers a service is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ScaleBody {
    /// Ready containers.
    #[serde(default, deserialize_with = "whole")]
    #[schema(maximum = 4294967295_u32)]
    warm: Option<u32>,
    /// All containers.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 4294967295_u32)]
    max: Option<u32>,
}

/// A whole number, as JSON has it: `8.0` is one.
fn whole<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(source)? else { return Ok(None) };
    let text = number.to_string();
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    let read = if digits == "-0" { Ok(0) } else { digits.parse() };
    let expected = || D::Error::custom(format!("{text} is no whole number from 0 to {}", u32::MAX));
    read.map(Some).map_err(|_| expected())
}

/// Whether a service or a daemon is to be used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewState {
    /// Whether it is used.
    state: StateWord,
    /// Until leases are cut, of what is not `ready`; without it they go on until they end.
    #[schema(minimum = 0, maximum = 2592000)]
    deadline_seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StateWord {
    Ready,
    Drain,
    Maint,
}

/// How the configuration is to be read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReloadQuery {
    /// Say what would change, and change nothing.
    #[param(value_type = Option<String>)]
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

/// All paths but [`cut`].
pub(super) fn described() -> OpenApiRouter<Arc<AdminShared>> {
    OpenApiRouter::new()
        .routes(routes!(scale))
        .routes(routes!(service_state))
        .routes(routes!(roll))
        .routes(routes!(roll_back))
        .routes(routes!(daemon_state))
        .routes(routes!(retire))
        .routes(routes!(reload))
        .routes(routes!(drain))
}

/// Has a service keep so many containers ready, and have so many at most, until the next reload.
#[utoipa::path(post, path = "/api/v1/services/{service}/scale", tag = "services",
    params(("service" = String, Path, description = "Its name")),
    request_body = ScaleBody,
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn scale(
    State(admin): ServerState,
    actor: Actor,
    Segment(service): Segment,
    Body(ScaleBody { warm, max }): Body<ScaleBody>,
) -> ChangeAnswer {
    admin.order(actor, AdminOrder::scale(service.as_str().into(), warm, max)?).await
}

/// Has a service used, drained, or drained and worked on.
#[utoipa::path(post, path = "/api/v1/services/{service}/state", tag = "services",
    params(("service" = String, Path, description = "Its name")),
    request_body = NewState,
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn service_state(
    State(admin): ServerState,
    actor: Actor,
    Segment(service): Segment,
    Body(NewState { state, deadline_seconds }): Body<NewState>,
) -> ChangeAnswer {
    let service = service.as_str().into();
    admin.order(actor, AdminOrder::service_state(service, state.into(), deadline_seconds)?).await
}

/// Has a daemon used, drained, or drained and worked on.
#[utoipa::path(post, path = "/api/v1/daemons/{daemon}/state", tag = "daemons",
    params(("daemon" = String, Path, description = "Its name")),
    request_body = NewState,
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn daemon_state(
    State(admin): ServerState,
    actor: Actor,
    Segment(daemon): Segment,
    Body(NewState { state, deadline_seconds }): Body<NewState>,
) -> ChangeAnswer {
    let daemon = daemon.as_str().into();
    admin.order(actor, AdminOrder::daemon_state(daemon, state.into(), deadline_seconds)?).await
}

/// Replaces every container of a service by a new one that runs the same, without a gap.
#[utoipa::path(post, path = "/api/v1/services/{service}/roll", tag = "services",
    params(("service" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn roll(State(admin): ServerState, actor: Actor, Segment(service): Segment) -> ChangeAnswer {
    admin.order(actor, AdminOrder::Roll { service: service.as_str().into() }).await
}

/// Gives up the rollout of a service.
#[utoipa::path(post, path = "/api/v1/services/{service}/rollback", tag = "services",
    params(("service" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn roll_back(
    State(admin): ServerState,
    actor: Actor,
    Segment(service): Segment,
) -> ChangeAnswer {
    admin.order(actor, AdminOrder::RollBack { service: service.as_str().into() }).await
}

/// Retires a container. One that is leased goes when its lease ends.
#[utoipa::path(post, path = "/api/v1/containers/{launch}/retire", tag = "containers",
    params(("launch" = u64, Path, description = "The number of its launch")),
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn retire(State(admin): ServerState, actor: Actor, Segment(launch): Segment) -> ChangeAnswer {
    let number = launch.parse().map(LaunchId);
    let launch = number.map_err(|_| {
        Problem::absent(format!("there is no container {launch:?}: give its number"))
    })?;
    admin.order(actor, AdminOrder::Retire { launch }).await
}

/// Reads the configuration again, or says what that would change.
#[utoipa::path(post, path = "/api/v1/reload", tag = "process",
    params(ReloadQuery),
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn reload(
    State(admin): ServerState,
    actor: Actor,
    Params(query): Params<ReloadQuery>,
) -> ChangeAnswer {
    let dry_run = matches!(query.dry_run, Some(Flag::Set));
    admin.order(actor, AdminOrder::Reload { dry_run }).await
}

/// Stops: no more connections are taken, and the process ends with the last one.
#[utoipa::path(post, path = "/api/v1/drain", tag = "process",
    responses((status = 200, description = "It is carried out", body = Ordered)))]
async fn drain(State(admin): ServerState, actor: Actor) -> ChangeAnswer {
    admin.order(actor, AdminOrder::Drain).await
}

/// Cuts a connection. One that has ended meanwhile is as good as cut, but nobody can tell it from
/// one that never was.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions",
    params(("id" = u64, Path, description = "The number of the connection")),
    responses((status = 204, description = "It is cut")))]
pub(super) async fn cut(
    State(admin): ServerState,
    actor: Actor,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    cut_connection(&admin, actor, &id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cuts a connection, also for the page.
pub(super) fn cut_connection(admin: &AdminShared, actor: Actor, id: &str) -> Result<(), Problem> {
    let number = id.parse().map(ConnId).map_err(|_| Problem::no_connection(id))?;
    if !admin.subject.sessions().cut(number) {
        return Err(Problem::no_connection(id));
    }
    let detail = format!("connection {number}, by {actor}");
    admin.feed.tell(Happening::new("connection-cut", false, Some(detail)));
    tracing::info!(conn = number.0, by = %actor, "a connection is cut, as the admin server was asked to");
    Ok(())
}

// === impl AdminShared ===

impl AdminShared {
    /// Has an order carried out, and tells the feed if something changed. Both happen even if the
    /// client leaves before the answer.
    pub(super) async fn order(self: &Arc<Self>, actor: Actor, order: AdminOrder) -> ChangeAnswer {
        let this = Arc::clone(self);
        let done = tokio::spawn(async move { this.carry_out(actor, order).await });
        done.await.unwrap_or_else(|_| Err(NotOrdered::Stopping.into()))
    }

    async fn carry_out(&self, actor: Actor, order: AdminOrder) -> ChangeAnswer {
        let (kind, subject) = (order.kind(), order.subject());
        let ordered = self.subject.order(order).await?;
        // A client has to see the effect of its order at once.
        self.forget_copies().await;
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

// === impl StateWord ===

impl From<StateWord> for AdminState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Ready => Self::Ready,
            StateWord::Drain => Self::Drain,
            StateWord::Maint => Self::Maint,
        }
    }
}

// === impl Body ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| Problem::invalid(error.body_text()))?;
        let text = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes[..] };
        // Serde would make a struct of an array, too.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::invalid("the body is a JSON object".to_owned()));
        }
        let body = serde_json::from_slice(text);
        body.map(Self).map_err(|error| Problem::invalid(format!("the body is wrong: {error}")))
    }
}
