//! The way to one engine or Consul agent: how connections are made, and which
//! are kept.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service;

use super::observer::{RequestClock, RequestEnd, RequestObserver};
use crate::endpoint::Endpoint;
use crate::reach::{GIVEN_UP_AFTER, tune};
use crate::tls;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection without requests is kept. Engines keep theirs for ever; devices in between
/// may not.
const IDLE: Duration = Duration::from_secs(20);
/// The most idle connections: as many as are used at once in quiet times.
const KEPT: usize = 8;

type AnyError = Box<dyn Error + Send + Sync>;
type AnyBody = UnsyncBoxBody<Bytes, AnyError>;

/// The way to one engine or agent.
#[derive(Debug)]
pub(crate) struct Transport {
    dial: Dial,
    client: Mutex<Client<Dial, AnyBody>>,
    observer: Option<Arc<dyn RequestObserver>>,
}

/// The process at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process on this machine; `None` when it is not in our view of processes.
    Process(Option<i32>),
    /// A process at this address.
    Address(SocketAddr),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// No connection came about, or it ended (`ConnectionAborted`) before anything was
    /// sent by it.
    Connect(io::Error),
    /// The connection broke. The other end may carry the request out.
    Broken(legacy::Error),
}

/// Makes connections to one endpoint.
#[derive(Debug, Clone)]
struct Dial {
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<tls::Connector>>,
    home: Home,
}

/// The runtime that connections live on: that of the first request. A connection that is kept is
/// used from other runtimes as well, and those may end before it.
#[derive(Debug, Clone, Default)]
struct Home(Arc<OnceLock<Handle>>);

/// A connection of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

// === impl Transport ===

impl Transport {
    /// Makes no connection yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let tls = endpoint.tls().cloned().map(|files| Arc::new(tls::Connector::new(files)));
        let dial = Dial { endpoint: Arc::new(endpoint), tls, home: Home::default() };
        let client = Mutex::new(dial.client());
        Self { dial, client, observer: None }
    }

    /// The same, and the observer is told of each request.
    pub(crate) fn observed_by(self, observer: Arc<dyn RequestObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The endpoint that it leads to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.dial.endpoint
    }

    /// Closes the connections that are kept, and keeps none of those in use.
    pub(crate) fn renew(&self) {
        *self.client.lock() = self.dial.client();
    }

    /// Makes a connection to look at, and says who is at its other end.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn open(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        self.dial.open().await
    }

    /// Sends one request to `path`, over a connection that was kept or a new one.
    /// The connection is kept once the answer was read to its end, and closes
    /// when it is dropped before. It lives on the runtime of the first request.
    ///
    /// A kept one may have been closed by the other end. Then the request is sent
    /// over another if nothing of it was sent; else it fails, whatever it asked
    /// for: it may be carried out.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; what was sent may be carried
    /// out all the same.
    pub(crate) async fn send<B>(
        &self,
        path: &str,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, SendError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let invalid = |error: AnyError| SendError::Connect(io::Error::other(error));
        let authority = self.endpoint().authority();
        let host = HeaderValue::from_str(&authority).map_err(|error| invalid(error.into()))?;
        // `Dial` decides where it goes; the client wants a host to keep connections by.
        let uri: Result<Uri, _> = format!("http://engine{path}").parse();
        *request.uri_mut() = uri.map_err(|error| invalid(error.into()))?;
        request.headers_mut().insert(HOST, host);
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let client = self.client.lock().clone();
        let clock = RequestClock::start(&self.observer, request.method(), path);
        let answer = client.request(request).await.map_err(SendError::from);
        clock.end(
            answer.as_ref().map_or(RequestEnd::Broken, |answer| {
                RequestEnd::Answered(answer.status().as_u16())
            }),
        );
        answer
    }
}

// === impl Dial ===

impl Dial {
    fn client(&self) -> Client<Self, AnyBody> {
        // Connections to a socket are not kept: docs/decisions/0020.
        let kept = if matches!(*self.endpoint, Endpoint::Unix(_)) { 0 } else { KEPT };
        Client::builder(self.home.clone())
            .pool_max_idle_per_host(kept)
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            // Only requests that were certainly not sent: the client has them back.
            .retry_canceled_requests(true)
            .build(self.clone())
    }

    async fn open(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        let connect = async {
            match &*self.endpoint {
                Endpoint::Unix(socket) => {
                    let stream = UnixStream::connect(socket).await?;
                    let pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
                    let peer = Peer::Process(pid.filter(|pid| *pid > 0));
                    Ok((Box::new(stream) as Box<dyn Stream>, peer))
                }
                Endpoint::Tcp { host, port, .. } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    let peer = Peer::Address(stream.peer_addr()?);
                    tune(&stream, Some(GIVEN_UP_AFTER))?;
                    let stream: Box<dyn Stream> = match &self.tls {
                        Some(tls) => Box::new(tls.connect(host, stream).await?),
                        None => Box::new(stream),
                    };
                    Ok((stream, peer))
                }
            }
        };
        timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        let home = self.home.runtime();
        let open = AbortOnDropHandle::new(home.spawn(async move { dial.open().await }));
        Box::pin(async move { Ok(TokioIo::new(open.await??.0)) })
    }
}

// === impl Home ===

impl Home {
    fn runtime(&self) -> &Handle {
        self.0.get_or_init(Handle::current)
    }
}

impl<F> Executor<F> for Home
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.runtime().spawn(task);
    }
}

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

// === impl SendError ===

impl From<legacy::Error> for SendError {
    fn from(error: legacy::Error) -> Self {
        let cause = error.source();
        if let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<io::Error>())
            && error.is_connect()
        {
            // The client passes on an error of `Dial`, which has sent nothing.
            return Self::Connect(io::Error::new(cause.kind(), cause.to_string()));
        }
        match cause.and_then(|cause| cause.downcast_ref::<hyper::Error>()) {
            Some(unsent) if unsent.is_canceled() => {
                Self::Connect(io::Error::new(io::ErrorKind::ConnectionAborted, explain(&error)))
            }
            _ => Self::Broken(error),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Broken(error) => f.write_str(&explain(error)),
        }
    }
}

/// The cause of an error of the client, whose own text is but "client error".
fn explain(error: &legacy::Error) -> String {
    tls::reason(error).unwrap_or_else(|| match error.source() {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    })
}
