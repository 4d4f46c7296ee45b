//! HTTP to an engine's API or a Consul agent's.
//!
//! Every request has a connection of its own, that notices when the other end is
//! gone for good: a stream of events over a cut line would be silent for ever.
//! Bodies are bounded in size, and together with the caller's deadline in time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue};
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

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process on this machine; `None` when it is not in our view of processes.
    Process(Option<i32>),
    /// A process at this address.
    Address(SocketAddr),
}

/// An answer that goes on, line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

/// Why a GET failed.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// No connection came about.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The other end said no.
    #[error("{message} (status {code})")]
    Status { code: u16, message: String },
    /// The answer is not what its API promises.
    #[error("the answer cannot be understood: {0}")]
    Decode(#[from] serde_json::Error),
}

/// Makes a connection.
pub(crate) async fn open(endpoint: &Endpoint) -> io::Result<(Box<dyn Stream>, Peer)> {
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
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends one request. The connection closes with the answer's body.
pub(crate) async fn send<B>(
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

/// Asks `path` of the other end and decodes the answer. Has no deadline.
pub(crate) async fn get<T: DeserializeOwned>(
    endpoint: &Endpoint,
    path: &str,
) -> Result<T, HttpError> {
    Ok(get_with_headers(endpoint, path).await?.1)
}

/// The same, with the headers of the answer.
pub(crate) async fn get_with_headers<T: DeserializeOwned>(
    endpoint: &Endpoint,
    path: &str,
) -> Result<(HeaderMap, T), HttpError> {
    let (head, body) = ask(endpoint, path).await?.into_parts();
    Ok((head.headers, serde_json::from_slice(&whole(body).await?)?))
}

/// Asks `path` of the other end, for an answer that goes on. Returns once it
/// has begun to answer. Has no deadline.
pub(crate) async fn follow(endpoint: &Endpoint, path: &str) -> Result<Lines, HttpError> {
    let body = ask(endpoint, path).await?.into_body();
    Ok(Lines { body, read: Vec::new() })
}

/// A successful answer.
async fn ask(endpoint: &Endpoint, path: &str) -> Result<Response<Incoming>, HttpError> {
    let (stream, _) = open(endpoint).await.map_err(HttpError::Connect)?;
    let request = Request::new(Empty::<Bytes>::new());
    let response = send(stream, endpoint, path, request).await.map_err(broken)?;
    let status = response.status();
    if !status.is_success() {
        let body = whole(response.into_body()).await?;
        return Err(HttpError::Status { code: status.as_u16(), message: message(&body) });
    }
    Ok(response)
}

async fn whole(body: Incoming) -> Result<Bytes, HttpError> {
    Ok(Limited::new(body, LIMIT).collect().await.map_err(broken)?.to_bytes())
}

fn broken(error: impl std::fmt::Display) -> HttpError {
    HttpError::Broken(error.to_string())
}

// === impl Lines ===

impl Lines {
    /// The next line; `None` at the end of the answer. What comes after the last
    /// line's end is not one.
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

/// The message in an engine's error; all of it where it is another's.
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
