//! The socket options of every connection that is kept.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::LazyLock;
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
/// socket, what it accepts inherits it (Linux), which saves seven calls per connection.
///
/// # Errors
/// As for setsockopt(2).
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    prompt(socket)?;
    watched(socket)
}

/// What is sent goes at once. Urgent data is kept in line: out of line, one urgent byte is lost
/// to the reader.
pub(super) fn prompt(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)
}

/// Another end that is gone without a word is found.
pub(super) fn watched(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// For a connection that does not leave this machine: has nothing paced, where the default is to
/// (bbr). There is no path whose bandwidth would be to be found out, and it costs throughput and
/// processor time (`docs/decisions/0028`). On a listening socket, what it accepts inherits it; on
/// one that is connected it comes too late. It stays as it is where this is forbidden.
pub fn unpaced(socket: &impl AsFd) {
    if is_paced() {
        let _ = SockRef::from(socket).set_tcp_congestion(b"reno");
    }
}

/// Whether a connection is paced unless its socket is told otherwise; asked of the network
/// namespace in which this is called first.
pub(super) fn is_paced() -> bool {
    static PACED: LazyLock<bool> = LazyLock::new(|| {
        fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
            .is_ok_and(|name| name.starts_with("bbr"))
    });
    *PACED
}
