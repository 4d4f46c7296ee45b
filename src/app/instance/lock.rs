//! The lock of an instance: the abstract unix socket `ganger/instance/NAME`, and who has it.
//!
//! One for all users and environments of a network namespace, and nothing is left in a file
//! system. Anybody can hold such a name, so that it counts whose the holder is.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;
use socket2::{Domain, Protocol, Socket, Type};

/// How often the lock is asked for when it is taken and nobody is found to have it.
const TRIES: usize = 3;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _listener: UnixListener,
}

/// Who has a lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if it can be told.
    pub pid: Option<i32>,
    /// Its user, if it can be told.
    pub uid: Option<u32>,
}

/// The lock of this name, or who has it, if that can be told.
pub(super) fn lock(name: &str) -> io::Result<Result<Lock, Option<Holder>>> {
    let path = format!("ganger/instance/{name}");
    let address = SocketAddr::from_abstract_name(&path)?;
    for _ in 0..TRIES {
        match UnixListener::bind_addr(&address) {
            Ok(listener) => return Ok(Ok(Lock { _listener: listener })),
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

/// Who is at an address, as the kernel knows it.
pub(super) fn holder(path: &str) -> Option<Holder> {
    asked(path).or_else(|| match listed(path) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(error = error.to_string(), "the kernel does not list unix sockets");
            None
        }
    })
}

/// From a connection. Nobody accepts there: once as many have asked as it has room for, the
/// kernel would let the next one wait for ever; and nobody has to listen to hold a name.
fn asked(path: &str) -> Option<Holder> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    let address = SocketAddrUnix::new_abstract_name(path.as_bytes()).ok()?;
    connect(&socket, &address).ok()?;
    let peer = socket_peercred(&socket).ok()?;
    Some(Holder { pid: Some(peer.pid.as_raw_nonzero().get()), uid: Some(peer.uid.as_raw()) })
}

/// From the kernel's list of unix sockets, see sock_diag(7), which has the users alone.
fn listed(path: &str) -> io::Result<Option<Holder>> {
    /// `NETLINK_SOCK_DIAG`.
    const SOCK_DIAG: i32 = 4;

    let netlink = Domain::from(i32::from(AddressFamily::NETLINK.as_raw()));
    let kind = Type::DGRAM.nonblocking().cloexec();
    let mut socket = Socket::new(netlink, kind, Some(Protocol::from(SOCK_DIAG)))?;
    socket.write_all(&question())?;
    let name: Vec<u8> = [b"\0", path.as_bytes()].concat();
    let mut answer = vec![0; 64 << 10];
    loop {
        let length = socket.read(&mut answer)?;
        match read(&answer[..length], &name)? {
            Part::More => {}
            Part::End => return Ok(None),
            Part::Found(uid) => return Ok(Some(Holder { pid: None, uid })),
        }
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`, about all sockets.
fn question() -> Vec<u8> {
    const LENGTH: u32 = 40;
    /// `SOCK_DIAG_BY_FAMILY`; `NLM_F_REQUEST | NLM_F_DUMP`.
    const HEADER: [u16; 2] = [BY_FAMILY, 0x301];
    /// `UDIAG_SHOW_NAME | UDIAG_SHOW_UID`.
    const SHOW: u32 = 0x41;

    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(HEADER.iter().flat_map(|word| word.to_ne_bytes()));
    // Sequence number and port of the sender: there is one question.
    bytes.extend([0; 8]);
    bytes.extend([u8::try_from(AddressFamily::UNIX.as_raw()).unwrap_or_default(), 0, 0, 0]);
    // In any state; of any number.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(SHOW.to_ne_bytes());
    bytes.extend([u8::MAX; 8]);
    bytes
}

const BY_FAMILY: u16 = 20;

/// What a part of the list says.
enum Part {
    More,
    End,
    Found(Option<u32>),
}

/// Messages, each of a `struct nlmsghdr`, a `struct unix_diag_msg` and attributes.
fn read(mut answer: &[u8], name: &[u8]) -> io::Result<Part> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    const HEADERS: usize = 32;
    const NAME: u16 = 0;
    const UID: u16 = 7;
    /// `udiag_type`.
    const STREAM: u8 = 1;

    while let Some((length, kind)) = header(answer, 4) {
        let message = answer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            DONE => return Ok(Part::End),
            ERROR => {
                let code = message.get(16..20).and_then(|code| code.try_into().ok());
                let code = code.map_or(0, i32::from_ne_bytes);
                return Err(io::Error::from_raw_os_error(-code));
            }
            BY_FAMILY => {
                let attributes = message.get(HEADERS..).unwrap_or_default();
                // One of another type does not hold a name of this one.
                if message.get(17) == Some(&STREAM) && attribute(attributes, NAME) == Some(name) {
                    let uid = attribute(attributes, UID).and_then(|uid| uid.try_into().ok());
                    return Ok(Part::Found(uid.map(u32::from_ne_bytes)));
                }
            }
            _ => {}
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Part::More)
}

/// The value of one attribute.
fn attribute(mut all: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((length, kind)) = header(all, 2) {
        if kind == wanted {
            return all.get(4..length);
        }
        all = all.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The length, of as many bytes as `size`, and the kind that follows it; a length that leads
/// nowhere is the end.
fn header(bytes: &[u8], size: usize) -> Option<(usize, u16)> {
    let field = |from: usize| bytes.get(from..from + 2)?.try_into().ok().map(u16::from_ne_bytes);
    let length = match size {
        2 => usize::from(field(0)?),
        _ => u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?).try_into().ok()?,
    };
    (length >= size + 2).then_some((length, field(size)?))
}

// === impl Holder ===

impl Holder {
    /// Whether it is another user's, who is not root: nobody who could decide for us.
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
