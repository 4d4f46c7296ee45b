//! Answers to requests that cannot be carried out: problem details, RFC 9457.

use std::time::Duration;

use axum::http::header::{CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::order::NotOrdered;

/// A request that cannot be carried out, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Stable, for programs.
    code: &'static str,
    /// What the code says, for people.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// For people: which, and what to do.
    detail: String,
}

/// The problems of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProblemKind {
    Absent,
    Method,
    Invalid,
    TooLarge,
    Late,
    ForeignHost,
    ForeignOrigin,
    Forwarded,
    Unauthorized,
    ReadOnly,
    TooManyReaders,
    Starting,
    TokenUnreadable,
    Conflict,
    ConfigRefused,
    Stopping,
}

// === impl ProblemKind ===

impl ProblemKind {
    /// The status of the answer, the stable code, and what that says.
    pub(super) const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Absent => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Another method is needed")
            }
            Self::Invalid => {
                (StatusCode::BAD_REQUEST, "invalid", "What is asked for makes no sense")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "late", "The request takes too long"),
            Self::ForeignHost => {
                (StatusCode::FORBIDDEN, "foreign-host", "The request is for another server")
            }
            Self::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "foreign-origin", "A page of another server asks")
            }
            Self::Forwarded => {
                (StatusCode::FORBIDDEN, "forwarded", "A proxy has passed the request on")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "The token is needed"),
            Self::ReadOnly => (StatusCode::FORBIDDEN, "read-only", "Nothing can be changed here"),
            Self::TooManyReaders => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-readers",
                "Too many readers follow events",
            ),
            Self::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting", "It is starting"),
            Self::TokenUnreadable => {
                (StatusCode::INTERNAL_SERVER_ERROR, "token-unreadable", "The token cannot be read")
            }
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Not as things are"),
            Self::ConfigRefused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "config-refused",
                "The configuration cannot be used",
            ),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "It is stopping"),
        }
    }
}

// === impl Problem ===

impl Problem {
    fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (status, code, title) = kind.facts();
        Self { code, title, status: status.as_u16(), detail: detail.into() }
    }

    /// For people: which, and what to do.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// There is no such thing.
    pub(super) fn absent(detail: String) -> Self {
        Self::new(ProblemKind::Absent, detail)
    }

    /// There is no such connection.
    pub(super) fn no_connection(id: &str) -> Self {
        Self::absent(format!("there is no connection {id:?}, or it has ended"))
    }

    /// The path does not take this method.
    pub(super) fn method() -> Self {
        Self::new(ProblemKind::Method, "this path is not asked like that")
    }

    /// The request makes no sense.
    pub(super) fn invalid(detail: String) -> Self {
        Self::new(ProblemKind::Invalid, detail)
    }

    /// The body is larger than any that makes sense.
    pub(super) fn too_large() -> Self {
        Self::new(ProblemKind::TooLarge, "the body has more than 64 KiB")
    }

    /// The body is not there in time.
    pub(super) fn late(limit: Duration) -> Self {
        Self::new(ProblemKind::Late, format!("the body is to be there within {limit:?}"))
    }

    /// The request names another server.
    pub(super) fn foreign_host(host: &str) -> Self {
        let detail =
            format!("{host:?} is no name of this server: `admin.hosts` lists more of them");
        Self::new(ProblemKind::ForeignHost, detail)
    }

    /// A page of another server asks for a change.
    pub(super) fn foreign_origin() -> Self {
        let detail = "changes are asked for by pages of this server, or by none";
        Self::new(ProblemKind::ForeignOrigin, detail)
    }

    /// A proxy has passed the request on, and nobody here could show a token.
    pub(super) fn forwarded() -> Self {
        let detail = "a proxy has passed this on, and so anybody may ask: with `admin.token_file` whoever \
                      has the token is answered, and `admin.hosts` is what browsers call the proxy";
        Self::new(ProblemKind::Forwarded, detail)
    }

    /// The token is missing, or wrong.
    pub(super) fn unauthorized() -> Self {
        let detail = "send what is in `admin.token_file`, as `Authorization: Bearer TOKEN` or as \
                      the password of any user";
        Self::new(ProblemKind::Unauthorized, detail)
    }

    /// Nobody may change anything here.
    pub(super) fn read_only() -> Self {
        Self::new(ProblemKind::ReadOnly, "ask by the socket, or configure `admin.token_file`")
    }

    /// All places for readers of events are taken.
    pub(super) fn too_many_readers() -> Self {
        let detail = "come again when one has left; the other paths answer";
        Self::new(ProblemKind::TooManyReaders, detail)
    }

    /// Nobody is served yet.
    pub(super) fn starting() -> Self {
        let detail = "it looks for daemons, or removes what an earlier run has left: come again";
        Self::new(ProblemKind::Starting, detail)
    }

    /// The token cannot be read.
    pub(super) fn no_token_file() -> Self {
        Self::new(ProblemKind::TokenUnreadable, "Ganger's log says why")
    }
}

impl From<NotOrdered> for Problem {
    fn from(error: NotOrdered) -> Self {
        let kind = match error {
            NotOrdered::Absent(_) => ProblemKind::Absent,
            NotOrdered::Invalid(_) => ProblemKind::Invalid,
            NotOrdered::Conflict(_) => ProblemKind::Conflict,
            NotOrdered::Refused(_) => ProblemKind::ConfigRefused,
            NotOrdered::Stopping => ProblemKind::Stopping,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response =
            (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Ganger\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            // The rest of the body is not waited for.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
