//! Whether a socket listens at an address, asked of the kernel by that address.
//!
//! See sock_diag(7). /proc/net/tcp tells it as well, but each look at that walks
//! the machine's whole table of connections, however few of them there are:
//! 4 ms for each kind of address where the table is large, and 10 us here.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;

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
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// Whether the kernel answers such questions. One that does not says what it
/// also says of an address where nobody listens, so that it is asked about one
/// where somebody does.
pub(super) fn can_be_asked() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let asked = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let socket = socket()?;
            socket.set_nonblocking(true)?;
            listens(&socket, listener.local_addr()?)
        };
        let answer: io::Result<bool> = asked();
        tracing::debug!(?answer, "asked the kernel about a listener of our own");
        matches!(answer, Ok(true))
    })
}

/// A socket to ask with, about the network namespace that it is made in.
pub(super) fn socket() -> io::Result<Socket> {
    let netlink = Domain::from(i32::from(AddressFamily::NETLINK.as_raw()));
    Socket::new(netlink, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::from(SOCK_DIAG)))
}

/// Whether a connection to this address would find a listener. Does not wait:
/// the kernel has answered before the question is sent.
pub(super) fn listens(mut socket: &Socket, address: SocketAddr) -> io::Result<bool> {
    socket.write_all(&question(address))?;
    let mut answer = [0; 512];
    let length = socket.read(&mut answer)?;
    read(&answer[..length])
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(address: SocketAddr) -> Vec<u8> {
    const LENGTH: u32 = 72;
    const TCP: u8 = 6;

    let (family, mut ip) = match address.ip() {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    ip.resize(16, 0);
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // Sequence number and port of the sender: there is one question at a time.
    bytes.extend([0; 8]);
    bytes.extend([u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0]);
    // In any state.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(address.port().to_be_bytes());
    // From any address and port.
    bytes.extend([0; 2]);
    bytes.extend(ip);
    bytes.extend([0; 16]);
    // Over any interface; no cookie.
    bytes.extend([0; 4]);
    bytes.extend([u8::MAX; 8]);
    bytes
}

/// The type from `struct nlmsghdr`; then `struct nlmsgerr` or `struct inet_diag_msg`.
fn read(answer: &[u8]) -> io::Result<bool> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(BY_FAMILY), Some(_)) => Ok(answer.get(17) == Some(&LISTEN)),
        (Some(ERROR), Some(code)) if code == -Errno::NOENT.raw_os_error() => Ok(false),
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpStream};

    use super::*;

    #[test]
    fn a_listener_is_found_at_its_addresses_and_nothing_else_is() {
        assert!(can_be_asked(), "this test needs a kernel with sock_diag for TCP");
        let socket = socket().unwrap();
        let is = |address: (IpAddr, u16)| listens(&socket, address.into()).unwrap();
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is((v4, port)));
        assert!(!is((v6, port)));
        assert!(!is((Ipv4Addr::new(127, 0, 0, 2).into(), port)));
        // Neither a connection nor one that has ended counts.
        let client = TcpStream::connect((v4, port)).unwrap();
        let (served, _) = listener.accept().unwrap();
        drop(listener);
        assert!(!is((v4, port)) && !is((v4, client.local_addr().unwrap().port())));
        drop((served, client));
        assert!(!is((v4, port)));
    }

    #[test]
    fn one_that_listens_everywhere_is_found_by_either_kind_of_address() {
        assert!(can_be_asked(), "this test needs a kernel with sock_diag for TCP");
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("IPv6");
        let port = listener.local_addr().unwrap().port();
        let socket = socket().unwrap();
        assert!(listens(&socket, (Ipv6Addr::LOCALHOST, port).into()).unwrap());
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("net.ipv6.bindv6only is off");
        assert!(listens(&socket, (Ipv4Addr::LOCALHOST, port).into()).unwrap());
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(read(&[]).is_err());
        let refused = |code: i32| {
            let mut answer = [0; 36];
            answer[4] = 2;
            answer[16..20].copy_from_slice(&(-code).to_ne_bytes());
            read(&answer)
        };
        assert!(!refused(Errno::NOENT.raw_os_error()).unwrap());
        assert_eq!(
            refused(Errno::PERM.raw_os_error()).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
    }
}
