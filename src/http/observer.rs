//! Outcomes of requests, for observers that count them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::time::Instant;

/// Is told of each request that was sent by a transport, and must not wait for anything.
pub(crate) trait RequestObserver: fmt::Debug + Send + Sync {
    /// A request has come to its end, so long after it began: the headers of the answer are there,
    /// or there will be none.
    fn ended(&self, method: &Method, path: &str, end: RequestEnd, took: Duration);
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    /// The request was answered with this status.
    Answered(u16),
    /// The connection did not come about, or broke.
    Broken,
    /// Nobody waited for the answer any more.
    Abandoned,
}

/// A request that is under way. Dropped without an end, it counts as abandoned.
pub(super) struct RequestClock<'a> {
    observer: &'a Option<Arc<dyn RequestObserver>>,
    method: Method,
    path: &'a str,
    began: Instant,
    end: RequestEnd,
}

// === impl RequestClock ===

impl<'a> RequestClock<'a> {
    pub(super) fn start(
        observer: &'a Option<Arc<dyn RequestObserver>>,
        method: &Method,
        path: &'a str,
    ) -> Self {
        let (began, end) = (Instant::now(), RequestEnd::Abandoned);
        Self { observer, method: method.clone(), path, began, end }
    }

    pub(super) fn end(mut self, end: RequestEnd) {
        self.end = end;
    }
}

impl Drop for RequestClock<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer.ended(&self.method, self.path, self.end, self.began.elapsed());
        }
    }
}
