//! Moves bytes both ways between a client and a container.
//!
//! A single state machine serves both directions. Bytes are copied through user space, or, once
//! there are many without a pause, spliced through a pipe. A thread shares one buffer among all its
//! connections; a connection keeps memory of its own only while the far side does not take what was
//! read for it.
//!
//! Only `WouldBlock` and 0 from a read are believed. A short read does not mean that the socket is
//! empty (it also ends at an urgent byte), so reads go on until `WouldBlock`; `WouldBlock` from a
//! splice means nothing at all.

mod flow;
pub(super) mod pipe;

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::replay::Record;
use flow::{Fault, Flow, Witness};

/// One end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Container,
}

/// The events that a relay stops at.
#[derive(Debug)]
pub(super) enum Event {
    /// The container ended its direction and the client has been sent all its bytes, but not the
    /// end: the caller finds out whether the container died, and then either calls
    /// [`Relay::pass_end`] and goes on, or gives up.
    ContainerEnded,
    /// Both directions ended, and the first end was passed on: for the other one the caller
    /// closes both connections.
    Closed,
    /// A connection broke. If the container's did, all that it had sent has been passed on.
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
    /// The container took no more; its last bytes are being passed on.
    refused: Option<io::Error>,
    first_byte: Option<Instant>,
    /// When a byte last moved.
    active: Instant,
    /// Since when something sent to the container may be unacknowledged.
    unconfirmed_up: Option<Instant>,
    /// The same for the client.
    unconfirmed_down: Option<Instant>,
}

// === impl Relay ===

impl Relay {
    pub(super) fn new(replay: usize, now: Instant) -> Self {
        Self {
            up: Flow::eager(),
            down: Flow::default(),
            record: Record::new(replay),
            refused: None,
            first_byte: None,
            active: now,
            unconfirmed_up: None,
            unconfirmed_down: None,
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

    /// Since when something sent to a side may be unacknowledged; `None` when nothing is.
    pub(super) fn unconfirmed(&self, side: Side) -> Option<Instant> {
        match side {
            Side::Client => self.unconfirmed_down,
            Side::Container => self.unconfirmed_up,
        }
    }

    /// Updates [`Relay::unconfirmed`] by the kernel's answer.
    pub(super) fn confirm(&mut self, side: Side, unconfirmed: Option<Instant>) {
        match side {
            Side::Client => self.unconfirmed_down = unconfirmed,
            Side::Container => self.unconfirmed_up = unconfirmed,
        }
    }

    /// Restarts the idle time now.
    pub(super) fn touch(&mut self, now: Instant) {
        self.active = now;
    }

    /// Whether the container owes an answer and has not begun it.
    pub(super) fn owes_first_byte(&self, speaks_first: bool) -> bool {
        self.first_byte.is_none() && (speaks_first || self.up.bytes > 0 || self.up.closed)
    }

    /// The side that the other one waits for: the container when it does not read, or else the
    /// client.
    pub(super) fn slow_side(&self) -> Side {
        if self.up.is_backpressured() { Side::Container } else { Side::Client }
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
        self.up.rewind(sent);
        self.down = Flow::default();
        self.unconfirmed_up = None;
        self.refused = None;
        true
    }

    /// Tells the client that the container's direction ended.
    pub(super) fn pass_end(&mut self, client: &TcpStream) {
        self.down.pass_end(client, &self.up);
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
        let moved = std::mem::take(&mut self.up.moved) | std::mem::take(&mut self.down.moved);
        let sent_up = std::mem::take(&mut self.up.sent);
        let sent_down = std::mem::take(&mut self.down.sent);
        if moved | sent_up | sent_down {
            let now = Instant::now();
            if moved {
                self.active = now;
            }
            if sent_up {
                self.unconfirmed_up.get_or_insert(now);
            }
            if sent_down {
                self.unconfirmed_down.get_or_insert(now);
            }
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
            match self.up.pump(cx, client, container, &mut self.record) {
                Poll::Ready(Ok(())) => self.up.pass_end(container, &self.down),
                Poll::Ready(Err(Fault::Read(error))) => {
                    return Poll::Ready(Event::Broken { side: Side::Client, error });
                }
                // The container may have answered before it closed: read that first.
                Poll::Ready(Err(Fault::Write(error))) => {
                    self.refused = Some(error);
                    self.up.discard();
                }
                Poll::Pending => {}
            }
        }
        if !self.down.closed {
            let mut first = First { byte: &mut self.first_byte, record: &mut self.record };
            match self.down.pump(cx, container, client, &mut first) {
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

// === impl Witness ===

/// The client's bytes are kept as long as they may have to be sent again.
impl Witness for Record {
    fn see(&mut self, bytes: &[u8]) {
        self.push(bytes);
    }

    fn is_done(&self) -> bool {
        self.replay().is_none()
    }
}

/// Notes the container's first byte, which ends the record.
struct First<'a> {
    byte: &'a mut Option<Instant>,
    record: &'a mut Record,
}

impl Witness for First<'_> {
    fn see(&mut self, _: &[u8]) {
        if self.byte.is_none() {
            *self.byte = Some(Instant::now());
            self.record.drop_it();
        }
    }

    fn is_done(&self) -> bool {
        self.byte.is_some()
    }
}

#[cfg(test)]
mod tests;
