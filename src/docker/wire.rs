//! A plain GET over the engine's API, beside the client library.
//!
//! What leak safety rests on must not depend on generated models: one value
//! unknown to them fails a whole list. It also bounds the body in time and
//! size, where the library bounds only the wait for headers.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Endpoint;

/// The most bytes of an answer that are read.
const LIMIT: usize = 64 << 20;

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process on this machine; `None` when it is not in our view of processes.
    Process(Option<i32>),
    /// A process at this address.
    Address(SocketAddr),
}

/// Why a GET failed.
#[derive(Debug, Error)]
pub(super) enum WireError {
    /// No connection came about.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The engine said no.
    #[error("{message} (status {code})")]
    Status { code: u16, message: String },
    /// The answer is not what the engine's API promises.
    #[error("the answer cannot be understood: {0}")]
    Decode(#[from] serde_json::Error),
}

/// Asks `path` of the engine and decodes the answer. Has no deadline.
pub(super) async fn get<T: DeserializeOwned>(
    endpoint: &Endpoint,
    path: &str,
) -> Result<(T, Peer), WireError> {
    let (status, body, peer) = match endpoint {
        Endpoint::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(WireError::Connect)?;
            let pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
            let peer = Peer::Process(pid.filter(|pid| *pid > 0));
            let (status, body) = exchange(stream, endpoint, path).await?;
            (status, body, peer)
        }
        Endpoint::Tcp { host, port } => {
            let stream =
                TcpStream::connect((host.as_str(), *port)).await.map_err(WireError::Connect)?;
            let peer = Peer::Address(stream.peer_addr().map_err(WireError::Connect)?);
            let (status, body) = exchange(stream, endpoint, path).await?;
            (status, body, peer)
        }
    };
    if !status.is_success() {
        return Err(WireError::Status { code: status.as_u16(), message: message(&body) });
    }
    Ok((serde_json::from_slice(&body)?, peer))
}

async fn exchange<S>(
    stream: S,
    endpoint: &Endpoint,
    path: &str,
) -> Result<(StatusCode, Bytes), WireError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| WireError::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(path)
        .header(HOST, endpoint.authority())
        .body(Empty::<Bytes>::new())
        .map_err(|error| WireError::Broken(error.to_string()))?;
    // The connection is driven here, so that it ends with this future.
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|error| WireError::Broken(error.to_string()))?.to_bytes();
        Ok((status, body))
    };
    let drive = async {
        // Its error also ends the request; its end does when the answer is whole.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = drive => unreachable!("the connection's driver never returns"),
    }
}

/// The message in an engine's error, or all of it when it is not the engine's.
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
pub(super) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len() * 2);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
