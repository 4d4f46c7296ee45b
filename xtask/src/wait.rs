//! Waiting for something that can only be looked at again and again.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(20);

/// Looks until there is something to see, or the time is over.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only a fleet needs it"))]
pub(crate) fn until<T>(time: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    every(STEP, time, look)
}

/// The same, for something that is costly to look at.
pub(crate) fn every<T>(
    pause: Duration,
    time: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(pause);
    }
}

/// A moment between two looks.
pub(crate) fn step() {
    sleep(STEP);
}

/// Lets so much time pass.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only a benchmark needs it"))]
pub(crate) fn pause(time: Duration) {
    sleep(time);
}

#[expect(
    clippy::disallowed_methods,
    reason = "no runtime here, and nothing announces what we wait for"
)]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}
