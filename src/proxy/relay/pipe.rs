//! Pipes through which a bulk flow goes from socket to socket inside the kernel.
//!
//! Flows share the pipes, each for as long as a burst lasts, because a pipe for every flow costs
//! two descriptors and up to 45 KB of kernel memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The most pipes, used or not; two descriptors each. Without one a flow is copied.
pub(in crate::proxy) const MOST: usize = 64;
/// Smaller pipes are slower than copying, larger ones no faster.
const SIZE: usize = 256 * 1024;
/// The most bytes per fill: large pages make a pipe hold more than its size.
const FILL: usize = 1 << 20;

static FREE: Mutex<Vec<Ends>> = Mutex::new(Vec::new());
static MADE: AtomicUsize = AtomicUsize::new(0);
/// Held by a test that takes all pipes, and by one that needs a pipe.
#[cfg(test)]
pub(super) static ALL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A pipe, for one flow. Dropped empty, it is free for another.
#[derive(Debug)]
pub(super) struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    /// Bytes in it.
    filled: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

// === impl Pipe ===

impl Pipe {
    /// A free pipe, or a new one; `None` when there are enough, or none of [`SIZE`] can be had: an
    /// unprivileged user with many pipes is given small ones.
    pub(super) fn take() -> Option<Self> {
        let free = FREE.lock().pop();
        let ends = free.or_else(|| {
            let more = |made| (made < MOST).then_some(made + 1);
            MADE.fetch_update(Relaxed, Relaxed, more).ok()?;
            let ends = Ends::new().ok();
            if ends.is_none() {
                MADE.fetch_sub(1, Relaxed);
            }
            ends
        });
        ends.map(|ends| Self { ends: Some(ends), filled: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Fills an empty pipe from a socket. `None` when nothing was spliced: a read has to tell
    /// whether the socket is empty, or at its end, or at a byte that was sent as urgent, which no
    /// splice passes.
    ///
    /// # Errors
    /// The connection broke; no later call says so again.
    pub(super) fn fill(&mut self, from: &TcpStream) -> io::Result<Option<usize>> {
        debug_assert!(self.is_empty(), "what is in it would make `EAGAIN` ambiguous");
        let Some(ends) = &self.ends else { return Ok(None) };
        match splice(from, None, &ends.write, None, FILL, SpliceFlags::NONBLOCK) {
            Ok(0) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Ok(filled) => {
                self.filled = filled;
                Ok(Some(filled))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Splices to a socket as many bytes as it takes; returns how many.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing now; else the connection broke.
    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        // Never SPLICE_F_MORE: it holds back the tail of a message for up to 200 ms.
        let drained = to.try_io(Interest::WRITABLE, || {
            Ok(splice(&ends.read, None, to, None, self.filled, SpliceFlags::NONBLOCK)?)
        })?;
        self.filled = self.filled.saturating_sub(drained);
        Ok(drained)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.filled == 0 {
            FREE.lock().push(ends);
        } else {
            // The bytes in it must not reach another flow.
            MADE.fetch_sub(1, Relaxed);
        }
    }
}

// === impl Ends ===

impl Ends {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&write, SIZE)?;
        if fcntl_getpipe_size(&write)? < SIZE {
            return Err(io::Error::other("the pipe is smaller than it was asked to be"));
        }
        Ok(Self { read, write })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// A single test, because the pipes are those of the whole process.
    #[tokio::test]
    async fn there_are_so_many_and_what_was_in_one_reaches_nobody_else() {
        let _all = ALL.lock().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        near.write_all(b"secret").await.unwrap();
        far.readable().await.unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(&far).unwrap(), Some(6));
        drop(pipe);
        let all: Vec<_> = std::iter::from_fn(Pipe::take).take(2 * MOST).collect();
        // Other tests in this process may have some, and do without.
        assert!(!all.is_empty() && all.len() <= MOST, "{}", all.len());
        for pipe in &all {
            let ends = pipe.ends.as_ref().unwrap();
            assert_eq!(rustix::io::read(&ends.read, &mut [0; 8]), Err(rustix::io::Errno::AGAIN));
        }
        drop(all);
        assert!(Pipe::take().is_some_and(|pipe| pipe.is_empty()));
        assert!(MADE.load(Relaxed) <= MOST);
    }
}
