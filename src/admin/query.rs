//! The parameters in a path, and after its `?`: which of a list, and how much of it at a time.

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::problem::Problem;
use super::view::{ContainerStatus, DaemonStatus, ServiceStatus, SessionStatus};

/// The parameters after the `?`; wrong ones are refused as a [`Problem`].
pub(super) struct Params<T>(pub(super) T);

/// A name or a number in a path.
pub(super) struct Segment(pub(super) String);

/// Which of a list are asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only those of this service.
    service: Option<String>,
    /// Only those of this daemon.
    daemon: Option<String>,
    /// Only those in this state; of failures, only those in this phase.
    state: Option<String>,
    /// The most at a time. Where there are more, the header `Link` leads on.
    #[param(minimum = 1, maximum = 4294967295_u32)]
    limit: Option<u32>,
    /// Only those after this one: the last of what was told before.
    cursor: Option<String>,
}

/// Something that is listed.
pub(super) trait ListItem: Serialize {
    /// Its unique key: its name, or its number in so many digits that numbers are in order.
    fn key(&self) -> String;
    fn service(&self) -> Option<&str> {
        None
    }
    fn daemon(&self) -> Option<&str> {
        None
    }
    fn state(&self) -> Option<String> {
        None
    }
}

// === impl Params ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

// === impl Segment ===

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

// === impl ListQuery ===

impl ListQuery {
    /// The items of a list that were asked for. Where there are more of them, a header `Link` leads
    /// to the next.
    pub(super) fn of<T: ListItem>(self, path: &str, mut list: Vec<T>) -> Result<Response, Problem> {
        if self.limit == Some(0) {
            return Err(Problem::invalid("`limit` is at least 1".to_owned()));
        }
        let fits = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        list.retain(|item| {
            fits(&self.service, item.service())
                && fits(&self.daemon, item.daemon())
                && fits(&self.state, item.state().as_deref())
        });
        if self.limit.is_none() && self.cursor.is_none() {
            return Ok(Json(list).into_response());
        }
        list.sort_by_cached_key(ListItem::key);
        if let Some(cursor) = &self.cursor {
            list.retain(|item| item.key() > *cursor);
        }
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(list.len());
        let more = list.len() > limit;
        list.truncate(limit);
        let next = list.last().filter(|_| more).map(|last| self.next(path, &last.key()));
        let mut response = Json(list).into_response();
        if let Some(next) = next.and_then(|next| next.parse().ok()) {
            response.headers_mut().insert(LINK, next);
        }
        Ok(response)
    }

    fn next(&self, path: &str, cursor: &str) -> String {
        let mut query = format!("limit={}&cursor={cursor}", self.limit.unwrap_or_default());
        for (key, value) in
            [("service", &self.service), ("daemon", &self.daemon), ("state", &self.state)]
        {
            if let Some(value) = value {
                query += &format!("&{key}={value}");
            }
        }
        format!("<{path}?{query}>; rel=\"next\"")
    }
}

// === impl ListItem ===

impl ListItem for ServiceStatus {
    fn key(&self) -> String {
        self.name.clone()
    }

    fn service(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn state(&self) -> Option<String> {
        Some(self.state.to_string())
    }
}

impl ListItem for DaemonStatus {
    fn key(&self) -> String {
        self.name.clone()
    }

    fn daemon(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn state(&self) -> Option<String> {
        Some(self.state.to_string())
    }
}

impl ListItem for SessionStatus {
    fn key(&self) -> String {
        format!("{:020}", self.id)
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn daemon(&self) -> Option<&str> {
        self.daemon.as_deref()
    }

    fn state(&self) -> Option<String> {
        Some(if self.container.is_some() { "served" } else { "waiting" }.to_owned())
    }
}

impl ListItem for ContainerStatus {
    fn key(&self) -> String {
        format!("{:020}", self.launch)
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn daemon(&self) -> Option<&str> {
        Some(&self.daemon)
    }

    fn state(&self) -> Option<String> {
        Some(self.state.clone())
    }
}
