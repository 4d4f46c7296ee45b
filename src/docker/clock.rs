//! The time on a daemon's machine, as its answers give it, and the deadline of containers
//! by that time: the clocks of instances that share a daemon may differ.

use hyper::header::{DATE, HeaderMap};
use parking_lot::Mutex;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

/// Label of the time, in unix seconds, after which anybody may remove the container.
pub const DEADLINE: &str = "io.ganger.deadline";

/// The time on a daemon's machine. Every answer to a GET sets it: clocks are corrected,
/// and our clock stands still while this machine sleeps.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<Reading>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The time since 1970 at which the answer was begun.
    time: Duration,
    at: Instant,
}

// === impl Clock ===

impl Clock {
    /// Reads the time from the header of an answer that came just now.
    pub(super) fn set(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(time) = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()) {
            *self.0.lock() = Some(Reading { time, at: Instant::now() });
        }
    }

    /// The time since 1970 by that clock; never ahead of it. `None` when no answer had a date.
    pub(super) fn now(&self) -> Option<Duration> {
        let Reading { time, at } = (*self.0.lock())?;
        Some(time + at.elapsed())
    }

    /// The value of [`DEADLINE`] for a container that may be removed after so long.
    pub(super) fn deadline(&self, after: Duration) -> Option<String> {
        Some((self.now()? + after).as_secs().to_string())
    }

    /// Whether a deadline has passed. An unreadable deadline has not.
    pub(super) fn has_passed(&self, deadline: &str) -> bool {
        let deadline = deadline.parse().ok().map(Duration::from_secs);
        self.now().zip(deadline).is_some_and(|(now, deadline)| now > deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_has_passed_by_the_daemon_s_clock() {
        let clock = Clock::default();
        assert_eq!((clock.now(), clock.deadline(Duration::ZERO)), (None, None));
        assert!(!clock.has_passed("0"));
        let headers = |date: &str| HeaderMap::from_iter([(DATE, date.parse().unwrap())]);
        clock.set(&headers("Fri, 13 Feb 2009 23:31:30 GMT"));
        clock.set(&headers("tomorrow"));
        assert_eq!(clock.deadline(Duration::from_secs(60)).as_deref(), Some("1234567950"));
        let passed = |deadline| clock.has_passed(deadline);
        assert!(passed("1234567889") && !passed("1234567890") && !passed("soon"));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(passed("1234567950") && !passed("1234567951"));
        // The clock was ahead and is put right.
        clock.set(&headers("Fri, 13 Feb 2009 23:31:30 GMT"));
        assert!(!passed("1234567950"));
    }
}
