//! Socket options, and the ways a connection is ended.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How long a client may take to take in the last bytes of a container that died.
const DELIVERY: Duration = Duration::from_secs(60);
/// How long a client may go on sending to a container that has ended well.
const LINGER: Duration = Duration::from_secs(5);

/// Lifts the time-out for data that the peer has not acknowledged.
///
/// The kernel applies it to a closed window too, so that a peer that is alive
/// and merely does not read would be cut off after 15 s (seen). Once a peer has
/// shown that it can be slow, the idle time-out alone decides.
pub(super) fn be_patient(stream: &TcpStream) {
    // An error would leave the stricter time-out in force, which is safe.
    let _ = SockRef::from(stream).set_tcp_user_timeout(None);
}

/// Makes the coming close a reset, whenever it happens: what was cut must not
/// be taken for whole.
pub(super) fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Resets a connection once its peer has all that was sent.
///
/// A reset throws away what still waits to be sent, and there is no safe
/// wrapper of SIOCOUTQ to ask for that. Instead: a socket whose send buffer is
/// as small as can be, and that calls itself writable only with nothing unsent,
/// is writable when everything was sent and less than one small packet of it
/// is unacknowledged. Only if that very packet is lost on its way, the peer sees
/// the reset without it. Gives up after a minute.
///
/// # Cancel safety
/// Dropping the future resets at once.
pub(super) async fn reset_after_delivery(stream: TcpStream) {
    reset_on_close(&stream);
    let socket = SockRef::from(&stream);
    if socket.set_send_buffer_size(1).is_err() || socket.set_tcp_notsent_lowat(1).is_err() {
        return;
    }
    let deadline = Instant::now() + DELIVERY;
    let mut pause = Duration::from_millis(1);
    while !is_writable(&stream) && Instant::now() < deadline {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Whether the kernel says so now; a broken connection counts.
fn is_writable(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())) != Ok(0)
}

/// Ends a connection whose peer may still be sending: closing it outright would
/// reset it, and the reset could overtake what the peer has yet to read.
///
/// # Cancel safety
/// Dropping the future closes at once.
pub(super) async fn close_gently(stream: TcpStream) {
    let _ = SockRef::from(&stream).shutdown(Shutdown::Write);
    let _ = timeout(LINGER, async {
        let mut sink = [0; 512];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut sink) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                _ => {}
            }
        }
    })
    .await;
}

/// Returns when the client has left, and says how. A client that has sent
/// something, be it `heard` already, and then ended its direction may still want
/// the answer, and stays.
///
/// # Cancel safety
/// Nothing is taken from the socket.
pub(super) async fn left(client: &TcpStream, heard: bool) -> &'static str {
    if !heard && matches!(client.peek(&mut [0]).await, Ok(0)) {
        return "the client hung up";
    }
    // What it sent hides an end, but not a reset.
    let _ = client.ready(tokio::io::Interest::ERROR).await;
    "the client reset the connection"
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn a_reset_waits_for_the_last_byte_whatever_the_length() {
        // The client's window closes somewhere among these lengths, so that
        // now much, now little is left to send.
        for length in (1..16_000).step_by(500) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut near = socket.connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut far, _) = listener.accept().await.unwrap();
            far.write_all(&vec![7; length]).await.unwrap();
            let mut got = Vec::new();
            // In this order: a reset that does not wait comes before the read.
            let ((), end) = tokio::join!(reset_after_delivery(far), near.read_to_end(&mut got));
            assert_eq!(got.len(), length);
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
