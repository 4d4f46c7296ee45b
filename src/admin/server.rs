//! Serves connections, by the socket and by TCP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::access::Caller;
use crate::reach::{GIVEN_UP_AFTER, tune};

/// The most connections at a time, on each listener: more of them wait in the kernel.
const MOST: usize = 256;
/// The longest that the head of a request may take, and that a connection is kept without one.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may take none of its answer.
const STALLED: Duration = Duration::from_secs(30);
/// How long nothing is accepted when the process or machine is out of a resource.
const PAUSE: Duration = Duration::from_millis(75);

/// Where connections come from.
pub(super) trait ConnectionSource {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for a connection, and says whose it is.
    ///
    /// # Cancel safety
    /// Dropping the future loses none.
    async fn accept(&self) -> io::Result<(Self::Stream, Caller)>;
}

// === impl ConnectionSource ===

impl ConnectionSource for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Caller)> {
        let (stream, _) = Self::accept(self).await?;
        let credentials = stream.peer_cred().ok();
        let uid = credentials.as_ref().map(|its| its.uid());
        let pid = credentials.as_ref().and_then(|its| its.pid());
        Ok((stream, Caller::Socket { uid, pid }))
    }
}

impl ConnectionSource for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Caller)> {
        let (stream, address) = Self::accept(self).await?;
        // Keepalive finds a client that is gone while nothing is sent to it.
        tune(&stream, Some(GIVEN_UP_AFTER))?;
        Ok((stream, Caller::Tcp(address)))
    }
}

/// Has the current `app` answer the clients of a listener, until `stop` is cancelled and the last
/// answer is sent.
///
/// # Cancel safety
/// Dropping the future closes the listener; connections end with the runtime, or by themselves.
pub(super) async fn run(
    listener: impl ConnectionSource,
    app: watch::Receiver<Router>,
    stop: CancellationToken,
) {
    let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MOST)));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, (stream, caller)) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            (place, accepted) = accepted => match accepted {
                Ok(accepted) => (place, accepted),
                Err(error) => {
                    tracing::debug!(error = error.to_string(), "the admin server cannot accept");
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let app = app.clone();
        let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(caller);
            let mut app = app.borrow().clone();
            async move {
                let answer = app.call(request).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(|never: Infallible| match never {}))
            }
        });
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALLED));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(Box::pin(stream)), answer);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = error.to_string(), "a reader of the admin server left");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    /// Brings one connection.
    struct One(Mutex<Option<DuplexStream>>);

    impl ConnectionSource for One {
        type Stream = DuplexStream;

        async fn accept(&self) -> io::Result<(DuplexStream, Caller)> {
            let taken = self.0.lock().take();
            match taken {
                Some(stream) => Ok((stream, Caller::Socket { uid: None, pid: None })),
                None => pending().await,
            }
        }
    }

    fn always(app: Router) -> watch::Receiver<Router> {
        watch::channel(app).1
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_holds_its_place_for_a_while_and_no_longer() {
        let (mut client, server) = duplex(4096);
        let listener = One(Mutex::new(Some(server)));
        tokio::spawn(run(listener, always(Router::new()), CancellationToken::new()));
        let began = Instant::now();
        let mut answer = Vec::new();
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let writing = async {
            writer.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
            loop {
                sleep(Duration::from_secs(1)).await;
                if writer.write_all(b"A: b\r\n").await.is_err() {
                    pending::<()>().await;
                }
            }
        };
        tokio::select! {
            _ = reader.read_to_end(&mut answer) => {}
            () = writing => {}
        }
        let after = began.elapsed();
        assert!((HEAD..HEAD * 2).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_none_of_an_answer_is_cut_and_who_takes_a_little_is_not() {
        const ANSWER: usize = 4 * 64;
        let whole = async |pause| {
            let (mut client, server) = duplex(64);
            let app = Router::new().fallback(async || "x".repeat(ANSWER));
            let listener = One(Mutex::new(Some(server)));
            tokio::spawn(run(listener, always(app), CancellationToken::new()));
            client.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
            let (mut taken, mut part) = (Vec::new(), [0; 64]);
            loop {
                sleep(pause).await;
                match client.read(&mut part).await.unwrap() {
                    0 => break taken.ends_with(&[b'x'; ANSWER]),
                    count => taken.extend_from_slice(&part[..count]),
                }
            }
        };
        assert!(whole(STALLED / 2).await);
        assert!(!whole(STALLED * 2).await);
    }
}
