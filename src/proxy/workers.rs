//! The threads that serve connections, apart from those that talk to engines.
//!
//! Each has a current-thread runtime: to hand a connection from one thread to another at every
//! turn, as a multi-threaded runtime does, costs more than all the rest of its set-up. Every other
//! thread accepts. An acceptor keeps its connections, unless its partner has fewer; then a
//! connection is the partner's for good. See `docs/decisions/0022` and `0026`.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// A thread hands a connection over when it has this many more than its partner: a connection that
/// comes after another has ended mostly finds that one still counted.
const MORE: usize = 2;

/// Mostly shorter than the timers of a connection.
const TICK: Duration = Duration::from_secs(1);

/// Runtimes for connections. Dropping them ends them, with all that runs on them.
#[derive(Debug)]
pub struct Workers {
    acceptors: Vec<Acceptor>,
    /// The threads run until these are dropped.
    _alive: Vec<oneshot::Sender<()>>,
}

/// A thread that accepts, and its partner.
#[derive(Debug, Clone)]
pub struct Acceptor {
    own: Worker,
    partner: Option<Worker>,
}

/// A thread, and how many connections it has.
#[derive(Debug, Clone)]
struct Worker {
    runtime: Handle,
    taken: Arc<AtomicUsize>,
}

/// A connection's place on a thread. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    worker: Worker,
}

// === impl Workers ===

impl Workers {
    /// Starts a thread for each processor.
    ///
    /// # Errors
    /// There are no threads or descriptors for them.
    pub fn start() -> io::Result<Self> {
        Self::of(thread::available_parallelism().map_or(1, NonZeroUsize::get))
    }

    /// Starts so many threads, two to an acceptor.
    fn of(processors: usize) -> io::Result<Self> {
        let (mut acceptors, mut alive) = (Vec::new(), Vec::new());
        let mut start = |n: usize| {
            let (worker, end) = start(n)?;
            alive.push(end);
            io::Result::Ok(worker)
        };
        for n in (0..processors).step_by(2) {
            let own = start(n)?;
            let partner = if n + 1 < processors { Some(start(n + 1)?) } else { None };
            acceptors.push(Acceptor { own, partner });
        }
        Ok(Self { acceptors, _alive: alive })
    }

    /// The threads that accept.
    pub fn acceptors(&self) -> impl Iterator<Item = &Acceptor> {
        self.acceptors.iter()
    }
}

fn start(n: usize) -> io::Result<(Worker, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (alive, ended) = oneshot::channel::<()>();
    let worker = Worker::new(runtime.handle().clone());
    thread::Builder::new().name(format!("ganger-data-{n}")).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                // An error ends the wait: nobody sends.
                _ = ended => {}
                () = tick() => {}
            }
        });
    })?;
    Ok((worker, alive))
}

/// Never ends. A new timer that is due before all others costs a runtime a call to wake itself:
/// without this tick, so would the timer of each connection that is alone.
async fn tick() {
    loop {
        sleep(TICK).await;
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// A runtime of its own, without a partner.
    #[must_use]
    pub fn alone(runtime: Handle) -> Self {
        Self { own: Worker::new(runtime), partner: None }
    }

    /// The runtime that it accepts on.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.own.runtime
    }

    /// A place for a connection that was accepted.
    pub(super) fn place(&self) -> WorkerSlot {
        let taken = |worker: &Worker| worker.taken.load(Relaxed);
        let less = |partner: &&Worker| taken(&self.own) >= taken(partner) + MORE;
        let partner = self.partner.as_ref().filter(less);
        let worker = partner.unwrap_or(&self.own).clone();
        worker.taken.fetch_add(1, Relaxed);
        WorkerSlot { worker }
    }
}

// === impl Worker ===

impl Worker {
    fn new(runtime: Handle) -> Self {
        Self { runtime, taken: Arc::default() }
    }
}

// === impl WorkerSlot ===

impl WorkerSlot {
    pub(super) fn runtime(&self) -> &Handle {
        &self.worker.runtime
    }

    /// Registers a just accepted, non-blocking connection with the thread's runtime. Until then,
    /// closing it resets it.
    ///
    /// # Errors
    /// The kernel lacks resources for it; the connection was reset.
    pub(super) fn adopt(&self, stream: std::net::TcpStream) -> io::Result<TcpStream> {
        let _there = self.worker.runtime.enter();
        let stream = TcpStream::from_std(stream)?;
        SockRef::from(&stream).set_linger(None)?;
        Ok(stream)
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        self.worker.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_thread_for_each_processor_and_an_acceptor_for_two() {
        for (processors, acceptors) in [(1, 1), (2, 1), (3, 2)] {
            let threads = Workers::of(processors).unwrap();
            assert_eq!(threads._alive.len(), processors);
            assert_eq!(threads.acceptors().count(), acceptors);
        }
    }

    #[test]
    fn a_connection_goes_to_who_has_less_to_do() {
        let worker =
            || Worker::new(Builder::new_current_thread().build().unwrap().handle().clone());
        let acceptor = Acceptor { own: worker(), partner: Some(worker()) };
        let taken = || {
            (
                acceptor.own.taken.load(Relaxed),
                acceptor.partner.as_ref().unwrap().taken.load(Relaxed),
            )
        };
        let one_by_one: Vec<_> = (0..2).map(|_| acceptor.place()).collect();
        assert_eq!(taken(), (2, 0));
        drop(one_by_one);
        let many: Vec<_> = (0..9).map(|_| acceptor.place()).collect();
        assert_eq!(taken(), (5, 4));
        drop(many);
        assert_eq!(taken(), (0, 0));
    }
}
