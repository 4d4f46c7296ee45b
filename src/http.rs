//! HTTP to an engine's API or a Consul agent's.
//!
//! Connections over TCP are kept for a while. Each notices when the other end is
//! gone for good: a stream of events over a cut line would be silent for ever.
//! Bodies are bounded in size, and together with the caller's deadline in time.

mod observer;
mod transport;

use std::error::Error;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use thiserror::Error;

pub(crate) use observer::{RequestEnd, RequestObserver};
pub(crate) use transport::{Peer, SendError, Transport};

/// The most bytes of an answer that are read.
const LIMIT: usize = 64 << 20;
/// The longest line of an answer that goes on.
const LINE: usize = 1 << 20;
/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An answer that goes on, line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

/// Why a request failed.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// No connection came about, or it ended (`ConnectionAborted`) before anything was
    /// sent by it.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke, or the data that came over it is not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The other end did not answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The other end said no.
    #[error("{message} (status {code})")]
    Status { code: u16, message: String },
    /// The answer is not what its API promises.
    #[error("the answer cannot be understood: {0}")]
    Decode(#[from] serde_json::Error),
}

// === impl Transport ===

impl Transport {
    /// Asks `path` of the other end and decodes the answer. Has no deadline.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, HttpError> {
        Ok(self.get_with_headers(path).await?.1)
    }

    /// The same, with the headers of the answer.
    pub(crate) async fn get_with_headers<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(HeaderMap, T), HttpError> {
        let (headers, body) = self.fetch(path, Request::new(Empty::<Bytes>::new())).await?;
        Ok((headers, serde_json::from_slice(&body)?))
    }

    /// Sends a request to `path` of the other end, which has to succeed, and reads the answer to
    /// its end. Has no deadline.
    pub(crate) async fn fetch<B>(
        &self,
        path: &str,
        request: Request<B>,
    ) -> Result<(HeaderMap, Bytes), HttpError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = self.exchange(path, request).await?.into_parts();
        Ok((head.headers, whole(body).await?))
    }

    /// Asks `path` of the other end, for an answer that goes on. Returns once it
    /// has begun to answer. Has no deadline.
    pub(crate) async fn follow(&self, path: &str) -> Result<Lines, HttpError> {
        Ok(Lines::of(self.exchange(path, Request::new(Empty::<Bytes>::new())).await?))
    }

    /// Sends a request to `path` of the other end, which has to succeed. Returns once the answer
    /// has begun. Has no deadline.
    ///
    /// # Cancel safety
    /// As [`Transport::send`].
    pub(crate) async fn exchange<B>(
        &self,
        path: &str,
        request: Request<B>,
    ) -> Result<Response<Incoming>, HttpError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let response = self.send(path, request).await.map_err(|error| match error {
            SendError::Connect(error) => HttpError::Connect(error),
            error @ SendError::Broken(_) => broken(error),
        })?;
        let status = response.status();
        if !status.is_success() {
            let body = whole(response.into_body()).await?;
            return Err(HttpError::Status { code: status.as_u16(), message: message(&body) });
        }
        Ok(response)
    }
}

async fn whole(body: Incoming) -> Result<Bytes, HttpError> {
    Ok(Limited::new(body, LIMIT).collect().await.map_err(broken)?.to_bytes())
}

fn broken(error: impl std::fmt::Display) -> HttpError {
    HttpError::Broken(error.to_string())
}

// === impl Lines ===

impl Lines {
    /// The lines of an answer that has begun.
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), read: Vec::new() }
    }

    /// The next line; `None` at the end of the answer. Bytes after the last line's end are no line.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.read, rest)));
            }
            if self.read.len() > LINE {
                return Err(broken("a line of its answer does not end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
                Some(Err(error)) => return Err(broken(error)),
                None => return Ok(None),
            }
        }
    }
}

/// The message in an engine's error; the first 300 bytes where it is another's.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned(),
        |Message { message }| message,
    )
}

/// Escapes a value for a query.
pub(crate) fn escape(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

#[cfg(test)]
mod tests;
