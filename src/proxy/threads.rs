//! The threads that connections live on, apart from those that talk to engines.
//!
//! Each has a current-thread runtime: to hand a connection from one thread to
//! another at every turn, as a runtime of many threads does, costs more than all the rest
//! of its set-up. Every other thread accepts. It keeps what it accepts, unless its
//! partner has less to do; then the connection is the partner's for good. See
//! `docs/decisions/0022` and `0026`.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// So many connections more than its partner a thread has before it hands one over: one that
/// comes after another has ended mostly finds that one still there.
const MORE: usize = 2;

/// Runtimes for connections. Dropped, they end, and what runs on them does.
#[derive(Debug)]
pub struct Threads {
    crews: Vec<Crew>,
    /// Dropped with it, which the threads wait for.
    _alive: Vec<oneshot::Sender<()>>,
}

/// A thread that accepts, and its partner.
#[derive(Debug, Clone)]
pub struct Crew {
    own: Seat,
    partner: Option<Seat>,
}

/// A thread, and how many connections it has.
#[derive(Debug, Clone)]
struct Seat {
    runtime: Handle,
    taken: Arc<AtomicUsize>,
}

/// A connection's place on a thread. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    seat: Seat,
    /// It was accepted on another one.
    handed_over: bool,
}

// === impl Threads ===

impl Threads {
    /// One for each processor.
    ///
    /// # Errors
    /// There are no threads or descriptors for them.
    pub fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (mut crews, mut alive) = (Vec::new(), Vec::new());
        let mut start = |n: usize| {
            let (seat, end) = start(n)?;
            alive.push(end);
            io::Result::Ok(seat)
        };
        for n in (0..processors).step_by(2) {
            let own = start(n)?;
            let partner = if n + 1 < processors { Some(start(n + 1)?) } else { None };
            crews.push(Crew { own, partner });
        }
        Ok(Self { crews, _alive: alive })
    }

    /// Those that accept.
    pub fn crews(&self) -> impl Iterator<Item = &Crew> {
        self.crews.iter()
    }
}

fn start(n: usize) -> io::Result<(Seat, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (alive, ended) = oneshot::channel::<()>();
    let seat = Seat::new(runtime.handle().clone());
    thread::Builder::new().name(format!("ganger-data-{n}")).spawn(move || {
        // An error is what it waits for: nobody sends.
        _ = runtime.block_on(ended);
    })?;
    Ok((seat, alive))
}

// === impl Crew ===

impl Crew {
    /// A runtime of its own, without a partner.
    #[must_use]
    pub fn alone(runtime: Handle) -> Self {
        Self { own: Seat::new(runtime), partner: None }
    }

    /// Where it accepts.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.own.runtime
    }

    /// A place for a connection that was accepted.
    pub(super) fn place(&self) -> Place {
        let taken = |seat: &Seat| seat.taken.load(Relaxed);
        let less = |partner: &&Seat| taken(&self.own) >= taken(partner) + MORE;
        let partner = self.partner.as_ref().filter(less);
        let seat = partner.unwrap_or(&self.own).clone();
        seat.taken.fetch_add(1, Relaxed);
        Place { seat, handed_over: partner.is_some() }
    }
}

// === impl Seat ===

impl Seat {
    fn new(runtime: Handle) -> Self {
        Self { runtime, taken: Arc::default() }
    }
}

// === impl Place ===

impl Place {
    pub(super) fn runtime(&self) -> &Handle {
        &self.seat.runtime
    }

    /// Has the thread look after a connection that was just accepted.
    ///
    /// # Errors
    /// The kernel lacks what that takes.
    pub(super) fn seat(&self, stream: TcpStream) -> io::Result<TcpStream> {
        if !self.handed_over {
            return Ok(stream);
        }
        let stream = stream.into_std()?;
        let _there = self.seat.runtime.enter();
        TcpStream::from_std(stream)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_who_has_less_to_do() {
        let seat = || Seat::new(Builder::new_current_thread().build().unwrap().handle().clone());
        let crew = Crew { own: seat(), partner: Some(seat()) };
        let taken =
            || (crew.own.taken.load(Relaxed), crew.partner.as_ref().unwrap().taken.load(Relaxed));
        let one_by_one: Vec<_> = (0..2).map(|_| crew.place()).collect();
        assert_eq!(taken(), (2, 0));
        drop(one_by_one);
        let many: Vec<_> = (0..9).map(|_| crew.place()).collect();
        assert_eq!(taken(), (5, 4));
        drop(many);
        assert_eq!(taken(), (0, 0));
    }
}
