//! The connection to an engine's API.
//!
//! Every request has a connection of its own, as in the client library, but one
//! that notices when the other end is gone for good: a stream of events over a
//! cut line would be silent for ever.
//!
//! Beside the client there is a plain GET. What leak safety rests on must not
//! depend on generated models, where one unknown value fails a whole list. It
//! also bounds the body in size, and together with its caller's deadline in
//! time, where the client bounds only the wait for headers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::endpoint::Endpoint;

/// The most bytes of an answer that are read.
const LIMIT: usize = 64 << 20;
/// The longest line of an answer that goes on.
const LINE: usize = 1 << 20;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the other end may leave what it was sent unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// The client's own timeout, in seconds and for headers only: a backstop.
const BACKSTOP: u64 = 900;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process on this machine; `None` when it is not in our view of processes.
    Process(Option<i32>),
    /// A process at this address.
    Address(SocketAddr),
}

/// An answer that goes on, line by line.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    read: Vec<u8>,
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

/// Makes a connection.
pub(super) async fn open(endpoint: &Endpoint) -> io::Result<(Box<dyn Stream>, Peer)> {
    let connect = async {
        match endpoint {
            Endpoint::Unix(socket) => {
                let stream = UnixStream::connect(socket).await?;
                let pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
                let peer = Peer::Process(pid.filter(|pid| *pid > 0));
                Ok((Box::new(stream) as Box<dyn Stream>, peer))
            }
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                let peer = Peer::Address(stream.peer_addr()?);
                let keepalive = TcpKeepalive::new()
                    .with_time(Duration::from_secs(5))
                    .with_interval(Duration::from_secs(2))
                    .with_retries(3);
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive)?;
                socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
                socket.set_tcp_nodelay(true)?;
                Ok((Box::new(stream) as Box<dyn Stream>, peer))
            }
        }
    };
    timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A connection of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Makes a client for the engine, that nothing is sent by yet. It asks for the
/// version of the API that `version` is set to, once it is set.
pub(super) fn client(
    endpoint: &Endpoint,
    version: &Arc<OnceLock<String>>,
) -> Result<bollard::Docker, Error> {
    let (endpoint, version) = (endpoint.clone(), Arc::clone(version));
    let transport = move |request: BollardRequest| {
        let (endpoint, version) = (endpoint.clone(), Arc::clone(&version));
        async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let path = match version.get() {
                // The client leaves it out, which engines mean to stop accepting.
                Some(version) if !path.starts_with("/v1.") => format!("/v{version}{path}"),
                _ => path.to_owned(),
            };
            // The one place where an io::Error comes from: nothing was sent.
            let (stream, _) = open(&endpoint).await?;
            Ok(send(stream, &endpoint, &path, request).await?)
        }
    };
    let name = Some("http://engine");
    bollard::Docker::connect_with_custom_transport(transport, name, BACKSTOP, API_DEFAULT_VERSION)
}

/// Sends one request. The connection closes with the answer's body.
async fn send<B>(
    stream: Box<dyn Stream>,
    endpoint: &Endpoint,
    path: &str,
    mut request: Request<B>,
) -> Result<Response<Incoming>, hyper::Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let (Ok(uri), Ok(host)) = (path.parse::<Uri>(), HeaderValue::from_str(&endpoint.authority()))
    {
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, host);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the answer was read or dropped; its error is the request's, too.
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Asks `path` of the engine and decodes the answer. Has no deadline.
pub(super) async fn get<T: DeserializeOwned>(
    endpoint: &Endpoint,
    path: &str,
) -> Result<T, WireError> {
    Ok(serde_json::from_slice(&whole(ask(endpoint, path).await?).await?)?)
}

/// Asks `path` of the engine, for an answer that goes on. Returns once the engine
/// has begun to answer. Has no deadline.
pub(super) async fn follow(endpoint: &Endpoint, path: &str) -> Result<Lines, WireError> {
    let body = ask(endpoint, path).await?;
    Ok(Lines { body, read: Vec::new() })
}

/// The body of a successful answer.
async fn ask(endpoint: &Endpoint, path: &str) -> Result<Incoming, WireError> {
    let (stream, _) = open(endpoint).await.map_err(WireError::Connect)?;
    let request = Request::new(Empty::<Bytes>::new());
    let response = send(stream, endpoint, path, request).await.map_err(broken)?;
    let status = response.status();
    if !status.is_success() {
        let body = whole(response.into_body()).await?;
        return Err(WireError::Status { code: status.as_u16(), message: message(&body) });
    }
    Ok(response.into_body())
}

async fn whole(body: Incoming) -> Result<Bytes, WireError> {
    Ok(Limited::new(body, LIMIT).collect().await.map_err(broken)?.to_bytes())
}

fn broken(error: impl std::fmt::Display) -> WireError {
    WireError::Broken(error.to_string())
}

// === impl Lines ===

impl Lines {
    /// The next line; `None` at the end of the answer. What comes after the last
    /// line's end is not one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, WireError> {
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
