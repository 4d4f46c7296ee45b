//! Questions to the kernel about one socket of a network namespace, by its addresses.
//!
//! See sock_diag(7). /proc/net/tcp tells of sockets as well, but each look at that walks the
//! machine's whole table of connections, however few of them there are: 4 ms for each kind of
//! address where the table is large, and 10 us here.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::AddressFamily;
use socket2::{Domain, Protocol, Socket, Type};

/// `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: i32 = 4;
/// `SOCK_DIAG_BY_FAMILY`, of a question and its answer.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// `INET_DIAG_INFO`: `struct tcp_info` is wanted, and holds the attribute.
const INFO: u8 = 2;

/// What the kernel says of one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its state, such as `TCP_LISTEN`.
    pub(super) state: u8,
    /// How often in a row the running timer has struck.
    pub(super) retries: u8,
    /// Bytes that were written and are not acknowledged.
    pub(super) unacknowledged: u32,
    /// `struct tcp_info`; empty unless it was asked for.
    pub(super) info: Vec<u8>,
}

/// A socket to ask with, about the network namespace that it is made in.
pub(super) fn socket() -> io::Result<Socket> {
    let netlink = Domain::from(i32::from(AddressFamily::NETLINK.as_raw()));
    Socket::new(netlink, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::from(SOCK_DIAG)))
}

/// Asks about the socket that listens at `local`.
///
/// Does not wait, as [`connection`]: the kernel has answered before the question is sent.
pub(super) fn listener(socket: &Socket, local: SocketAddr) -> io::Result<Option<Answer>> {
    let any: IpAddr = match local {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    ask(socket, &question(local, (any, 0).into(), 0))
}

/// Asks about the connection between two addresses, with its `struct tcp_info`.
pub(super) fn connection(
    socket: &Socket,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Option<Answer>> {
    ask(socket, &question(local, remote, 1 << (INFO - 1)))
}

fn ask(mut socket: &Socket, question: &[u8]) -> io::Result<Option<Answer>> {
    socket.write_all(question)?;
    let mut answer = [0; 1024];
    let length = socket.read(&mut answer)?;
    read(&answer[..length])
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(local: SocketAddr, remote: SocketAddr, extensions: u8) -> Vec<u8> {
    const LENGTH: u32 = 72;
    const TCP: u8 = 6;

    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // Sequence number and port of the sender: there is one question at a time.
    bytes.extend([0; 8]);
    bytes.extend([u8::try_from(family.as_raw()).unwrap_or_default(), TCP, extensions, 0]);
    // In any state.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    for address in [local, remote] {
        let mut ip = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        ip.resize(16, 0);
        bytes.extend(ip);
    }
    // Over the interface of a link-local address, else over any; no cookie.
    let interface = if let SocketAddr::V6(remote) = remote { remote.scope_id() } else { 0 };
    bytes.extend(interface.to_ne_bytes());
    bytes.extend([u8::MAX; 8]);
    bytes
}

/// The type from `struct nlmsghdr`; then `struct nlmsgerr`, or `struct inet_diag_msg` and
/// attributes. `None` where there is no such socket.
fn read(answer: &[u8]) -> io::Result<Option<Answer>> {
    let u32_at = |at: usize| {
        answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
    };
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match (kind, u32_at(HEADER)) {
        (Some(BY_FAMILY), Some(_)) => {
            // Family, state, timer, retries; 48 bytes of addresses; expiry, receive queue.
            let state = answer.get(HEADER + 1).copied();
            let retries = answer.get(HEADER + 3).copied();
            let (Some(state), Some(retries), Some(unacknowledged)) =
                (state, retries, u32_at(HEADER + 60))
            else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let attributes = answer.get(HEADER + MESSAGE..).unwrap_or_default();
            let info = attribute(attributes, INFO.into()).unwrap_or_default().to_vec();
            Ok(Some(Answer { state, retries, unacknowledged, info }))
        }
        (Some(ERROR), Some(code)) => {
            let code = code.cast_signed();
            if code == -Errno::NOENT.raw_os_error() {
                return Ok(None);
            }
            Err(io::Error::from_raw_os_error(-code))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The value of the `struct rtattr` of this type.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind == wanted {
            return attributes.get(4..length);
        }
        // Each is aligned to four bytes; one of no length would never end.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(read(&[]).is_err());
        let refused = |code: i32| {
            let mut answer = [0; 36];
            answer[4] = 2;
            answer[16..20].copy_from_slice(&(-code).to_ne_bytes());
            read(&answer)
        };
        assert_eq!(refused(Errno::NOENT.raw_os_error()).unwrap(), None);
        assert_eq!(
            refused(Errno::PERM.raw_os_error()).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        let mut short = [0; HEADER + 4];
        short[4] = 20;
        assert_eq!(read(&short).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn attributes_are_found_behind_others_and_nonsense_ends() {
        // One of five bytes and its padding, and one of two.
        let both = [5, 0, 1, 0, 7, 0, 0, 0, 6, 0, 2, 0, 8, 9];
        assert_eq!(attribute(&both, 1), Some(&[7][..]));
        assert_eq!(attribute(&both, 2), Some(&[8, 9][..]));
        assert_eq!(attribute(&both, 3), None);
        assert_eq!(attribute(&[0; 64], 3), None);
        assert_eq!(attribute(&[3, 0, 2, 0], 2), None);
        assert_eq!(attribute(&[200, 0, 2, 0, 1], 2), None);
    }
}
