//! Whether a socket listens at an address, asked of the kernel by that address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;

use socket2::Socket;

use super::sock_diag;

/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// Whether connections to a container's port would find its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// Connections would find it.
    Yes,
    /// Nobody listens there.
    No,
    /// Only on loopback, and connections come from outside.
    Loopback,
    /// Only for IPv6, and connections are of IPv4, or have no other way than that.
    V6,
}

// === impl Listens ===

impl Listens {
    /// Why connections would not find it, for people.
    #[must_use]
    pub fn why_not(self, port: u16) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::No => Some(format!("nothing listens on port {port}")),
            Self::Loopback => Some(format!(
                "it listens on port {port} of loopback alone, and a published port leads to its \
                 other addresses: have it listen on 0.0.0.0"
            )),
            Self::V6 => Some(format!(
                "it listens on port {port} for IPv6 alone, and is reached by IPv4: have it listen \
                 on 0.0.0.0, or on [::] for both (IPV6_V6ONLY off)"
            )),
        }
    }
}

/// Whether the kernel answers such questions. A kernel that does not answers as for an address
/// where nobody listens: therefore it is asked about a listener of this process.
pub(super) fn can_be_asked() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let asked = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let socket = sock_diag::socket()?;
            socket.set_nonblocking(true)?;
            listens(&socket, listener.local_addr()?)
        };
        let answer: io::Result<bool> = asked();
        tracing::debug!(?answer, "asked the kernel about a listener of our own");
        matches!(answer, Ok(true))
    })
}

/// Whether a connection to this address would find a listener. Does not wait.
pub(super) fn listens(socket: &Socket, address: SocketAddr) -> io::Result<bool> {
    let found = sock_diag::listener(socket, address)?;
    Ok(found.is_some_and(|answer| answer.state == LISTEN))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr, TcpStream};

    use super::*;

    #[test]
    fn a_listener_is_found_at_its_addresses_and_nothing_else_is() {
        assert!(can_be_asked(), "this test needs a kernel with sock_diag for TCP");
        let socket = sock_diag::socket().unwrap();
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
        let socket = sock_diag::socket().unwrap();
        assert!(listens(&socket, (Ipv6Addr::LOCALHOST, port).into()).unwrap());
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("net.ipv6.bindv6only is off");
        assert!(listens(&socket, (Ipv4Addr::LOCALHOST, port).into()).unwrap());
    }
}
