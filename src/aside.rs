//! Reads files off the async runtime: a file system that is gone, such as that of an NFS server,
//! never answers, and must not block those who ask for something else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How long a reading may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs readings of one kind, one at a time: a reading that hangs holds one thread, however many
/// callers ask. Callers that ask meanwhile share the next reading.
#[derive(Debug)]
pub(crate) struct Aside<T> {
    patience: Duration,
    /// How many readings have begun.
    begun: AtomicU64,
    state: Mutex<AsideState<T>>,
}

#[derive(Debug)]
struct AsideState<T> {
    under_way: Option<JoinHandle<T>>,
    /// The last reading's result, and its number.
    brought: Option<(u64, T)>,
}

// === impl Aside ===

impl<T: Clone + Send + 'static> Aside<T> {
    pub(crate) fn new(patience: Duration) -> Self {
        let state = AsideState { under_way: None, brought: None };
        Self { patience, begun: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Returns the result of a reading that began after this call, on a thread that may block;
    /// `None` where the reading takes too long.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a reading that has begun to the thread.
    pub(crate) async fn read(&self, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let before = self.begun.load(Ordering::SeqCst);
        let brought = async {
            let mut state = self.state.lock().await;
            if let Some((_, shared)) = state.brought.as_ref().filter(|(it, _)| *it > before) {
                return Some(shared.clone());
            }
            if let Some(given_up) = state.under_way.as_mut() {
                // Its result shows the file as it was before this call.
                _ = given_up.await;
                state.under_way = None;
            }
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let brought = state.under_way.insert(spawn_blocking(read)).await;
            state.under_way = None;
            state.brought = brought.ok().map(|brought| (number, brought));
            state.brought.as_ref().map(|(_, brought)| brought.clone())
        };
        timeout(self.patience, brought).await.ok().flatten()
    }
}

impl<T: Clone + Send + 'static> Default for Aside<T> {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_reading_that_hangs_holds_one_thread_and_nobody_for_long() {
        let aside = Aside::new(Duration::from_millis(20));
        let (go_on, gone_on) = mpsc::channel();
        assert_eq!(aside.read(move || gone_on.recv().unwrap()).await, None);
        assert_eq!(aside.read(|| panic!("a second thread")).await, None);
        go_on.send("before").unwrap();
        let patient = Aside { patience: PATIENCE, ..aside };
        assert_eq!(patient.read(|| "now").await, Some("now"), "not what the first has brought");
        assert_eq!(patient.read(|| "then").await, Some("then"));
    }

    #[tokio::test]
    async fn whoever_asks_during_a_reading_shares_the_next_one() {
        let aside = Aside::default();
        let (go_on, gone_on) = mpsc::channel();
        let first = aside.read(move || gone_on.recv().unwrap());
        let meanwhile = async {
            // The first is polled before these: it has begun.
            let one = || aside.read(|| "one");
            let others = || aside.read(|| panic!("more readings than there is reason for"));
            let go_on = async { go_on.send("first").unwrap() };
            tokio::join!(biased; one(), others(), others(), others(), go_on)
        };
        let (first, (one, a, b, c, ())) = tokio::join!(biased; first, meanwhile);
        assert_eq!(
            [first, one, a, b, c].map(Option::unwrap),
            ["first", "one", "one", "one", "one"]
        );
    }
}
