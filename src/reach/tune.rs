//! The socket options of every connection that is kept.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// A silent peer is asked whether it is there, so that one that is gone
/// without a word is found.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES: u32 = 3;
/// How long it may leave the question, or data, unanswered. Keepalive alone
/// does not work while data is on its way.
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// Sets what both legs of a session need, and connections to engines. On a listening
/// socket, what it accepts inherits it (Linux), which saves six calls per connection.
///
/// Urgent data is kept in line: out of line, one urgent byte is lost to the
/// reader.
///
/// # Errors
/// As for setsockopt(2).
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}
