//! Reads files away from the runtime: a file system that is away, such as that of an NFS server,
//! answers nothing at all, and must not hold up whoever asks for something else.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How long a reading may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// One kind of reading, of which one at a time is under way: one that is not answered holds one
/// thread, however many ask.
#[derive(Debug)]
pub(super) struct Aside<T> {
    patience: Duration,
    under_way: Mutex<Option<JoinHandle<T>>>,
}

// === impl Aside ===

impl<T: Send + 'static> Aside<T> {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, under_way: Mutex::default() }
    }

    /// Reads, on a thread where that may take time; `None` when it takes too long.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a reading that has begun to the thread.
    pub(super) async fn read(&self, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let brought = async {
            let mut under_way = self.under_way.lock().await;
            if let Some(given_up) = under_way.as_mut() {
                // What it brings is how the file was before this was asked.
                _ = given_up.await;
                *under_way = None;
            }
            let brought = under_way.insert(spawn_blocking(read)).await;
            *under_way = None;
            brought.ok()
        };
        timeout(self.patience, brought).await.ok().flatten()
    }
}

impl<T: Send + 'static> Default for Aside<T> {
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
}
