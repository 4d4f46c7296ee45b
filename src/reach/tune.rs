//! The socket options of every connection that is kept.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long an engine or a container may leave unanswered what it is asked or sent.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);

/// How often a silent peer is asked before it is given up.
const QUESTIONS: u32 = 5;

/// Sets what connections need that are kept: both legs of a session, and those to engines. On a
/// listening socket, what it accepts inherits it (Linux), which saves seven calls per connection.
///
/// # Errors
/// As for setsockopt(2).
pub fn tune(socket: &impl AsFd, given_up_after: Option<Duration>) -> io::Result<()> {
    prompt(socket)?;
    watched(socket, given_up_after)
}

/// What is sent goes at once. Urgent data is kept in line: out of line, one urgent byte is lost
/// to the reader.
pub(super) fn prompt(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)
}

/// Another end that is gone without a word is found while nothing is on its way to it: after so
/// long, in seconds and at least 6, or never. While something is, [`unacknowledged`](super::unacknowledged) tells.
///
/// # Errors
/// As for setsockopt(2).
pub fn watched(socket: &impl AsFd, given_up_after: Option<Duration>) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let Some(limit) = given_up_after else {
        return socket.set_keepalive(false);
    };
    let second = Duration::from_secs(1);
    let interval = (limit / (QUESTIONS + 2)).max(second);
    let interval = Duration::from_secs(interval.as_secs());
    let quiet = limit.saturating_sub(interval * QUESTIONS).max(second);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(quiet).with_interval(interval).with_retries(QUESTIONS),
    )
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
