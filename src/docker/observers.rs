//! Times the steps of launches and removals, and each request to an engine, and tells
//! observers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::short_id;
use hyper::Method;
use tokio::time::Instant;

use crate::http::{RequestEnd, RequestObserver};

/// The target of the log lines at debug level that say how long each step took.
const TARGET: &str = "ganger::steps";

/// A step of a container's life that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// `create`, `room`, `start`, `inspect`, `ready` or `remove`, in this order.
    pub name: &'static str,
    /// The container's id; of a step `remove` perhaps its name.
    pub container: &'a str,
    /// How long the step took.
    pub took: Duration,
}

/// A request to an engine that has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineRequest {
    /// The kind of request: `container_create`, `container_list`, …; one of a fixed set.
    pub operation: &'static str,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// The time until the headers of the answer came, or it was clear that none would.
    pub took: Duration,
}

/// How a request to an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// The engine said yes (status below 400).
    Ok,
    /// The engine said no (status 400 to 499).
    Refused,
    /// The engine failed (status 500 and above).
    Failed,
    /// The connection did not come about, or broke.
    Broken,
    /// Nobody waited for the answer any more.
    Abandoned,
}

/// Is told how long engines take. The tasks that ask engines call it, so it must not
/// wait for anything.
pub trait EngineObserver: Send + Sync + 'static {
    /// A step of a launch or a removal is done.
    fn step(&self, step: &Step<'_>) {
        _ = step;
    }

    /// A request has come to its end.
    fn request(&self, request: &EngineRequest) {
        _ = request;
    }
}

/// The observers that are told.
#[derive(Clone, Default)]
pub(super) struct Observers(Arc<[Arc<dyn EngineObserver>]>);

// === impl RequestOutcome ===

impl RequestOutcome {
    /// The outcome in one word, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Abandoned => "abandoned",
        }
    }
}

// === impl Observers ===

impl Observers {
    pub(super) fn new(observers: Vec<Arc<dyn EngineObserver>>) -> Self {
        Self(observers.into())
    }

    /// Tells that a step, which began at `began`, is done.
    pub(super) fn done(&self, name: &'static str, container: &str, began: Instant) {
        let took = began.elapsed();
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let id = short_id(container);
        tracing::debug!(target: TARGET, step = name, us, container = id, "done");
        self.0.iter().for_each(|observer| observer.step(&Step { name, container, took }));
    }
}

impl RequestObserver for Observers {
    fn ended(&self, method: &Method, path: &str, end: RequestEnd, took: Duration) {
        if self.0.is_empty() {
            return;
        }
        let outcome = match end {
            RequestEnd::Answered(..400) => RequestOutcome::Ok,
            RequestEnd::Answered(..500) => RequestOutcome::Refused,
            RequestEnd::Answered(_) => RequestOutcome::Failed,
            RequestEnd::Broken => RequestOutcome::Broken,
            RequestEnd::Abandoned => RequestOutcome::Abandoned,
        };
        let request = EngineRequest { operation: operation(method, path), outcome, took };
        self.0.iter().for_each(|observer| observer.request(&request));
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.len()).finish()
    }
}

/// The operation of a request, by its method and path: `GET /v1.44/containers/json?all=true` is
/// `container_list`.
fn operation(method: &Method, path: &str) -> &'static str {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut words = path.split('/').filter(|word| !word.is_empty()).peekable();
    if words.peek().is_some_and(|word| word.starts_with("v1.")) {
        words.next();
    }
    let words: Vec<_> = words.collect();
    match (method.as_str(), words.as_slice()) {
        ("GET", ["containers", "json"]) => "container_list",
        ("POST", ["containers", "create"]) => "container_create",
        ("DELETE", ["containers", _]) => "container_remove",
        ("GET", ["containers", _, "json"]) => "container_inspect",
        ("POST", ["containers", _, "start"]) => "container_start",
        ("GET", ["containers", _, "logs"]) => "container_logs",
        ("POST", ["containers", _, "exec"]) | (_, ["exec", ..]) => "exec",
        (_, ["containers", _, "archive"]) => "container_archive",
        (_, ["containers", ..]) => "container_other",
        (_, ["images", ..]) => "image",
        (_, ["networks", ..]) => "network",
        (_, ["volumes", ..]) => "volume",
        (_, ["events"]) => "events",
        (_, ["_ping" | "version" | "info"]) => "contact",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_asks_for_is_one_of_a_few_words() {
        let said = |method, path| operation(&method, path);
        assert_eq!(said(Method::GET, "/v1.44/containers/json?all=true"), "container_list");
        assert_eq!(said(Method::GET, "/containers/abc/json"), "container_inspect");
        assert_eq!(said(Method::POST, "/containers/create?name=x"), "container_create");
        assert_eq!(said(Method::DELETE, "/v1.41/containers/abc?force=true"), "container_remove");
        assert_eq!(said(Method::HEAD, "/containers/abc/archive?path=/x"), "container_archive");
        assert_eq!(said(Method::POST, "/images/create?fromImage=a"), "image");
        assert_eq!(said(Method::GET, "/_ping"), "contact");
        assert_eq!(said(Method::GET, "/unheard/of"), "other");
    }
}
