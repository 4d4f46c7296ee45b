//! The threads that connections live on, apart from those that talk to engines.
//!
//! Each has a current-thread runtime: to hand a connection from one thread to
//! another, as a runtime of many threads does, costs more than all the rest of
//! its set-up. See `docs/decisions/0022`.

use std::io;
use std::num::NonZeroUsize;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Runtimes for connections. Dropped, they end, and what runs on them does.
#[derive(Debug)]
pub(super) struct Threads(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Dropped with it, which the thread waits for.
    _alive: oneshot::Sender<()>,
}

// === impl Threads ===

impl Threads {
    /// One for every two processors: the kernel works for each of them as well, and
    /// so do containers.
    ///
    /// # Errors
    /// There are no threads or descriptors for them.
    pub(super) fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        (0..(processors / 2).max(1)).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|worker| &worker.runtime)
    }
}

// === impl Worker ===

impl Worker {
    fn start(n: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (alive, ended) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        thread::Builder::new().name(format!("ganger-data-{n}")).spawn(move || {
            // An error is what it waits for: nobody sends.
            _ = runtime.block_on(ended);
        })?;
        Ok(Self { runtime: handle, _alive: alive })
    }
}
