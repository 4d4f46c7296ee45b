//! Accepts a service's connections and starts a session for each.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::admission::Admission;
use super::end::{End, Phase, Who};
use super::listener::{BACKLOG, Listener};
use super::record::ConnRecord;
use super::session::{self, Arrival};
use super::supply::Supply;
use super::workers::{Acceptor, WorkerSlot};
use super::{ServiceContext, socket};
use crate::reach::watched;
use crate::reactor;

/// How long accepting pauses when the process or machine lacks a resource.
const PAUSE: Duration = Duration::from_millis(75);
/// The least time between two log lines about such pauses.
const QUIET: Duration = Duration::from_secs(1);

/// A connection, and who made it.
type Accepted = (std::net::TcpStream, SocketAddr);

/// How [`run`] is ended.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Accept only the clients that have connected by now; sessions go on. `run` returns when the
    /// last one ends.
    pub drain: CancellationToken,
    /// With `drain`: accept nothing more at all, because another process accepts there. Cancel this
    /// token first.
    pub leave: CancellationToken,
    /// End sessions now. Cancel `drain` first, or new ones come in and are cut.
    pub cut: CancellationToken,
}

/// Serves a listener's clients until `shutdown` says otherwise and all sessions have ended. Each
/// client gets the settings that `service` has when it is accepted, and lives on a thread of
/// `acceptor`, whose [`Acceptor::runtime`] this runs on.
///
/// # Cancel safety
/// Dropping the future closes the listener; sessions go on until `cut`.
pub async fn run<S: Supply>(
    listener: Listener,
    service: watch::Receiver<Arc<ServiceContext<S>>>,
    shutdown: Shutdown,
    acceptor: Acceptor,
) {
    let sessions = TaskTracker::new();
    let name = service.borrow().settings.name.clone();
    let shared = listener.is_shared();
    let listener = match reactor::readable(listener.into()) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(service = %name, error = error.to_string(), "cannot accept");
            return;
        }
    };
    let look_after = |(client, peer)| {
        let service = Arc::clone(&service.borrow());
        let place = acceptor.place();
        let client = place.adopt(client).inspect_err(|error| lost(&service, peer, error))?;
        admit(service, client, peer, place, &sessions, &shutdown.cut);
        Ok(())
    };
    accept_all(&listener, &service, &shutdown.drain, look_after).await;
    if !shared && !shutdown.leave.is_cancelled() {
        accept_the_rest(&listener, look_after).await;
    }
    drop(listener);
    sessions.close();
    sessions.wait().await;
}

/// Accepts until `drain` is cancelled.
async fn accept_all<S: Supply>(
    listener: &AsyncFd<OwnedFd>,
    service: &watch::Receiver<Arc<ServiceContext<S>>>,
    drain: &CancellationToken,
    look_after: impl Fn(Accepted) -> io::Result<()>,
) {
    let name = service.borrow().settings.name.clone();
    let mut drain = pin!(drain.cancelled());
    let mut reloads = pin!(follow_reloads(service.clone(), listener));
    let mut complained: Option<Instant> = None;
    loop {
        // The drain first: a flood of clients must not hold it up.
        let accepted = tokio::select! {
            biased;
            () = &mut drain => break,
            never = &mut reloads => match never {},
            accepted = listener.async_io(Interest::READABLE, accept) => accepted,
        };
        match accepted.and_then(&look_after) {
            Ok(()) => {}
            // Only this client is gone; accept(2) passes its errors on.
            Err(error) if !calls_for_a_pause(&error) => {
                tracing::debug!(service = %name, error = error.to_string(), "a client left before accept");
            }
            Err(error) => {
                let now = Instant::now();
                if complained.is_none_or(|then| now - then >= QUIET) {
                    complained = Some(now);
                    tracing::warn!(service = %name, error = error.to_string(), "cannot accept; pausing");
                }
                tokio::select! {
                    biased;
                    () = &mut drain => break,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// Accepts the clients that have connected by now: the kernel has told them so, and would reset
/// them without a line in the log. Bounded, because more may keep coming.
async fn accept_the_rest(
    listener: &AsyncFd<OwnedFd>,
    look_after: impl Fn(Accepted) -> io::Result<()>,
) {
    for _ in 0..BACKLOG {
        consume_budget().await;
        match accept(listener.get_ref()).and_then(&look_after) {
            Err(error) if calls_for_a_pause(&error) => break,
            _ => {}
        }
    }
}

/// Keeps the options that accepted connections inherit as the service's settings have them.
async fn follow_reloads<S>(
    mut service: watch::Receiver<Arc<ServiceContext<S>>>,
    listener: &impl AsFd,
) -> Infallible {
    while service.changed().await.is_ok() {
        let keepalive = service.borrow_and_update().settings.session.keepalive;
        if let Err(error) = watched(listener, keepalive) {
            tracing::warn!(
                error = error.to_string(),
                "the keepalive of new connections stays as it was"
            );
        }
    }
    std::future::pending().await
}

/// Takes a waiting connection, of no reactor yet: its thread is chosen afterwards.
fn accept(listener: &OwnedFd) -> io::Result<Accepted> {
    let (client, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    // A connection without a peer address has gone.
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(Errno::CONNABORTED)?;
    // A v4 client of a v6 socket is still a v4 client.
    Ok((client.into(), SocketAddr::new(peer.ip().to_canonical(), peer.port())))
}

/// Records a client that was accepted, and that no thread can take over.
fn lost<S: Supply>(service: &ServiceContext<S>, peer: SocketAddr, error: &io::Error) {
    Admission::turn_away(&service.counters);
    let reason = format!("the connection cannot be looked after: {error}");
    let end = End::new(Who::Resources, Phase::Queue, reason);
    let id = service.sessions.number();
    let record = ConnRecord::new(id, service.settings.name.clone(), peer);
    service.sessions.record(record.with_end(end, Duration::ZERO));
}

fn admit<S: Supply>(
    service: Arc<ServiceContext<S>>,
    client: TcpStream,
    peer: SocketAddr,
    place: WorkerSlot,
    sessions: &TaskTracker,
    cut: &CancellationToken,
) {
    let accepted = Instant::now();
    let (id, name) = (service.sessions.number(), &service.settings.name);
    let record = ConnRecord::new(id, name.clone(), peer);
    let Some(ticket) = service.admission.admit(&service.counters) else {
        socket::reset_on_close(&client);
        drop(client);
        let end = End::new(Who::Resources, Phase::Queue, "the connection cap is reached");
        service.sessions.record(record.with_end(end, accepted.elapsed()));
        return;
    };
    // At debug level, because a span is expensive: the end line has all of it.
    let span = tracing::debug_span!(
        "conn", conn = %id, client = %peer, service = %name
    );
    let runtime = place.runtime().clone();
    // A token of its own, so that the session can be cut alone.
    let cut = cut.child_token();
    let named = (name.clone(), Arc::clone(&service.counters));
    let entry = service.sessions.enter(id, named, peer, accepted, cut);
    let arrival = Arrival { client, accepted, record, entry, ticket, place };
    let session = session::serve(service, arrival);
    sessions.spawn_on(session.instrument(span), &runtime);
}

/// Whether accept(2) failed for lack of something that may come free, so that trying again at once
/// would only spin. Unknown errors count.
fn calls_for_a_pause(error: &io::Error) -> bool {
    !matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
                | Errno::TIMEDOUT
        )
    )
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::super::Settings;
    use super::super::listener::bind;
    use super::*;

    fn at(name: &str, listen: &str) -> Settings {
        Settings { name: name.into(), listen: listen.parse().unwrap(), ..Settings::sample() }
    }

    #[tokio::test]
    async fn the_unspecified_v6_address_is_every_address_of_both_kinds() {
        let v6 = match bind(&at("six", "[::]:0")) {
            Ok(v6) => v6,
            // A machine without IPv6 has nothing to tell apart.
            Err(error)
                if error.source.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) =>
            {
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let port = v6.local_addr().unwrap().port();
        let client = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let four = bind(&at("four", &format!("0.0.0.0:{port}")));
        assert_eq!(four.unwrap_err().source.kind(), io::ErrorKind::AddrInUse);
        let v6 = reactor::readable(v6.into()).unwrap();
        let (_, peer) = v6.async_io(Interest::READABLE, accept).await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn accepted_sockets_inherit_the_options() {
        let listener = bind(&at("echo", "127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = reactor::readable(listener.into()).unwrap();
        let (near, far) = tokio::join!(
            TcpStream::connect(address),
            listener.async_io(Interest::READABLE, accept)
        );
        let (near, (far, peer)) = (near.unwrap(), far.unwrap());
        assert_eq!(peer, near.local_addr().unwrap());
        let far = Acceptor::alone(Handle::current()).place().adopt(far).unwrap();
        let socket = socket2::SockRef::from(&far);
        assert!(socket.nonblocking().unwrap());
        assert_eq!(socket.linger().unwrap(), None, "the end is one again");
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.out_of_band_inline().unwrap());
        assert!(socket.keepalive().unwrap());
        // A minute in all.
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(20));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(8));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        // TCP_USER_TIMEOUT would cut a peer that lives.
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        // The default may pace; a connection within this machine is not paced.
        assert!(!socket.tcp_congestion().unwrap().starts_with(b"bbr"));
    }

    #[test]
    fn only_a_shortage_pauses() {
        let is = |errno: Errno| calls_for_a_pause(&io::Error::from(errno));
        assert!(is(Errno::MFILE) && is(Errno::NFILE) && is(Errno::NOBUFS) && is(Errno::NOMEM));
        assert!(!is(Errno::CONNABORTED) && !is(Errno::INTR));
    }
}
