//! Sockets in a container's network namespace.
//!
//! A socket belongs for life to the namespace it was made in, whichever thread connects it.
//! Therefore a thread of its own enters the namespace, makes a socket and comes back, and waits for
//! nothing in there. A container keeps one socket made ahead, so that a dial is a connect(2) and no
//! hop to that thread.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Instant;

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

/// A container's network namespace. No other container gets it while this one may be dialled: a
/// pooled namespace goes to another only after the removal of this container.
pub struct NetNs {
    fd: Arc<OwnedFd>,
    dialer: Arc<Dialer>,
    spare: Mutex<Option<Socket>>,
    candidates: Vec<SocketAddr>,
    found: OnceLock<SocketAddr>,
    /// An address where the service listened while it did not at those before, and when that was
    /// seen: it may have begun meanwhile.
    found_once: Mutex<Option<(SocketAddr, Instant)>>,
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
            // The caller may have given up.
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

/// Ends when the dialer does, or when it cannot go back: a thread that is in a container's
/// namespace must not do anything else.
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
    // Asked here, and not in a container's namespace.
    is_paced();
    while let Ok(Job { namespace, make, done }) = jobs.recv() {
        let (made, back) = match enter(namespace.as_fd()) {
            Ok(()) => (make(), enter(home.as_fd())),
            // The thread has not left its namespace.
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

/// Fails where loopback has no IPv6 address. Sends nothing: a connect of UDP does not.
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
            found_once: Mutex::default(),
        };
        // Shows that the namespace can be entered, too.
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
    /// [`socket`](super::socket()) sets. Once settled, the address is the only one that is tried.
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
        let (began, mut first) = (Instant::now(), None);
        for address in &self.candidates {
            match self.connect(*address).await {
                Ok(stream) => {
                    if first.is_none() || self.is_found_again(*address, began) {
                        // Another dial may have found the same.
                        let _ = self.found.set(*address);
                    }
                    return Ok(stream);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    /// Whether a dial before this one also found it at this address, and not at those before: the
    /// service may have begun to listen everywhere between two connects.
    fn is_found_again(&self, address: SocketAddr, began: Instant) -> bool {
        let mut once = self.found_once.lock();
        match *once {
            Some((before, seen)) if before == address => seen <= began,
            _ => {
                *once = Some((address, Instant::now()));
                false
            }
        }
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
                // A listener on all addresses is found even where loopback has no IPv6 address.
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

    /// Whether an address answers a connection from inside the namespace, be it by a refusal.
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
            // Disconnecting a network takes the address away, without a word.
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
mod tests;
