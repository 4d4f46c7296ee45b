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
