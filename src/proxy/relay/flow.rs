//! One direction of a session.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::pipe::Pipe;

/// Size of a thread's buffer, and so the most that a direction keeps when the
/// far side does not read.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// Reads, and bytes, per direction and poll after which reading stops, so that one flow does not
/// starve the other connections of its thread.
const STEPS: usize = 16;
const TURN: u64 = 1 << 20;

/// A flow that has moved so many bytes without its source running dry goes through
/// a pipe: below that, copying is faster.
const BULK: usize = 256 * 1024;
/// A flow through a pipe takes one again after its source ran dry, if it moved so many bytes
/// before: a proxy that is faster than the source sees it dry all the time.
const STILL_BULK: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Read and not yet taken by the far side, from `taken` on.
    pending: Vec<u8>,
    taken: usize,
    /// The pipe that a burst goes through, while it lasts; empty when `pending` is not.
    pipe: Option<Pipe>,
    /// Bytes moved since the source was last seen empty.
    burst: usize,
    /// The burst before was bulk.
    bulk: bool,
    /// The source sends no more.
    ended: bool,
    /// The end was passed on, or is the last one, or the far side takes no more.
    pub(super) closed: bool,
    /// Bytes read from the source.
    pub(super) bytes: u64,
    /// A byte moved since this was last cleared.
    pub(super) moved: bool,
    /// Something was sent to the far side since this was last cleared: bytes, or the end.
    pub(super) sent: bool,
    /// Try the sockets before the reactor has reported on them: a client's
    /// first bytes are mostly there before its container is.
    eager: bool,
}

/// Which half of a flow failed.
pub(super) enum Fault {
    Read(io::Error),
    Write(io::Error),
}

/// Sees the bytes of a flow.
pub(super) trait Witness {
    /// Bytes that went by.
    fn see(&mut self, bytes: &[u8]);

    /// Whether more may go by unseen.
    fn is_done(&self) -> bool;
}

// === impl Flow ===

impl Flow {
    pub(super) fn eager() -> Self {
        Self { eager: true, ..Self::default() }
    }

    /// Begins anew with bytes that are to be sent first.
    pub(super) fn rewind(&mut self, bytes: &[u8]) {
        let counted = self.bytes;
        *self =
            Self { pending: bytes.to_vec(), bytes: counted, ended: self.ended, ..Self::eager() };
    }

    /// Whether the far side has yet to take something.
    pub(super) fn is_backpressured(&self) -> bool {
        !self.pending.is_empty() || self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Memory of its own.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.pending.capacity()
    }

    #[cfg(test)]
    pub(super) fn has_pipe(&self) -> bool {
        self.pipe.is_some()
    }

    #[cfg(test)]
    pub(super) fn is_bulk(&self) -> bool {
        self.bulk
    }

    /// Moves bytes until one side has to be waited for. Ready when the source
    /// ended and the far side took all of it.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        witness: &mut impl Witness,
    ) -> Poll<Result<(), Fault>> {
        let before = self.bytes;
        for _ in 0..STEPS {
            if self.bytes - before >= TURN {
                break;
            }
            ready!(self.flush(cx, to))?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if self.bulk && self.burst == 0 {
                // A splice asks the kernel each time, a read the reactor first.
                ready!(from.poll_read_ready(cx)).map_err(Fault::Read)?;
            }
            match self.step(from, to, witness) {
                Err(Fault::Read(error)) if is_retry(&error) => {
                    let enough = if self.bulk { STILL_BULK } else { BULK };
                    // A flow that was woken for the other direction has moved nothing.
                    self.bulk = self.burst >= enough || (self.bulk && self.burst == 0);
                    self.burst = 0;
                    self.pipe = None;
                    ready!(from.poll_read_ready(cx)).map_err(Fault::Read)?;
                }
                done => done?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn step(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        witness: &mut impl Witness,
    ) -> Result<(), Fault> {
        let bulk = self.bulk || self.burst >= BULK;
        if bulk && self.pipe.is_none() && witness.is_done() {
            self.pipe = Pipe::take();
        }
        let filled = self.pipe.as_mut().map_or(Ok(None), |pipe| pipe.fill(from));
        if let Some(filled) = filled.map_err(Fault::Read)? {
            self.count(filled);
            return Ok(());
        }
        BUFFER.with_borrow_mut(|buffer| self.copy(from, to, buffer, witness))
    }

    fn count(&mut self, bytes: usize) {
        self.moved = true;
        self.bytes += bytes as u64;
        self.burst = self.burst.saturating_add(bytes);
    }

    /// Reads once, and writes once what was read.
    fn copy(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        buffer: &mut [u8],
        witness: &mut impl Witness,
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
            self.pipe = None;
            return Ok(());
        }
        self.count(bytes.len());
        witness.see(bytes);
        let written = if eager {
            rustix::net::send(to, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
                .map_err(io::Error::from)
        } else {
            to.try_write(bytes)
        };
        match written {
            Ok(written) => {
                self.sent = true;
                self.pending.extend_from_slice(&bytes[written..]);
            }
            Err(error) if is_retry(&error) => self.pending.extend_from_slice(bytes),
            Err(error) => return Err(Fault::Write(error)),
        }
        Ok(())
    }

    /// Writes what is left until the far side has it all.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &TcpStream,
    ) -> Poll<Result<(), Fault>> {
        while self.is_backpressured() {
            let left = &self.pending[self.taken..];
            let written = match &mut self.pipe {
                Some(pipe) if left.is_empty() => pipe.drain(to),
                _ => to.try_write(left).inspect(|written| self.taken += written),
            };
            match written {
                Ok(0) => {
                    return Poll::Ready(Err(Fault::Write(io::ErrorKind::WriteZero.into())));
                }
                Ok(_) => {
                    self.moved = true;
                    self.sent = true;
                }
                Err(error) if is_retry(&error) => {
                    ready!(to.poll_write_ready(cx)).map_err(Fault::Write)?;
                }
                Err(error) => return Poll::Ready(Err(Fault::Write(error))),
            }
            if self.taken == self.pending.len() {
                self.pending = Vec::new();
                self.taken = 0;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the far side of the end, unless the other direction has ended before: then the close
    /// that follows does.
    pub(super) fn pass_end(&mut self, to: &TcpStream, back: &Self) {
        self.closed = true;
        if back.closed {
            return;
        }
        // Fails only on a connection that is gone, which a read will tell.
        let _ = SockRef::from(to).shutdown(Shutdown::Write);
        self.sent = true;
    }

    /// Forgets what the far side has not taken; it takes no more.
    pub(super) fn discard(&mut self) {
        self.closed = true;
        self.pending = Vec::new();
        self.taken = 0;
        self.pipe = None;
    }
}

/// Whether a call is to be made again, after waiting where the reactor says so.
fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
