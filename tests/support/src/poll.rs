//! Waiting with a deadline, and names and ports that nobody else has.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(10);
/// The longest pause between two looks at what takes its time: each may cost an engine a list.
const LONG_STEP: Duration = Duration::from_millis(100);
/// How many times slower than others a machine is, as an emulated one; 1 when not given.
const SLOWNESS: &str = "GANGER_TEST_SLOWNESS";

/// A deadline as it is on this machine.
///
/// # Panics
/// When the environment says how slow it is, but not in a number.
pub(crate) fn here(deadline: Duration) -> Duration {
    let slowness =
        std::env::var_os(SLOWNESS).map_or(Some(1), |slowness| slowness.to_str()?.parse().ok());
    deadline * slowness.unwrap_or_else(|| panic!("{SLOWNESS} is a whole number"))
}

/// Whether this machine is slower than others, so that an engine may not answer in the time that
/// the program gives it, whatever tests wait.
#[must_use]
pub fn is_slow() -> bool {
    here(STEP) > STEP
}

/// Waits until it is so.
///
/// # Panics
/// When it is not so by the deadline; `what` says what was waited for.
pub fn wait_until(deadline: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let deadline = here(deadline);
    let (end, mut pause) = (Instant::now() + deadline, STEP);
    while !so() {
        assert!(Instant::now() < end, "after {deadline:?} still not so: {what}");
        sleep(pause);
        pause = (pause * 5 / 4).min(LONG_STEP);
    }
}

pub(crate) fn step() {
    sleep(STEP);
}

#[expect(clippy::disallowed_methods, reason = "nothing announces what is polled for")]
fn sleep(pause: Duration) {
    std::thread::sleep(here(pause));
}

/// Tells threads to stop when it is dropped, be it by a panic: a scope waits for them.
#[derive(Debug)]
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A name that starts so and that no other test has, for `instance:` and labels.
#[must_use]
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port on which nothing listens, and on which the kernel lets nothing
/// listen by itself: below the range of ephemeral ports.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of two checkouts may run at once.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("less than COUNT");
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("a free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_are_given_out_once() {
        assert_ne!(unique("a"), unique("a"));
        assert_ne!(free_port(), free_port());
    }

    #[test]
    #[should_panic(expected = "still not so: the impossible")]
    fn what_does_not_come_about_is_a_failure() {
        wait_until(Duration::from_millis(1), "the impossible", || false);
    }
}
