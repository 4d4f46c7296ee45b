//! Whether the far end of a connection still acknowledges what it is sent.
//!
//! TCP_USER_TIMEOUT cannot tell: it ends a connection to a peer that is gone, and one to a peer
//! that lives and does not read, alike (`docs/decisions/0044`). The difference shows in what the
//! kernel knows of the connection: a peer that does not read answers each window probe.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::Socket;
use tokio::net::TcpStream;

use super::{listening, sock_diag};

/// The questions in a row that have to be unanswered: the last may be on its way, and others may
/// have been lost.
const TRIES: u8 = 3;
/// `tcpi_last_ack_recv` in `struct tcp_info`.
const LAST_ACK: usize = 56;

/// The data that the far end of a connection has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Bytes that were written; the end of the direction counts as one.
    pub bytes: u32,
    /// How many retransmissions or window probes in a row are unanswered.
    pub tries: u8,
    /// The time since the far end has acknowledged anything.
    pub silence: Duration,
}

/// Asks the kernel about a connection of this network namespace; `None` where it has none such.
///
/// # Errors
/// The kernel cannot be asked about sockets.
pub fn unacknowledged(stream: &TcpStream) -> io::Result<Option<Unacknowledged>> {
    asked_with(&sock_diag::socket()?, stream)
}

/// The same with a socket of the connection's own network namespace.
pub(super) fn asked_with(
    socket: &Socket,
    stream: &TcpStream,
) -> io::Result<Option<Unacknowledged>> {
    // A kernel that cannot be asked answers as if there were no such connection.
    if !listening::can_be_asked() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // The kernel knows an IPv4 connection of an IPv6 socket by its IPv4 addresses.
    let canonical = |address: SocketAddr| match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    };
    let (local, remote) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
    let Some(answer) = sock_diag::connection(socket, local, remote)? else {
        return Ok(None);
    };
    let Some(silence) = answer.info.get(LAST_ACK..LAST_ACK + 4) else {
        return Ok(None);
    };
    let silence = u32::from_ne_bytes(silence.try_into().unwrap_or_default());
    Ok(Some(Unacknowledged {
        bytes: answer.unacknowledged,
        tries: answer.retries,
        silence: Duration::from_millis(silence.into()),
    }))
}

// === impl Unacknowledged ===

impl Unacknowledged {
    /// Whether the far end is gone: it has answered neither data nor probes for at least `limit`.
    #[must_use]
    pub fn is_given_up(&self, limit: Duration) -> bool {
        self.bytes > 0 && self.tries >= TRIES && self.silence >= limit
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_read_acknowledges_and_is_not_given_up() {
        for listen in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(listen).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut near = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            assert_eq!(unacknowledged(&far).unwrap().expect("known").bytes, 0);
            let mut filled = 0;
            while let Ok(written) = far.try_write(&[7; 1 << 16]) {
                filled += written;
            }
            let waiting = unacknowledged(&far).unwrap().expect("known");
            assert!(waiting.bytes > 0 && filled > 0, "{waiting:?}");
            assert!(!waiting.is_given_up(Duration::ZERO), "{waiting:?}");
            drop(far);
            near.read_to_end(&mut Vec::new()).await.unwrap();
        }
    }

    #[test]
    fn nobody_is_given_up_who_has_all_or_has_answered() {
        let limit = Duration::from_secs(15);
        let gone = Unacknowledged { bytes: 1, tries: TRIES, silence: limit };
        assert!(gone.is_given_up(limit));
        assert!(!Unacknowledged { bytes: 0, ..gone }.is_given_up(limit));
        assert!(!Unacknowledged { tries: TRIES - 1, ..gone }.is_given_up(limit));
        let heard = Duration::from_millis(14_999);
        assert!(!Unacknowledged { silence: heard, ..gone }.is_given_up(limit));
    }
}
