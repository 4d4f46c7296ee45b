//! New connections at an even pace, none of which may fail, while something happens to the program.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::{Client, Ending};
use crate::poll::{StopOnDrop, step, wait_until};

/// 50 connections a second.
const PACE: Duration = Duration::from_millis(20);
/// The most clients at a time: while as many wait, nobody else comes.
const MOST: u32 = 200;
const DEADLINE: Duration = Duration::from_secs(120);

/// Results of connections each of which said a word, heard it, and left.
#[derive(Debug, Default)]
pub struct Traffic {
    begun: AtomicU32,
    served: AtomicU32,
    failed: Mutex<Vec<String>>,
    over: AtomicBool,
}

// === impl Traffic ===

impl Traffic {
    /// Has clients come to a port for as long as `then` takes.
    ///
    /// # Panics
    /// When one was not served.
    pub fn during<T>(port: u16, then: impl FnOnce(&Self) -> T) -> T {
        let this = Self::default();
        let began = Instant::now();
        let done = thread::scope(|scope| {
            let _stop = StopOnDrop(&this.over);
            for _ in 0..MOST {
                scope.spawn(|| this.visit(port, began));
            }
            then(&this)
        });
        let failed = this.failed.lock();
        assert!(failed.is_empty(), "{failed:#?}");
        done
    }

    /// Waits until so many more were served.
    ///
    /// # Panics
    /// When they are not, or one has failed.
    pub fn wait_for(&self, more: u32) {
        let until = self.served.load(Ordering::Relaxed) + more;
        wait_until(DEADLINE, "more are served", || {
            let failed = self.failed.lock();
            assert!(failed.is_empty(), "{failed:#?}");
            self.served.load(Ordering::Relaxed) >= until
        });
    }

    fn visit(&self, port: u16, began: Instant) {
        loop {
            let due = began + PACE * self.begun.fetch_add(1, Ordering::Relaxed);
            while Instant::now() < due {
                if self.over.load(Ordering::Relaxed) {
                    return;
                }
                step();
            }
            match one(port) {
                Ok(()) => _ = self.served.fetch_add(1, Ordering::Relaxed),
                Err(what) => self.failed.lock().push(what),
            }
        }
    }
}

/// A connection that says a word, hears it, and leaves.
fn one(port: u16) -> Result<(), String> {
    let mut client = Client::try_connect(port).map_err(|error| format!("connect: {error}"))?;
    let address = client.address();
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{address}: {what}: {error}");
    client.try_send("a word\n").map_err(|error| failed("send", &error))?;
    let line = client.try_line().map_err(|error| failed("receive", &error))?;
    match client.try_finish().map_err(|error| failed("end", &error))? {
        Ending::Closed(rest) if line == "a word" && rest.is_empty() => Ok(()),
        ending => Err(failed("heard", &format!("{line}, then {ending:?}"))),
    }
}
