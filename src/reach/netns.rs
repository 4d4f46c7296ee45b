//! Sockets in a container's network namespace.
//!
//! A socket belongs for life to the namespace it was made in, whichever thread connects it.
//! Therefore a thread of its own enters the namespace, makes sockets and comes back, and waits for
//! nothing in there. A container keeps sockets made ahead, so that a dial is a connect(2) and no
//! hop to that thread, and one to ask the kernel with, so that neither is a look at its listener.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::connect::{self, Between, connect, connect_at_once};
use super::listening::{self, Listens};
use super::peer::{Unacknowledged, asked_with};
use super::process::network_namespace;
use super::sock_diag;
use super::tune::{GIVEN_UP_AFTER, is_paced, watched};

/// Sockets that a visit to a container's namespace makes ahead, once it is known to be dialled again
/// and again: a visit costs two calls of setns(2) and the wake-up of a thread.
const AHEAD: usize = 4;

/// Makes sockets in other network namespaces, on a thread of its own.
#[derive(Debug, Default)]
pub struct Dialer {
    visits: Mutex<Option<mpsc::UnboundedSender<Visit>>>,
}

/// Work to be done in a namespace, or told why the namespace cannot be entered.
struct Visit {
    namespace: Arc<OwnedFd>,
    work: Box<dyn FnOnce(io::Result<()>) + Send>,
}

pub(super) type Make = fn() -> io::Result<Socket>;

/// A container's network namespace. No other container gets it while this one may be dialled: a
/// pooled namespace goes to another only after the removal of this container.
pub struct NetNs {
    fd: Arc<OwnedFd>,
    dialer: Arc<Dialer>,
    /// Sockets for the next dials.
    spare: Arc<Mutex<Vec<Socket>>>,
    /// The socket that asks the kernel about this namespace. None after it failed: a late answer
    /// must not be taken for that to another question.
    inquirer: Mutex<Option<Socket>>,
    candidates: Vec<SocketAddr>,
    found: OnceLock<SocketAddr>,
    /// An address where the service listened while it did not at those before, and when that was
    /// seen: it may have begun meanwhile.
    found_once: Mutex<Option<(SocketAddr, Instant)>>,
}

// === impl Dialer ===

impl Dialer {
    /// Makes something in a network namespace.
    ///
    /// # Errors
    /// As for setns(2), or why it could not be made.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn make_in<T: Send + 'static>(
        &self,
        namespace: &Arc<OwnedFd>,
        make: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.visit(namespace, move |entered| {
            // The caller may have given up.
            let _ = sender.send(entered.and_then(|()| make()));
        });
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the dialling thread ended")))
    }

    /// Has work done in a network namespace, some time soon.
    fn visit(&self, namespace: &Arc<OwnedFd>, work: impl FnOnce(io::Result<()>) + Send + 'static) {
        let mut visit = Visit { namespace: Arc::clone(namespace), work: Box::new(work) };
        let mut visits = self.visits.lock();
        if let Some(sender) = &*visits {
            match sender.send(visit) {
                Ok(()) => return,
                // The thread could not come back from a namespace, and ended.
                Err(mpsc::error::SendError(returned)) => visit = returned,
            }
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let spawned = thread::Builder::new()
            .name("ganger-netns".to_owned())
            .spawn(move || work_off(receiver));
        match spawned {
            Ok(_) => {
                // The receiver is alive: the thread ends only after a visit.
                let _ = sender.send(visit);
                *visits = Some(sender);
            }
            Err(error) => (visit.work)(Err(error)),
        }
    }
}

/// Ends when the dialer does, or when it cannot go back: a thread that is in a container's
/// namespace must not do anything else.
fn work_off(mut visits: mpsc::UnboundedReceiver<Visit>) {
    let home = match std::fs::File::open("/proc/thread-self/ns/net") {
        Ok(home) => home,
        Err(error) => {
            // The next visit gets another thread, which may have better luck.
            if let Some(visit) = visits.blocking_recv() {
                (visit.work)(Err(error));
            }
            return;
        }
    };
    // Asked here, and not in a container's namespace.
    is_paced();
    while let Some(Visit { namespace, work }) = visits.blocking_recv() {
        let entered = enter(namespace.as_fd());
        let is_away = entered.is_ok();
        work(entered);
        if is_away && let Err(error) = enter(home.as_fd()) {
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
            spare: Arc::default(),
            inquirer: Mutex::default(),
            candidates: candidates.into_iter().flatten().map(|ip| (ip, port).into()).collect(),
            found: OnceLock::new(),
            found_once: Mutex::default(),
        };
        // Shows that the namespace can be entered, too.
        let (spare, inquirer) = namespace.make(|| Ok((tcp_v4()?, sock_diag::socket()))).await?;
        namespace.spare.lock().push(spare);
        // A kernel that cannot be asked is no reason to fail.
        *namespace.inquirer.lock() = inquirer.ok();
        Ok(namespace)
    }

    /// Has sockets made for the next dials, in the background, unless there are some.
    pub fn prepare(&self) {
        if !self.spare.lock().is_empty() {
            return;
        }
        let spare = Arc::clone(&self.spare);
        self.dialer.visit(&self.fd, move |entered| {
            if entered.is_err() || !spare.lock().is_empty() {
                return;
            }
            // A dial that finds none makes one itself, or fails with the reason.
            let made: Vec<_> = (0..AHEAD).map_while(|_| tcp_v4().ok()).collect();
            spare.lock().extend(made);
        });
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

    /// The same where it can be done without waiting: at the address that it has settled on, with a
    /// socket that was made ahead. `None` where it cannot.
    ///
    /// # Errors
    /// As for [`NetNs::dial`].
    pub fn dial_at_once(&self) -> Option<io::Result<std::net::TcpStream>> {
        let address = self.found.get().filter(|ip| ip.is_ipv4() && ip.ip().is_loopback())?;
        let socket = self.spare.lock().pop()?;
        connect_at_once(socket, *address).transpose()
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
        self.ensure_inquirer().await?;
        match self.listener()? {
            // A listener on all addresses is found even where loopback has no IPv6 address.
            Some(address) if address.is_ipv6() && self.make(reaches_v6).await.is_err() => {
                Ok(Listens::V6)
            }
            Some(_) => Ok(Listens::Yes),
            None => Ok(Listens::No),
        }
    }

    /// Whether a dial would certainly find the service, as far as that can be told without waiting.
    pub fn listens_at_once(&self) -> bool {
        matches!(self.listener(), Ok(Some(address)) if address.is_ipv4())
    }

    /// The address at which a dial would find a listener.
    fn listener(&self) -> io::Result<Option<SocketAddr>> {
        self.ask(|socket| {
            for address in &self.candidates {
                if listening::listens(socket, *address)? {
                    return Ok(Some(*address));
                }
            }
            Ok(None)
        })
    }

    /// Makes a socket to ask the kernel with, where there is none.
    async fn ensure_inquirer(&self) -> io::Result<()> {
        if listening::can_be_asked() && self.inquirer.lock().is_none() {
            let inquirer = self.make(sock_diag::socket).await?;
            *self.inquirer.lock() = Some(inquirer);
        }
        Ok(())
    }

    /// Asks the kernel about this namespace. Does not wait.
    fn ask<T>(&self, question: impl FnOnce(&Socket) -> io::Result<T>) -> io::Result<T> {
        if !listening::can_be_asked() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut inquirer = self.inquirer.lock();
        let Some(socket) = &*inquirer else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let answer = question(socket);
        if answer.is_err() {
            *inquirer = None;
        }
        answer
    }

    /// As [`unacknowledged`](super::unacknowledged), of a connection that was made here.
    ///
    /// # Errors
    /// The kernel cannot be asked about sockets.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn unacknowledged(&self, stream: &TcpStream) -> io::Result<Option<Unacknowledged>> {
        self.ensure_inquirer().await?;
        self.ask(|socket| asked_with(socket, stream))
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
        let make: Make = if address.is_ipv4() { tcp_v4 } else { tcp_v6 };
        let spare = if address.is_ipv4() { self.spare.lock().pop() } else { None };
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

    async fn make<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
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
