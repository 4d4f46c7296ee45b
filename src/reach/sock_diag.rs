//! Questions to the kernel about one socket of a network namespace, by its addresses.
//!
//! See sock_diag(7). /proc/net/tcp tells of sockets as well, but each look at that walks the
//! machine's whole table of connections, however few of them there are: 4 ms for each kind of
//! address where the table is large, and 10 us here.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::AddressFamily;
use socket2::Socket;

pub(super) use crate::netlink::socket;
use crate::netlink::{self, Message, REQUEST, attribute, u32_at};

/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// `INET_DIAG_INFO`: `struct tcp_info` is wanted, and holds the attribute.
const INFO: u8 = 2;

/// The kernel's answer about one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its state, such as `TCP_LISTEN`.
    pub(super) state: u8,
    /// How often in a row the running timer has expired.
    pub(super) retries: u8,
    /// Bytes that were written and are not acknowledged.
    pub(super) unacknowledged: u32,
    /// `struct tcp_info`; empty unless it was asked for.
    pub(super) info: Vec<u8>,
}

/// Asks about the socket that listens at `local`.
///
/// Does not wait, as [`connection`]: the kernel answers before the write returns.
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

/// `struct inet_diag_req_v2`.
fn question(local: SocketAddr, remote: SocketAddr, extensions: u8) -> Vec<u8> {
    const TCP: u8 = 6;

    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut bytes = vec![u8::try_from(family.as_raw()).unwrap_or_default(), TCP, extensions, 0];
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
    netlink::question(REQUEST, &bytes)
}

/// `struct inet_diag_msg` and attributes. `None` where there is no such socket.
fn read(mut answer: &[u8]) -> io::Result<Option<Answer>> {
    let message = match netlink::next(&mut answer) {
        Ok(Some(Message::Socket(message))) => message,
        Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Family, state, timer, retries; 48 bytes of addresses; expiry, receive queue.
    let (Some(state), Some(retries), Some(unacknowledged)) =
        (message.get(1).copied(), message.get(3).copied(), u32_at(message, 60))
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let attributes = message.get(MESSAGE..).unwrap_or_default();
    let info = attribute(attributes, INFO.into()).unwrap_or_default().to_vec();
    Ok(Some(Answer { state, retries, unacknowledged, info }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(read(&[]).is_err());
        let answered = |kind: u8, code: i32| {
            let mut answer = [0; 36];
            (answer[0], answer[4]) = (36, kind);
            answer[16..20].copy_from_slice(&(-code).to_ne_bytes());
            read(&answer)
        };
        assert_eq!(answered(2, Errno::NOENT.raw_os_error()).unwrap(), None);
        let refused = answered(2, Errno::PERM.raw_os_error()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        // About a socket, and too short for one.
        assert_eq!(answered(20, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
