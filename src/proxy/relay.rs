//! Moves bytes both ways between a client and a container.
//!
//! One state machine for both directions, in user space. A thread shares one
//! buffer among all its connections; a connection keeps memory of its own only
//! while the far side does not take what was read for it.
//!
//! What is believed: `WouldBlock` and 0 from a read, nothing else. A short read
//! does not mean that the socket is empty (it also ends at an urgent byte), so
//! reads go on until `WouldBlock`.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::replay::Record;
use super::socket;

/// Size of a thread's buffer, and so the most that a direction keeps when the
/// far side does not read.
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads per direction and poll, so that one bulk flow does not starve the
/// other connections of its thread.
const BURST: usize = 16;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// One end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Container,
}

/// What a relay stops at.
#[derive(Debug)]
pub(super) enum Event {
    /// The container ended its direction and the client has been sent all of
    /// it, but not the end itself: the caller finds out whether it is one, and
    /// then either calls [`Relay::pass_end`] and goes on, or gives up.
    ContainerEnded,
    /// Both directions ended, and each end was passed on.
    Closed,
    /// A connection broke. All that the container had sent has been passed on.
    Broken { side: Side, error: io::Error },
}

/// The two directions of one session. Outlives a container that failed before
/// it had answered.
#[derive(Debug)]
pub(super) struct Relay {
    /// Client to container.
    up: Flow,
    /// Container to client.
    down: Flow,
    record: Record,
    /// The container took no more; what it still had to say is being passed on.
    refused: Option<io::Error>,
    first_byte: Option<Instant>,
    /// When a byte last moved.
    active: Instant,
}

/// One direction.
#[derive(Debug)]
struct Flow {
    /// Read and not yet taken by the far side, from `taken` on.
    rest: Vec<u8>,
    taken: usize,
    /// The source sends no more.
    ended: bool,
    /// The end was passed on, or the far side takes no more.
    closed: bool,
    /// Bytes read from the source.
    bytes: u64,
    /// A byte moved since this was last cleared.
    moved: bool,
    /// The far side did not take something at once, and its time-out for unread
    /// data has been lifted.
    pressed: bool,
    /// Try the sockets before the reactor has reported on them: a client's
    /// first bytes are mostly there before its container is.
    eager: bool,
}

/// Which half of a flow failed.
enum Fault {
    Read(io::Error),
    Write(io::Error),
}

// === impl Relay ===

impl Relay {
    pub(super) fn new(replay: usize, now: Instant) -> Self {
        Self {
            up: Flow { eager: true, ..Flow::new() },
            down: Flow::new(),
            record: Record::new(replay),
            refused: None,
            first_byte: None,
            active: now,
        }
    }

    /// Bytes from the client. Replayed ones count once.
    pub(super) fn bytes_in(&self) -> u64 {
        self.up.bytes
    }

    /// Bytes from the container.
    pub(super) fn bytes_out(&self) -> u64 {
        self.down.bytes
    }

    /// When the container's first byte came.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.first_byte
    }

    /// When a byte last moved, in either direction.
    pub(super) fn active(&self) -> Instant {
        self.active
    }

    /// Starts the time without traffic now.
    pub(super) fn touch(&mut self, now: Instant) {
        self.active = now;
    }

    /// The side that the other one waits for: the one that does not read, or
    /// else the client, which does not send.
    pub(super) fn laggard(&self) -> Side {
        if self.up.rest.is_empty() { Side::Client } else { Side::Container }
    }

    /// Prepares for another container: all that the client sent is to be sent
    /// again. Answers `false` and changes nothing when that cannot be done,
    /// because the container had answered or the client sent too much.
    pub(super) fn rewind(&mut self) -> bool {
        // The client was told of the end already.
        if self.down.closed {
            return false;
        }
        // The container's first byte ends the record.
        let Some(sent) = self.record.replay() else {
            return false;
        };
        self.up.rest = sent.to_vec();
        self.up.taken = 0;
        self.up.closed = false;
        self.up.pressed = false;
        self.up.eager = true;
        self.down = Flow::new();
        self.refused = None;
        true
    }

    /// Tells the client that the container's direction ended.
    pub(super) fn pass_end(&mut self, client: &TcpStream) {
        self.down.pass_end(client);
    }

    /// Moves what can be moved.
    ///
    /// # Cancel safety
    /// No byte is lost between polls; the state is all in `self`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &TcpStream,
        container: &TcpStream,
    ) -> Poll<Event> {
        let event = self.poll_flows(cx, client, container);
        // `|` and not `||`: both are to be cleared.
        if std::mem::take(&mut self.up.moved) | std::mem::take(&mut self.down.moved) {
            self.active = Instant::now();
        }
        event
    }

    fn poll_flows(
        &mut self,
        cx: &mut Context<'_>,
        client: &TcpStream,
        container: &TcpStream,
    ) -> Poll<Event> {
        if !self.up.closed {
            match self.up.pump(cx, client, container, |bytes| self.record.push(bytes)) {
                Poll::Ready(Ok(())) => self.up.pass_end(container),
                Poll::Ready(Err(Fault::Read(error))) => {
                    return Poll::Ready(Event::Broken { side: Side::Client, error });
                }
                // It may have answered before it closed: read that first.
                Poll::Ready(Err(Fault::Write(error))) => {
                    self.refused = Some(error);
                    self.up.discard();
                }
                Poll::Pending => {}
            }
        }
        if !self.down.closed {
            let (record, first_byte) = (&mut self.record, &mut self.first_byte);
            let seen = |_: &[u8]| {
                if first_byte.is_none() {
                    *first_byte = Some(Instant::now());
                    record.drop_it();
                }
            };
            match self.down.pump(cx, container, client, seen) {
                Poll::Ready(Ok(())) if self.refused.is_none() => {
                    return Poll::Ready(Event::ContainerEnded);
                }
                Poll::Ready(Ok(())) => self.down.closed = true,
                Poll::Ready(Err(Fault::Read(error))) => {
                    return Poll::Ready(Event::Broken { side: Side::Container, error });
                }
                Poll::Ready(Err(Fault::Write(error))) => {
                    return Poll::Ready(Event::Broken { side: Side::Client, error });
                }
                Poll::Pending => {}
            }
        }
        if !(self.up.closed && self.down.closed) {
            return Poll::Pending;
        }
        Poll::Ready(match self.refused.take() {
            Some(error) => Event::Broken { side: Side::Container, error },
            None => Event::Closed,
        })
    }
}

// === impl Flow ===

impl Flow {
    fn new() -> Self {
        Self {
            rest: Vec::new(),
            taken: 0,
            ended: false,
            closed: false,
            bytes: 0,
            moved: false,
            pressed: false,
            eager: false,
        }
    }

    /// Moves bytes until one side has to be waited for. Ready when the source
    /// ended and the far side took all of it.
    fn pump(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        mut seen: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..BURST {
            if !self.rest.is_empty() {
                ready!(self.flush(cx, to))?;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match BUFFER.with_borrow_mut(|buffer| self.step(from, to, buffer, &mut seen)) {
                Err(Fault::Read(error)) if is_retry(&error) => {
                    ready!(from.poll_read_ready(cx)).map_err(Fault::Read)?;
                }
                done => done?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One read, and one write of what it gave.
    fn step(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        buffer: &mut [u8],
        seen: &mut impl FnMut(&[u8]),
    ) -> Result<(), Fault> {
        let eager = std::mem::take(&mut self.eager);
        let read = if eager {
            rustix::net::recv(from, &mut *buffer, RecvFlags::DONTWAIT)
                .map(|(read, _)| read)
                .map_err(io::Error::from)
        } else {
            from.try_read(buffer)
        };
        let bytes = &buffer[..read.map_err(Fault::Read)?];
        if bytes.is_empty() {
            self.ended = true;
            return Ok(());
        }
        self.moved = true;
        self.bytes += bytes.len() as u64;
        seen(bytes);
        let written = if eager {
            rustix::net::send(to, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
                .map_err(io::Error::from)
        } else {
            to.try_write(bytes)
        };
        match written {
            Ok(written) => self.rest.extend_from_slice(&bytes[written..]),
            Err(error) if is_retry(&error) => self.rest.extend_from_slice(bytes),
            Err(error) => return Err(Fault::Write(error)),
        }
        Ok(())
    }

    /// Writes what is left until the far side has it all.
    fn flush(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Result<(), Fault>> {
        while self.taken < self.rest.len() {
            match to.try_write(&self.rest[self.taken..]) {
                Ok(0) => {
                    return Poll::Ready(Err(Fault::Write(io::ErrorKind::WriteZero.into())));
                }
                Ok(written) => {
                    self.taken += written;
                    self.moved = true;
                }
                Err(error) if is_retry(&error) => {
                    if !self.pressed {
                        self.pressed = true;
                        socket::be_patient(to);
                    }
                    ready!(to.poll_write_ready(cx)).map_err(Fault::Write)?;
                }
                Err(error) => return Poll::Ready(Err(Fault::Write(error))),
            }
        }
        self.rest = Vec::new();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }

    fn pass_end(&mut self, to: &TcpStream) {
        self.closed = true;
        // Fails only on a connection that is gone, which a read will tell.
        let _ = SockRef::from(to).shutdown(Shutdown::Write);
    }

    fn discard(&mut self) {
        self.closed = true;
        self.rest = Vec::new();
        self.taken = 0;
    }
}

/// Whether a call is to be made again, after waiting where the reactor says so.
fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection, the far one tuned as a session's is.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        socket::tune(SockRef::from(&far)).unwrap();
        near.writable().await.unwrap();
        far.writable().await.unwrap();
        (near, far)
    }

    /// Writes until the kernel takes no more.
    fn fill(stream: &TcpStream) -> u64 {
        let mut filled = 0;
        while let Ok(written) = stream.try_write(&[7; BUFFER_BYTES]) {
            filled += written as u64;
        }
        filled
    }

    #[tokio::test]
    async fn one_poll_moves_a_bounded_number_of_bytes() {
        let (_client, client_far) = pair().await;
        let (container, container_far) = pair().await;
        let filled = fill(&container);
        container_far.readable().await.unwrap();
        let mut relay = Relay::new(0, Instant::now());
        let mut most = 0;
        while relay.bytes_out() < filled.min(2 << 20) {
            let before = relay.bytes_out();
            poll_fn(|cx| {
                let event = relay.poll(cx, &client_far, &container_far);
                assert!(event.is_pending(), "{event:?}");
                Poll::Ready(())
            })
            .await;
            most = most.max(relay.bytes_out() - before);
            if relay.bytes_out() == before {
                break;
            }
        }
        assert!(filled > 1 << 20, "{filled} bytes are too few to tell");
        assert!(most <= 1 << 20, "{most} of {filled} bytes in one poll");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_only_bound_by_the_idle_time_out() {
        let (mut client, client_far) = pair().await;
        let (container, container_far) = pair().await;
        let user_timeout = || SockRef::from(&client_far).tcp_user_timeout().unwrap();
        assert_eq!(user_timeout(), Some(Duration::from_secs(15)));
        let mut relay = Relay::new(0, Instant::now());
        // Until the far side's memory is full and a rest is left.
        while relay.down.rest.is_empty() {
            fill(&container);
            poll_fn(|cx| {
                let _ = relay.poll(cx, &client_far, &container_far);
                Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
        }
        assert_eq!(user_timeout(), None);
        assert!(relay.down.rest.len() <= BUFFER_BYTES);
        // And memory of its own is given back with the rest.
        let mut sink = vec![0; BUFFER_BYTES];
        tokio::select! {
            flushed = poll_fn(|cx| relay.down.flush(cx, &client_far)) => assert!(flushed.is_ok()),
            () = async { while client.read(&mut sink).await.unwrap() > 0 {} } => {}
        }
        assert_eq!(relay.down.rest.capacity(), 0);
    }
}
