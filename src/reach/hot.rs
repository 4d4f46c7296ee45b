//! A connection into a container that is made before anybody wants it.
//!
//! A timer looks at it now and then, and no task waits on it: a session that takes it must not
//! share it with a task that it wakes, and a server's banner stays in the kernel until it is read,
//! so that the connection would be readable all the time.

use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A server that sends something and ends within this time has sent all; a server that ends later
/// has given up waiting.
const SOON: Duration = Duration::from_secs(1);
/// How long a server has to say something first.
const BANNER: Duration = Duration::from_secs(1);
/// The number of ends at once, or of failed connects, in a row after which a service is left alone.
const ENOUGH: u32 = 3;

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
}

/// At most one connection, made ahead.
#[derive(Debug, Default)]
pub(crate) struct Hot(Mutex<HotState>);

#[derive(Debug, Default)]
struct HotState {
    made: Option<HotConnection>,
    /// How often a connection was taken, or made anew by the probe.
    turn: u64,
}

#[derive(Debug)]
struct HotConnection {
    /// Of no runtime until it is taken: that of the taker uses it.
    stream: std::net::TcpStream,
    at: Instant,
    /// The server has said something and ended.
    whole: bool,
}

// === impl Hot ===

impl Hot {
    /// Makes a connection and looks after it until it is taken. With `banner`, waits a moment for
    /// what the server says first, and returns whether it said something.
    ///
    /// # Errors
    /// As for connect(2), or the server hung up.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub(crate) async fn make<C: HotDial>(
        self: &Arc<Self>,
        to: &Arc<C>,
        banner: bool,
    ) -> io::Result<bool> {
        let stream = to.connect().await?;
        let said = banner && says_something(&stream).await?;
        let made = HotConnection::new(stream)?;
        let turn = {
            let mut state = self.0.lock();
            state.turn += 1;
            state.made = Some(made);
            state.turn
        };
        let renewer = Renewer { hot: Arc::downgrade(self), to: Arc::downgrade(to), turn };
        tokio::spawn(renewer.run());
        Ok(said)
    }

    /// Whether there is a connection that the server still wants.
    pub(crate) fn holds(&self) -> bool {
        self.0.lock().made.as_mut().is_some_and(|made| !made.is_over())
    }

    /// The connection, if there is one and the server still wants it. Needs a runtime,
    /// which need not be the one it was made in.
    pub(crate) fn take(&self) -> Option<TcpStream> {
        let mut state = self.0.lock();
        state.turn += 1;
        let mut made = state.made.take()?;
        drop(state);
        if made.is_over() {
            return None;
        }
        TcpStream::from_std(made.stream).ok()
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
    fn new(stream: TcpStream) -> io::Result<Self> {
        Ok(Self { stream: stream.into_std()?, at: Instant::now(), whole: false })
    }

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

/// Looks after one connection, and makes others in its place.
struct Renewer<C> {
    hot: Weak<Hot>,
    to: Weak<C>,
    turn: u64,
}

enum Look {
    Fine,
    /// A connection could not be made.
    Missing,
    Over {
        after: Duration,
    },
    Taken,
}

// === impl Renewer ===

impl<C: HotDial> Renewer<C> {
    async fn run(self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The shortest time after which the server gave up waiting.
        let mut patience: Option<Duration> = None;
        let mut in_vain = 0;
        loop {
            ticks.tick().await;
            match self.look(patience) {
                Look::Fine => continue,
                Look::Taken => return,
                Look::Over { after } if after >= SOON => {
                    in_vain = 0;
                    patience = Some(patience.map_or(after, |known| known.min(after)));
                }
                Look::Over { .. } | Look::Missing => {
                    in_vain += 1;
                    if in_vain == ENOUGH {
                        return;
                    }
                }
            }
            let Some(to) = self.to.upgrade() else { return };
            // A connection that cannot be made is missing; a dial of the next session tells why.
            let Ok(Ok(stream)) = timeout(SOON, to.connect()).await else { continue };
            let Ok(made) = HotConnection::new(stream) else { continue };
            let Some(hot) = self.hot.upgrade() else { return };
            let mut state = hot.0.lock();
            if state.turn != self.turn {
                return;
            }
            state.made = Some(made);
        }
    }

    /// A connection is replaced when it is over, and before that when the server is known to give
    /// up waiting.
    fn look(&self, patience: Option<Duration>) -> Look {
        let Some(hot) = self.hot.upgrade() else { return Look::Taken };
        let mut state = hot.0.lock();
        if state.turn != self.turn {
            return Look::Taken;
        }
        let Some(made) = &mut state.made else { return Look::Missing };
        let age = made.at.elapsed();
        if made.is_over() {
            state.made = None;
            Look::Over { after: age }
        } else if !made.whole
            && let Some(after) = patience
            && age > after.mul_f64(0.8)
        {
            Look::Over { after }
        } else {
            Look::Fine
        }
    }
}

#[cfg(test)]
mod tests;
