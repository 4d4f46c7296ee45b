//! Answers to requests that cannot be carried out: problem details, RFC 9457.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A request that cannot be carried out, and why.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    /// Stable, for programs.
    code: &'static str,
    title: &'static str,
    status: u16,
    /// For people: which, and what to do.
    detail: String,
}

// === impl Problem ===

impl Problem {
    /// There is no such thing.
    pub(super) fn absent(detail: String) -> Self {
        Self { code: "not-found", title: "There is no such thing", status: 404, detail }
    }

    /// The path is there, and not for this method.
    pub(super) fn method() -> Self {
        let detail = "this path is not asked like that".to_owned();
        Self { code: "method-not-allowed", title: "Another method is needed", status: 405, detail }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = serde_json::to_string(&self).unwrap_or_default();
        (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
