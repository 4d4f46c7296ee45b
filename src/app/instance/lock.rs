//! The lock of an instance: the abstract unix socket `ganger/instance/NAME`, and who has it.
//!
//! All users and environments of a network namespace share it, and nothing is left in a file
//! system. Anybody can hold such a name, so that the user of its holder counts.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::geteuid;

use crate::netlink::{self, DUMP, Message, REQUEST, attribute, u32_at};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;
/// How often the lock is tried while it is taken and no holder is found.
const TRIES: usize = 3;

/// Held until it is dropped.
#[derive(Debug)]
pub(in crate::app) struct Lock {
    listener: UnixListener,
}

/// The process that has a lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if it can be told.
    pub pid: Option<i32>,
    /// Its user, if it can be told.
    pub uid: Option<u32>,
}

fn path(name: &str) -> String {
    format!("ganger/instance/{name}")
}

fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(path(name))
}

/// Connects to the holder of the lock of this name.
pub(in crate::app) fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&address(name)?)
}

/// The lock of this name, or its holder, if that can be told.
pub(super) fn lock(name: &str) -> io::Result<Result<Lock, Option<Holder>>> {
    let (path, address) = (path(name), address(name)?);
    for _ in 0..TRIES {
        match UnixListener::bind_addr(&address) {
            Ok(listener) => return Ok(Ok(Lock { listener })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if let Some(holder) = holder(&path) {
                    return Ok(Err(Some(holder)));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Err(None))
}

/// The holder of an address, as the kernel knows it.
pub(super) fn holder(path: &str) -> Option<Holder> {
    asked(path).or_else(|| match listed(path) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(error = error.to_string(), "the kernel does not list unix sockets");
            None
        }
    })
}

/// From a connection. The holder may not accept: once its backlog is full, the kernel would let a
/// client wait for ever; and a process need not listen to hold a name.
fn asked(path: &str) -> Option<Holder> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    let address = SocketAddrUnix::new_abstract_name(path.as_bytes()).ok()?;
    net::connect(&socket, &address).ok()?;
    let peer = socket_peercred(&socket).ok()?;
    Some(Holder { pid: Some(peer.pid.as_raw_nonzero().get()), uid: Some(peer.uid.as_raw()) })
}

/// From the kernel's list of unix sockets, see sock_diag(7), which has the users alone.
fn listed(path: &str) -> io::Result<Option<Holder>> {
    let mut socket = netlink::socket()?;
    socket.write_all(&question())?;
    let name: Vec<u8> = [b"\0", path.as_bytes()].concat();
    let mut answer = vec![0; 64 << 10];
    loop {
        let length = socket.read(&mut answer)?;
        let mut rest = &answer[..length];
        while let Some(message) = netlink::next(&mut rest)? {
            match message {
                Message::Done => return Ok(None),
                Message::Socket(message) if has_name(message, &name) => {
                    return Ok(Some(Holder { pid: None, uid: user(message) }));
                }
                Message::Socket(_) => {}
            }
        }
    }
}

/// `struct unix_diag_req`, about all sockets.
fn question() -> Vec<u8> {
    /// `UDIAG_SHOW_NAME | UDIAG_SHOW_UID`.
    const SHOW: u32 = 0x41;

    let mut bytes = vec![u8::try_from(AddressFamily::UNIX.as_raw()).unwrap_or_default(), 0, 0, 0];
    // In any state; of any number.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(SHOW.to_ne_bytes());
    bytes.extend([u8::MAX; 8]);
    netlink::question(REQUEST | DUMP, &bytes)
}

/// `struct unix_diag_msg`.
const MESSAGE: usize = 16;

/// Whether the message is of a stream socket of this name, as the lock is.
fn has_name(message: &[u8], name: &[u8]) -> bool {
    /// `udiag_type`: a socket of another type does not hold a name of this one.
    const STREAM: u8 = 1;
    const NAME: u16 = 0;

    let attributes = message.get(MESSAGE..).unwrap_or_default();
    message.get(1) == Some(&STREAM) && attribute(attributes, NAME) == Some(name)
}

fn user(message: &[u8]) -> Option<u32> {
    const UID: u16 = 7;

    attribute(message.get(MESSAGE..)?, UID).and_then(|uid| u32_at(uid, 0))
}

// === impl Lock ===

impl Lock {
    /// The listener for processes that connect. The kernel tells them that this process has the
    /// lock, even where another has passed it on.
    pub(in crate::app) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        net::listen(&self.listener, BACKLOG)?;
        self.listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl From<OwnedFd> for Lock {
    fn from(passed: OwnedFd) -> Self {
        Self { listener: passed.into() }
    }
}

// === impl Holder ===

impl Holder {
    /// Whether the holder is a user other than root and ours, who must not decide for us.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.uid.is_some_and(|uid| uid != 0 && uid != geteuid().as_raw())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process")?,
        }
        match self.uid.filter(|uid| *uid != geteuid().as_raw()) {
            Some(uid) => write!(f, " of user {uid}"),
            None => Ok(()),
        }
    }
}
