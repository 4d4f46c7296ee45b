//! Sockets in a container's network namespace.
//!
//! A socket belongs for life to the namespace it was made in, whichever thread
//! connects it. So one thread of its own enters the namespace, makes a socket
//! and comes back; nothing is waited for in there. A container keeps one socket
//! made ahead, so that a dial is a connect(2) and no hop to that thread.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use parking_lot::Mutex;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::connect::{self, Between, connect};
use super::listening::{self, Listens};
use super::peer::{Unacknowledged, asked_with};
use super::process::network_namespace;
use super::sock_diag;
use super::tune::{GIVEN_UP_AFTER, is_paced, watched};

/// Makes sockets in other network namespaces, on a thread of its own.
#[derive(Debug, Default)]
pub struct Dialer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

struct Job {
    namespace: Arc<OwnedFd>,
    make: Make,
    done: Box<dyn FnOnce(io::Result<Socket>) + Send>,
}

pub(super) type Make = fn() -> io::Result<Socket>;

/// A container's network namespace. It never becomes another container's while this one may be
/// dialled: a pooled one is another's only after the removal of this one.
pub struct NetNs {
    fd: Arc<OwnedFd>,
    dialer: Arc<Dialer>,
    spare: Mutex<Option<Socket>>,
    candidates: Vec<SocketAddr>,
    found: OnceLock<SocketAddr>,
    /// Where it has listened while it did not at those before: it may have begun meanwhile.
    found_once: OnceLock<SocketAddr>,
}

// === impl Dialer ===

impl Dialer {
    /// A socket in a network namespace.
    ///
    /// # Errors
    /// As for setns(2), or why it could not be made.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn make_in(&self, namespace: &Arc<OwnedFd>, make: Make) -> io::Result<Socket> {
        let (sender, receiver) = oneshot::channel();
        self.make(Arc::clone(namespace), make, move |made| {
            // Whoever asked may have given up.
            let _ = sender.send(made);
        });
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the dialling thread ended")))
    }

    fn make(
        &self,
        namespace: Arc<OwnedFd>,
        make: Make,
        done: impl FnOnce(io::Result<Socket>) + Send + 'static,
    ) {
        let mut job = Job { namespace, make, done: Box::new(done) };
        let mut jobs = self.jobs.lock();
        if let Some(sender) = &*jobs {
            match sender.send(job) {
                Ok(()) => return,
                // The thread could not come back from a namespace, and ended.
                Err(mpsc::SendError(returned)) => job = returned,
            }
        }
        let (sender, receiver) = mpsc::channel();
        let spawned =
            thread::Builder::new().name("ganger-netns".to_owned()).spawn(move || work(&receiver));
        match spawned {
            Ok(_) => {
                // The receiver is alive: the thread ends only after a job.
                let _ = sender.send(job);
                *jobs = Some(sender);
            }
            Err(error) => (job.done)(Err(error)),
        }
    }
}

/// Ends when the dialer does, or when it does not know its way back: a thread
/// that is in a container's namespace must not do anything else.
fn work(jobs: &mpsc::Receiver<Job>) {
    let home = match std::fs::File::open("/proc/thread-self/ns/net") {
        Ok(home) => home,
        Err(error) => {
            // The next job gets another thread, which may have better luck.
            if let Ok(job) = jobs.recv() {
                (job.done)(Err(error));
            }
            return;
        }
    };
    // Here, and not in there.
    is_paced();
    while let Ok(Job { namespace, make, done }) = jobs.recv() {
        let (made, back) = match enter(namespace.as_fd()) {
            Ok(()) => (make(), enter(home.as_fd())),
            // It has not left.
            Err(error) => (Err(error), Ok(())),
        };
        done(made);
        if let Err(error) = back {
            tracing::error!(
                error = error.to_string(),
                "cannot leave a container's namespace, replacing the thread"
            );
            return;
        }
    }
}

fn enter(namespace: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

fn tcp_v4() -> io::Result<Socket> {
    connect::socket(Domain::IPV4, Between::Loopback)
}

fn tcp_v6() -> io::Result<Socket> {
    connect::socket(Domain::IPV6, Between::Loopback)
}

/// Fails where loopback has no address of IPv6. Sends nothing: UDP does not, to connect.
fn reaches_v6() -> io::Result<Socket> {
    const ANY: u16 = 9;

    let socket = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking().cloexec(), None)?;
    socket.connect(&SocketAddr::from((Ipv6Addr::LOCALHOST, ANY)).into())?;
    Ok(socket)
}

// === impl NetNs ===

impl NetNs {
    /// Opens the namespace of the process `pid`, whose service listens on
    /// `port` of all addresses, of loopback, or of `address`.
    ///
    /// # Errors
    /// There is no such process, or we lack the right to see or enter its namespace.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn open(
        dialer: &Arc<Dialer>,
        pid: i32,
        port: u16,
        address: Option<std::net::IpAddr>,
    ) -> io::Result<Self> {
        let candidates =
            [Some(Ipv4Addr::LOCALHOST.into()), address, Some(Ipv6Addr::LOCALHOST.into())];
        let namespace = Self {
            fd: Arc::new(network_namespace(pid)?),
            dialer: Arc::clone(dialer),
            spare: Mutex::default(),
            candidates: candidates.into_iter().flatten().map(|ip| (ip, port).into()).collect(),
            found: OnceLock::new(),
            found_once: OnceLock::new(),
        };
        // Shows that it can be entered, too.
        namespace.prepare().await?;
        Ok(namespace)
    }

    /// Makes a socket ahead for the next dial, unless there is one.
    ///
    /// # Errors
    /// As for socket(2) and setns(2).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn prepare(&self) -> io::Result<()> {
        if self.spare.lock().is_none() {
            let socket = self.make(tcp_v4).await?;
            *self.spare.lock() = Some(socket);
        }
        Ok(())
    }

    /// Connects to the service from inside the namespace, with the options that
    /// [`socket`](super::socket()) sets. Where it has listened once, it is looked for from then on.
    ///
    /// # Errors
    /// As for connect(2): exact, nobody else accepts in there.
    ///
    /// # Cancel safety
    /// Cancel safe: a connection under way is closed.
    pub async fn dial(&self) -> io::Result<TcpStream> {
        if let Some(address) = self.found.get() {
            return self.connect(*address).await;
        }
        let mut first = None;
        for address in &self.candidates {
            match self.connect(*address).await {
                Ok(stream) => {
                    // It may have begun to listen everywhere after the first was tried: one that is
                    // not the first has to be found twice. Another dial may have found the same.
                    let is_first = first.is_none();
                    if is_first || self.found_once.set(*address).is_err() {
                        let _ = self.found.set(*address);
                    }
                    return Ok(stream);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    /// Whether a dial would find the service, without connecting to it: a
    /// connection uses up a service that accepts only once, and shows in one
    /// that counts.
    ///
    /// # Errors
    /// `Unsupported` when the kernel cannot be asked; or why it did not answer.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn listens(&self) -> io::Result<Listens> {
        if !listening::can_be_asked() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = self.make(sock_diag::socket).await?;
        for address in &self.candidates {
            if listening::listens(&socket, *address)? {
                // Who listens on all addresses does so where there is none of the kind, too.
                let there = address.is_ipv4() || self.make(reaches_v6).await.is_ok();
                return Ok(if there { Listens::Yes } else { Listens::V6 });
            }
        }
        Ok(Listens::No)
    }

    /// As [`unacknowledged`](super::unacknowledged), of a connection that was made here.
    ///
    /// # Errors
    /// The kernel cannot be asked about sockets.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn unacknowledged(&self, stream: &TcpStream) -> io::Result<Option<Unacknowledged>> {
        asked_with(&self.make(sock_diag::socket).await?, stream)
    }

    /// Whether whoever is at an address answers a connection from inside the namespace, be it by a
    /// refusal.
    ///
    /// # Errors
    /// Nobody could be asked, or no way leads there.
    ///
    /// # Cancel safety
    /// Cancel safe: a connection under way is closed.
    pub async fn reaches(&self, address: SocketAddr) -> io::Result<bool> {
        match self.connect(address).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let make = if address.is_ipv4() { tcp_v4 } else { tcp_v6 };
        let spare = if address.is_ipv4() { self.spare.lock().take() } else { None };
        let socket = match spare {
            Some(socket) => socket,
            None => self.make(make).await?,
        };
        if !address.ip().is_loopback() {
            // An engine that disconnects a network takes its address away, without a word.
            watched(&socket, Some(GIVEN_UP_AFTER))?;
        }
        connect(socket, address).await
    }

    async fn make(&self, make: Make) -> io::Result<Socket> {
        self.dialer.make_in(&self.fd, make).await
    }
}

impl fmt::Debug for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetNs").field("address", &self.found.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Our own namespace stands in for a container's: what differs is tried on
    // real engines.
    #[tokio::test]
    #[ignore = "needs root"]
    async fn dials_loopback_and_is_refused_exactly() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer = Arc::new(Dialer::default());
        let pid = i32::try_from(std::process::id()).unwrap();
        let namespace = NetNs::open(&dialer, pid, port, None).await.unwrap();
        for _ in 0..3 {
            let stream = namespace.dial().await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        }
        let listens = async || match namespace.listens().await {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            listens => Some(listens.unwrap()),
        };
        assert_ne!(listens().await, Some(Listens::No));
        drop(listener);
        assert_ne!(listens().await, Some(Listens::Yes));
        let refused = namespace.dial().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    #[ignore = "needs root"]
    async fn finds_a_service_on_the_other_loopback() {
        let listener = tokio::net::TcpListener::bind("[::1]:0").await.expect("IPv6 on loopback");
        let port = listener.local_addr().unwrap().port();
        let dialer = Arc::new(Dialer::default());
        let pid = i32::try_from(std::process::id()).unwrap();
        let namespace = NetNs::open(&dialer, pid, port, None).await.unwrap();
        assert_ne!(namespace.listens().await.unwrap_or(Listens::Yes), Listens::V6);
        assert!(namespace.dial().await.unwrap().peer_addr().unwrap().is_ipv6());
    }

    #[tokio::test]
    #[ignore = "needs root"]
    async fn a_service_that_begins_to_listen_between_two_dials_is_found_at_loopback_afterwards() {
        let early = tokio::net::TcpListener::bind("[::1]:0").await.expect("IPv6 on loopback");
        let port = early.local_addr().unwrap().port();
        let dialer = Arc::new(Dialer::default());
        let pid = i32::try_from(std::process::id()).unwrap();
        let namespace = NetNs::open(&dialer, pid, port, None).await.unwrap();
        let is_v4 = async || namespace.dial().await.unwrap().peer_addr().unwrap().is_ipv4();
        assert!(!is_v4().await);
        let _late = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        assert!(is_v4().await && is_v4().await);
    }

    #[tokio::test]
    #[ignore = "needs root"]
    async fn a_connection_to_an_address_that_can_be_taken_away_is_watched() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer = Arc::new(Dialer::default());
        let pid = i32::try_from(std::process::id()).unwrap();
        // The second stands in for one of an interface: it leads to loopback, and does not say so.
        for (ip, watched) in [("127.0.0.1", false), ("::ffff:127.0.0.1", true)] {
            let mut namespace = NetNs::open(&dialer, pid, port, None).await.unwrap();
            namespace.candidates = vec![(ip.parse::<std::net::IpAddr>().unwrap(), port).into()];
            let stream = namespace.dial().await.unwrap();
            assert_eq!(socket2::SockRef::from(&stream).keepalive().unwrap(), watched, "{ip}");
        }
    }

    #[tokio::test]
    async fn a_process_that_is_not_there_has_no_namespace() {
        let dialer = Arc::new(Dialer::default());
        assert!(NetNs::open(&dialer, i32::MAX, 1, None).await.is_err());
    }
}
