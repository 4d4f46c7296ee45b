//! Socket options, and the ways a connection is ended.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use ganger_pool::backoff::Backoff;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};

use crate::reach::unacknowledged;

/// How long a client that has all may go on sending to a container that has exited normally.
const LINGER: Duration = Duration::from_secs(5);
/// The most bytes read from such a client. From then on its kernel holds the rest back.
const MOST_HEARD: usize = 8 << 20;
/// The pauses between two looks at what a client has yet to read.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(1), cap: Duration::from_secs(1) };

/// How long a client may take to receive the bytes that are left for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeliveryLimits {
    /// Without taking any of them; `None`: for ever.
    pub(super) idle: Option<Duration>,
    /// Without an answer to data and probes; `None`: as long as the kernel asks.
    pub(super) keepalive: Option<Duration>,
}

/// The outcome of the bytes that were left for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The client's kernel has acknowledged all, or the connection is gone.
    Done,
    /// The client has yet to take the rest.
    Waiting,
    /// The client has vanished.
    Vanished,
    /// The client lives, and has taken nothing for too long.
    Idle,
}

/// Watches a client take in what is left for it.
struct Rest<'a> {
    stream: &'a TcpStream,
    limits: DeliveryLimits,
    bytes: Option<u32>,
    since: Instant,
}

/// Makes the coming close a reset, whenever it happens: a stream that was cut must not be taken for
/// a whole one.
pub(super) fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Resets a connection once its peer has all that was sent, or has been given up. Returns which.
///
/// # Cancel safety
/// Dropping the future resets at once.
pub(super) async fn reset_after_delivery(stream: TcpStream, limits: DeliveryLimits) -> Delivery {
    reset_on_close(&stream);
    Rest::new(&stream, limits).taken().await
}

/// Ends a connection whose peer may still be sending: closing it outright would reset it, and the
/// reset could overtake what the peer has yet to read. A peer that has been given up is reset.
///
/// # Cancel safety
/// Dropping the future closes at once.
pub(super) async fn close_gently(stream: TcpStream, limits: DeliveryLimits) -> Delivery {
    let _ = SockRef::from(&stream).shutdown(Shutdown::Write);
    let taken = async {
        let delivery = Rest::new(&stream, limits).taken().await;
        if delivery == Delivery::Done {
            sleep(LINGER).await;
        }
        delivery
    };
    let delivery = tokio::select! {
        biased;
        delivery = taken => delivery,
        () = heard_out(&stream) => Delivery::Done,
    };
    if delivery != Delivery::Done {
        reset_on_close(&stream);
    }
    delivery
}

/// Reads up to the client's end, and discards the bytes. Yields to other connections of the thread,
/// however much comes.
async fn heard_out(stream: &TcpStream) {
    let mut sink = vec![0; 16 << 10];
    let mut heard = 0;
    while heard < MOST_HEARD && stream.readable().await.is_ok() {
        match stream.try_read(&mut sink) {
            Ok(0) => return,
            Ok(read) => heard += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        // `readable` does not yield as long as there is something to read.
        consume_budget().await;
    }
    std::future::pending().await
}

// === impl Rest ===

impl<'a> Rest<'a> {
    fn new(stream: &'a TcpStream, limits: DeliveryLimits) -> Self {
        Self { stream, limits, bytes: None, since: Instant::now() }
    }

    /// Waits until the client has it all or is given up; never [`Delivery::Waiting`].
    async fn taken(mut self) -> Delivery {
        let mut looks = 0;
        loop {
            match self.look() {
                Delivery::Waiting => {}
                delivery => return delivery,
            }
            looks += 1;
            sleep(PAUSES.after(looks)).await;
        }
    }

    fn look(&mut self) -> Delivery {
        match unacknowledged(self.stream) {
            Ok(None) => return Delivery::Done,
            Ok(Some(told)) if told.bytes == 0 => return Delivery::Done,
            Ok(Some(told)) => {
                if self.bytes.replace(told.bytes) != Some(told.bytes) {
                    self.since = Instant::now();
                }
                // The client may have been silent before there was anything to answer.
                let gone = |limit| told.is_given_up(limit) && self.since.elapsed() >= limit;
                if self.limits.keepalive.is_some_and(gone) {
                    return Delivery::Vanished;
                }
            }
            Err(_) if is_all_but_taken(self.stream) => return Delivery::Done,
            Err(_) => {}
        }
        let idle = self.limits.idle.is_some_and(|idle| self.since.elapsed() >= idle);
        if idle { Delivery::Idle } else { Delivery::Waiting }
    }
}

/// Whether the peer has all but a small packet of what was sent, where the kernel cannot be asked:
/// a socket with the smallest send buffer, writable only with nothing unsent, is writable then. A
/// broken connection counts.
fn is_all_but_taken(stream: &TcpStream) -> bool {
    let socket = SockRef::from(stream);
    if socket.set_send_buffer_size(1).is_err() || socket.set_tcp_notsent_lowat(1).is_err() {
        return true;
    }
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())) != Ok(0)
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
    // Unread bytes hide an end, but not a reset.
    let _ = client.ready(tokio::io::Interest::ERROR).await;
    "the client reset the connection"
}

#[cfg(test)]
mod tests;
