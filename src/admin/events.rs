//! `/api/v1/events`: the latest happenings, or, for clients that accept one, a stream of events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use super::feed::{FeedEvent, Happening, WINDOW};
use super::problem::Problem;
use super::{AdminShared, ServerState};

/// The interval of keep-alives on a stream without events.
const ALIVE: Duration = Duration::from_secs(15);

/// The process, as far as it changes by itself.
#[derive(Debug, Serialize)]
struct AboutEvent {
    stopping: bool,
    sessions: usize,
    services: usize,
    daemons: usize,
}

/// A reader of the stream.
struct Reader {
    admin: Arc<AdminShared>,
    latest: watch::Receiver<u64>,
    /// The number of the last event that it was told.
    told: u64,
    /// To be sent.
    ready: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

/// The latest happenings, or the stream of events: `service`, `daemon` and `about` with the state of each,
/// `happening`, and `gap` where a reader was too slow. A reader that comes anew is told all states; one
/// that comes back with `Last-Event-ID` what it has missed.
#[utoipa::path(get, path = "/api/v1/events", tag = "status",
    params(("Last-Event-ID" = Option<String>, Header, description = "The number of the last event that a reader of the stream was told")),
    responses((status = 200, description = "What happened; with `Accept: text/event-stream` what happens",
        content((Vec<Happening> = "application/json"), (String = "text/event-stream")))))]
pub(super) async fn events(
    State(admin): ServerState,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if !word(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(Json(admin.feed.happenings()).into_response());
    }
    let place = Arc::clone(&admin.readers).try_acquire_owned();
    let place = place.map_err(|_| Problem::too_many_readers())?;
    admin.show_states().await;
    let latest = admin.feed.follow();
    let (told, states) = match word("last-event-id").and_then(|id| id.trim().parse().ok()) {
        Some(told) => (told, Vec::new()),
        None => admin.feed.states(),
    };
    let ready = states.into_iter().map(Event::from).collect();
    let reader = Reader { admin, latest, told, ready, _place: place };
    let stream = Sse::new(reader.stream()).keep_alive(KeepAlive::new().interval(ALIVE));
    Ok(stream.into_response())
}

// === impl Reader ===

impl Reader {
    /// Its events, until the process stops. Nothing is made before it is asked for.
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        unfold(self, |mut reader| async move {
            let next = reader.next().await?;
            Some((Ok(next), reader))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.admin.stop.is_cancelled() {
                return None;
            }
            self.latest.mark_unchanged();
            let news = self.admin.feed.after(self.told);
            if news.has_gap {
                self.ready.push_back(Event::default().event("gap").data("{}"));
            }
            self.told = news.events.last().map_or(self.told, |event| event.id);
            self.ready.extend(news.events.into_iter().map(Event::from));
            if self.ready.is_empty() {
                tokio::select! {
                    () = self.admin.stop.cancelled() => return None,
                    changed = self.latest.changed() => changed.ok()?,
                    // The states are looked at as long as there is a reader.
                    () = sleep(WINDOW) => self.admin.show_states().await,
                }
            } else {
                // At most so often, whatever happens.
                tokio::select! {
                    () = self.admin.stop.cancelled() => return None,
                    () = sleep(WINDOW) => self.admin.show_states().await,
                }
            }
        }
    }
}

// === impl FeedEvent ===

impl From<FeedEvent> for Event {
    fn from(FeedEvent { id, name, data }: FeedEvent) -> Self {
        Self::default().id(id.to_string()).event(name).data(&*data)
    }
}

// === impl AdminShared ===

impl AdminShared {
    /// Has the feed tell how services and daemons are, as of the copy that all answers come from.
    async fn show_states(&self) {
        let snapshot = self.snapshot().await;
        let about = AboutEvent {
            stopping: self.subject.is_stopping(),
            sessions: self.subject.sessions().count(),
            services: snapshot.services.len(),
            daemons: snapshot.daemons.len(),
        };
        self.feed.show("about", "", &about);
        let before = self.shown.lock().replace(Arc::clone(&snapshot));
        if before.is_some_and(|before| Arc::ptr_eq(&before, &snapshot)) {
            return;
        }
        let (services, daemons) = (self.services().await, self.daemons().await);
        services.iter().for_each(|service| self.feed.show("service", &service.name, service));
        daemons.iter().for_each(|daemon| self.feed.show("daemon", &daemon.name, daemon));
        self.feed.keep("service", &services.iter().map(|s| s.name.as_str()).collect());
        self.feed.keep("daemon", &daemons.iter().map(|d| d.name.as_str()).collect());
    }
}
