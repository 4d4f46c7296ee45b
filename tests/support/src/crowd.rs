//! Clients that come and go all the time, while something happens to the fleet.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::{Client, Ending};
use crate::poll::{StopOnDrop, step, wait_until};

/// How the fixture is called so that a crowd sees which container it has, and that
/// nobody has had it before: a probe that only connects does not count.
pub const STRICT: &[&str] = &["identify", "--lazy"];

const DEADLINE: Duration = Duration::from_secs(60);
/// A client hears something within this, if only that it is refused: longer than any queue here.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two clients while nobody waits for them: each costs a container, and an engine needs
/// 0.2 s of a processor for one, which tests beside it want as well.
const PACE: Duration = Duration::from_secs(2);

/// How clients of the fixture called with [`STRICT`] have fared so far.
#[derive(Debug, Default)]
pub struct Crowd {
    served: AtomicUsize,
    refused: AtomicUsize,
    /// In milliseconds, from the connect to the answer or the reset.
    longest: AtomicUsize,
    over: AtomicBool,
    /// How many wait for clients to be served.
    awaited: AtomicUsize,
    /// Every container that served one.
    seen: Mutex<BTreeSet<String>>,
}

/// Somebody waits for clients of a crowd, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hurry<'a>(&'a AtomicUsize);

// === impl Hurry ===

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Crowd ===

impl Crowd {
    /// Clients say a word and leave, one after the other, until they are sent home. Each hears the
    /// word, or is reset. They take their time but when somebody [waits](Crowd::hurry) for them.
    ///
    /// # Panics
    /// When anything else happens to one.
    pub fn visit(&self, port: u16) {
        while !self.over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let entered = self.enter(port);
            let took = usize::try_from(began.elapsed().as_millis()).unwrap_or(usize::MAX);
            self.longest.fetch_max(took, Ordering::Relaxed);
            match entered {
                Ok((client, _)) => {
                    // After the answer, the connection may end either way.
                    let (Ending::Closed(rest) | Ending::Reset(rest)) = client.finish();
                    assert_eq!(rest, b"");
                    self.served.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("neither served nor refused: {error}"),
            }
            while began.elapsed() < PACE && !self.over.load(Ordering::Relaxed) && !self.is_awaited()
            {
                step();
            }
        }
    }

    /// A client says a word and hears it; returns it with the id of its
    /// container, which nobody has had before.
    ///
    /// # Errors
    /// How the connection failed.
    ///
    /// # Panics
    /// When it hears something else, or the container is another one's.
    pub fn enter(&self, port: u16) -> io::Result<(Client, String)> {
        let mut client = Client::connect(port);
        client.patience(PATIENCE);
        client.try_send("hello\n")?;
        let line = client.try_line()?;
        let id = line.strip_suffix(" 1").unwrap_or_else(|| panic!("{line}: it was used before"));
        assert_eq!(client.try_line()?, "hello");
        assert!(self.seen.lock().insert(id.to_owned()), "{id} was leased twice");
        Ok((client, id.to_owned()))
    }

    /// Has clients follow each other at once, until the guard is dropped.
    pub(crate) fn hurry(&self) -> Hurry<'_> {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Hurry(&self.awaited)
    }

    fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) > 0
    }

    /// Ends [`Crowd::visit`] when it is dropped.
    pub fn home(&self) -> StopOnDrop<'_> {
        StopOnDrop(&self.over)
    }

    /// How many were served so far.
    #[must_use]
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// How many were refused so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// The longest that one has waited for its answer or its reset.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::Relaxed) as u64)
    }
}

/// Does `then` when clients of a fixture that only identifies itself have come and gone
/// for a while, and more of them do. They stop at the first that is not let in.
///
/// # Panics
/// When they are not served.
pub fn under_load(port: u16, then: impl FnOnce()) {
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _stop = StopOnDrop(&over);
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut client) = Client::try_connect(port) else { break };
                    served.fetch_add(usize::from(client.try_line().is_ok()), Ordering::Relaxed);
                }
            });
        }
        wait_until(DEADLINE, "clients are served", || served.load(Ordering::Relaxed) >= 40);
        then();
    });
}
