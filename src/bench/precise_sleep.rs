//! Waiting for a moment more exactly than by the runtime's timer, which counts in
//! milliseconds.

use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::time::{Instant, sleep_until};

use crate::reactor;

/// The timer rounds up to one of these.
const TICK: Duration = Duration::from_millis(2);

/// Waits until then, and is some tens of microseconds late, as a thread is that sleeps; where the
/// kernel lends no timer, up to a millisecond.
///
/// # Cancel safety
/// Dropping the future changes nothing.
pub(super) async fn until(until: Instant) {
    if let Some(early) = until.checked_sub(TICK) {
        sleep_until(early).await;
    }
    let left = until.saturating_duration_since(Instant::now());
    if !left.is_zero() && exactly(left).await.is_err() {
        sleep_until(until).await;
    }
}

async fn exactly(time: Duration) -> io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Less than a tick is left.
    let once = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    let setting = Itimerspec { it_interval: zero, it_value: once };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
    let timer = reactor::readable(timer)?;
    let _ready = timer.readable().await?;
    Ok(())
}
