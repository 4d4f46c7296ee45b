//! Connections into containers that are made before anybody wants them.
//!
//! A single epoll set watches all of them, for their ends alone: nobody is woken while nothing ends, and
//! a server's banner, which stays in the kernel until it is read, wakes nobody either. A connection
//! leaves the set when it is taken. See `docs/decisions/0076`.

mod keeper;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

pub(crate) use keeper::HotKeeper;

/// A server that sends something and ends within this time has sent all; a server that ends later
/// has given up waiting.
const SOON: Duration = Duration::from_secs(1);
/// How long a server has to say something first.
const BANNER: Duration = Duration::from_secs(1);

/// A target of connections that are made ahead.
pub(crate) trait HotDial: Send + Sync + 'static {
    /// Makes a connection, with the options that [`super::socket`] sets: nobody reads or writes
    /// while it is kept, and keepalive finds one that was cut, where that can happen.
    ///
    /// # Errors
    /// As for connect(2) and setsockopt(2).
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    fn connect(&self) -> impl Future<Output = io::Result<TcpStream>> + Send;

    /// The same where it can be made without waiting; `None` where it cannot.
    ///
    /// # Errors
    /// As for [`HotDial::connect`].
    fn connect_at_once(&self) -> Option<io::Result<std::net::TcpStream>> {
        None
    }
}

/// At most one connection, made ahead.
#[derive(Debug)]
pub(crate) struct Hot<C: HotDial> {
    to: Arc<C>,
    keeper: Arc<HotKeeper<C>>,
    state: Mutex<HotState>,
}

#[derive(Debug, Default)]
struct HotState {
    made: Option<HotConnection>,
    /// How often a connection was taken, or made anew by the probe.
    turn: u64,
}

#[derive(Debug)]
struct HotConnection {
    /// Its number among those that the keeper watches.
    id: u64,
    /// Of no runtime until it is taken: that of the taker uses it.
    stream: std::net::TcpStream,
    at: Instant,
    /// The server has said something and ended.
    whole: bool,
}

/// The experience with the server of one container, in one turn.
#[derive(Debug, Clone, Copy, Default)]
struct Experience {
    /// The shortest time after which the server gave up waiting.
    patience: Option<Duration>,
    /// How many connections in a row ended at once, or could not be made.
    in_vain: u32,
}

// === impl Hot ===

impl<C: HotDial> Hot<C> {
    pub(crate) fn new(to: Arc<C>, keeper: Arc<HotKeeper<C>>) -> Arc<Self> {
        Arc::new(Self { to, keeper, state: Mutex::default() })
    }

    /// Makes a connection, which is looked after until it is taken. With `banner`, waits a moment
    /// for what the server says first, and returns whether it said something.
    ///
    /// # Errors
    /// As for connect(2), or the server hung up.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub(crate) async fn make(self: &Arc<Self>, banner: bool) -> io::Result<bool> {
        let stream = self.to.connect().await?;
        let said = banner && says_something(&stream).await?;
        self.keep(stream.into_std()?);
        Ok(said)
    }

    /// Makes a connection where that can be done without waiting, and says nothing of a banner;
    /// `None` where it cannot.
    ///
    /// # Errors
    /// As for connect(2).
    pub(crate) fn make_at_once(self: &Arc<Self>) -> Option<io::Result<()>> {
        self.to.connect_at_once().map(|made| made.map(|stream| self.keep(stream)))
    }

    /// Whether there is a connection that the server still wants.
    pub(crate) fn holds(&self) -> bool {
        self.state.lock().made.as_mut().is_some_and(|made| !made.is_over())
    }

    /// The connection, if there is one and the server still wants it. Needs a runtime,
    /// which need not be the one it was made in.
    pub(crate) fn take(&self) -> Option<TcpStream> {
        let mut state = self.state.lock();
        state.turn += 1;
        let mut made = state.made.take()?;
        drop(state);
        self.keeper.forget(&made);
        if made.is_over() {
            return None;
        }
        TcpStream::from_std(made.stream).ok()
    }

    /// Keeps a new connection, in a turn of its own.
    fn keep(self: &Arc<Self>, stream: std::net::TcpStream) {
        let mut state = self.state.lock();
        state.turn += 1;
        let turn = state.turn;
        self.put(&mut state, turn, stream, Experience::default());
    }

    fn put(
        self: &Arc<Self>,
        state: &mut HotState,
        turn: u64,
        stream: std::net::TcpStream,
        experience: Experience,
    ) {
        let made = self.keeper.watch(self, turn, stream, experience);
        if let Some(before) = state.made.replace(made) {
            self.keeper.forget(&before);
        }
    }
}

impl<C: HotDial> Drop for Hot<C> {
    fn drop(&mut self) {
        if let Some(made) = self.state.get_mut().made.take() {
            self.keeper.forget(&made);
        }
    }
}

/// Whether a server says something soon.
async fn says_something(stream: &TcpStream) -> io::Result<bool> {
    match timeout(BANNER, stream.peek(&mut [0])).await {
        Err(_) => Ok(false),
        Ok(Ok(0)) => Err(io::Error::other("it accepts a connection and closes it")),
        Ok(said) => said.map(|_| true),
    }
}

// === impl HotConnection ===

impl HotConnection {
    /// Whether the server has ended it, and not because it had said all.
    fn is_over(&mut self) -> bool {
        let mut fd = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let over = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        match poll(&mut fd, Some(&Timespec::default())) {
            Ok(_) if !fd[0].revents().intersects(over) => false,
            Ok(_) => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                let said = recv(&self.stream, &mut [0; 1][..], flags).is_ok_and(|(n, _)| n > 0);
                self.whole |= said && self.at.elapsed() < SOON;
                !self.whole
            }
            // The poll tells nothing; a dial does.
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
