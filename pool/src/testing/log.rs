//! The log in tests whose threads each have a subscriber of their own.

use std::sync::LazyLock;

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// Has every subscriber of the process asked about every place that logs.
///
/// While a process has one subscriber, `tracing` asks that of the thread which
/// comes to a place first, and remembers the answer for all threads: a thread
/// without a subscriber would silence the place for a test that reads it. With
/// two that stay and want nothing, `tracing` asks all. Call it before the first
/// code that logs; later calls do nothing.
pub fn ask_every_subscriber() {
    static WANT_NOTHING: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [0, 1].map(|_| Dispatch::new(NoSubscriber::default())));
    LazyLock::force(&WANT_NOTHING);
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, mpsc};
    use std::thread;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(line: &str) {
        tracing::info!("{line}");
    }

    #[test]
    fn a_thread_without_a_subscriber_silences_no_other() {
        ask_every_subscriber();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let (said, silent) = mpsc::channel();
        tracing::subscriber::with_default(subscriber, || {
            thread::spawn(move || {
                say("to nobody");
                said.send(())
            });
            silent.recv().unwrap();
            say("to the log");
        });
        assert!(String::from_utf8_lossy(&log.0.lock()).contains("to the log"));
    }
}
