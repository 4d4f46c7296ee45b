//! Answers to requests that cannot be carried out: problem details, RFC 9457.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::order::NotOrdered;

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
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: String) -> Self {
        Self { code, title, status: status.as_u16(), detail }
    }

    /// For people: which, and what to do.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// There is no such thing.
    pub(super) fn absent(detail: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// The path is there, and not for this method.
    pub(super) fn method() -> Self {
        let (code, title) = ("method-not-allowed", "Another method is needed");
        let detail = "this path is not asked like that".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, code, title, detail)
    }

    /// What is asked for makes no sense.
    pub(super) fn invalid(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", "What is asked for makes no sense", detail)
    }

    /// The body is larger than any that makes sense.
    pub(super) fn too_large() -> Self {
        let detail = "the body has more than 64 KiB".to_owned();
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// The request names another server.
    pub(super) fn foreign_host(host: &str) -> Self {
        let title = "The request is for another server";
        let detail =
            format!("{host:?} is no name of this server: `admin.hosts` lists more of them");
        Self::new(StatusCode::FORBIDDEN, "foreign-host", title, detail)
    }

    /// A page of another server asks for a change.
    pub(super) fn foreign_origin() -> Self {
        let title = "A page of another server asks";
        let detail = "changes are asked for by pages of this server, or by none".to_owned();
        Self::new(StatusCode::FORBIDDEN, "foreign-origin", title, detail)
    }

    /// The token is not shown, or another one.
    pub(super) fn unauthorized() -> Self {
        let title = "The token is needed";
        let detail = "send what is in `admin.token_file`, as `Authorization: Bearer TOKEN` or as \
                      the password of any user"
            .to_owned();
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail)
    }

    /// Nobody may change anything here.
    pub(super) fn read_only() -> Self {
        let title = "Nothing can be changed here";
        let detail = "ask by the socket, or configure `admin.token_file`".to_owned();
        Self::new(StatusCode::FORBIDDEN, "read-only", title, detail)
    }

    /// As many follow events as can be served.
    pub(super) fn too_many_readers() -> Self {
        let title = "Too many readers follow events";
        let detail = "come again when one has left; the other paths answer".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-readers", title, detail)
    }

    /// The token cannot be read.
    pub(super) fn no_token_file() -> Self {
        let title = "The token cannot be read";
        let detail = "Ganger's log says why".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "token-unreadable", title, detail)
    }
}

impl From<NotOrdered> for Problem {
    fn from(error: NotOrdered) -> Self {
        let detail = error.to_string();
        match error {
            NotOrdered::Absent(_) => Self::absent(detail),
            NotOrdered::Invalid(_) => Self::invalid(detail),
            NotOrdered::Conflict(_) => {
                let title = "Not as things are";
                Self::new(StatusCode::CONFLICT, "conflict", title, detail)
            }
            NotOrdered::Refused(_) => {
                let title = "The configuration cannot be used";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "config-refused", title, detail)
            }
            NotOrdered::Stopping => {
                let title = "It is stopping";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", title, detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response =
            (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Ganger\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
