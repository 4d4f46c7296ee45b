//! The socket options of every connection that is kept.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long an engine or a container may leave probes and data unanswered.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);

/// How often a silent peer is asked before it is given up.
const QUESTIONS: u32 = 5;

/// Sets the options of connections that are kept: both legs of a session, and those to engines.
/// Accepted connections inherit them from a listening socket (Linux), which saves seven calls each.
///
/// # Errors
/// As for setsockopt(2).
pub fn tune(socket: &impl AsFd, given_up_after: Option<Duration>) -> io::Result<()> {
    prompt(socket)?;
    watched(socket, given_up_after)
}

/// Sends data at once (TCP_NODELAY). Urgent data is kept in line: out of line, one urgent byte is
/// lost to the reader.
pub(super) fn prompt(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)
}

/// Finds a far end that is gone without a word while no data is in flight: after so long, in
/// seconds and at least 6, or never. Otherwise [`unacknowledged`](super::unacknowledged) tells.
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

/// For a connection that does not leave this machine: turns pacing off, where it is the default
/// (bbr). There is no path whose bandwidth would be to be found out, and pacing costs throughput
/// and processor time (`docs/decisions/0028`). Accepted connections inherit this from a listening
/// socket; on a connected one it comes too late. Where this is forbidden, the default stays.
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
