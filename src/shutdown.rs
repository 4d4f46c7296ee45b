//! Signals. Of those that end the process, the first asks it to drain, the second
//! to end connections now, the third to leave whatever is left behind. SIGHUP is
//! one of them, or asks it to reload.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A repeat within this time does not count: timeout(1), for one, signals the process
/// and then its group.
const ECHO: Duration = Duration::from_millis(100);

/// How far the operator has asked the process to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no more connections, let the running ones end.
    pub drain: CancellationToken,
    /// End the running ones, too.
    pub now: CancellationToken,
    /// Notified when the configuration is to be read again.
    pub reload: Arc<Notify>,
    /// Notified when the status is to be logged.
    pub status: Arc<Notify>,
}

/// Effect of SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// Read the configuration again, as daemons do.
    Reloads,
    /// The terminal is gone: stop, as SIGTERM does.
    Stops,
}

// === impl Stop ===

impl Stop {
    /// Listens for SIGTERM, SIGINT and SIGHUP, and SIGUSR1, which asks for the status. Each would
    /// otherwise kill the process, and its containers would stay behind. Others that would kill it,
    /// and mean nothing to it, are ignored.
    ///
    /// The third signal calls `leave`, which is to end the process, with 128 and
    /// its number, as shells put it.
    ///
    /// # Errors
    /// The handlers could not be installed.
    pub fn on_signals(hup: HangUp, leave: impl Fn(i32) + Send + 'static) -> io::Result<Self> {
        let stop = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut asked = signal(SignalKind::user_defined1())?;
        ignore_others()?;
        let told = stop.clone();
        tokio::spawn(async move {
            let mut last: Option<(&str, Instant)> = None;
            loop {
                let (name, kind) = tokio::select! {
                    _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                    _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
                    _ = hang_up.recv() => ("SIGHUP", SignalKind::hangup()),
                    _ = asked.recv() => {
                        told.status.notify_one();
                        continue;
                    }
                };
                let now = Instant::now();
                let reloads = name == "SIGHUP" && hup == HangUp::Reloads;
                // Each reload counts: the file may have changed since.
                if !reloads && last.is_some_and(|l| l.0 == name && now - l.1 < ECHO) {
                    continue;
                }
                last = Some((name, now));
                if reloads {
                    if told.drain.is_cancelled() {
                        warn!(signal = name, "stopping; the configuration is not read again");
                    } else {
                        info!(signal = name, "reading the configuration again");
                        told.reload.notify_one();
                    }
                } else if told.now.is_cancelled() {
                    error!(
                        signal = name,
                        "leaving at once; the guardian or `ganger reap` removes what is left"
                    );
                    leave(128 + kind.as_raw_value());
                } else if told.drain.is_cancelled() {
                    warn!(
                        signal = name,
                        "ending connections now; containers are still removed, unless told again"
                    );
                    told.now.cancel();
                } else {
                    info!(signal = name, "stopping: no more connections, running ones may end");
                    told.drain.cancel();
                }
            }
        });
        Ok(stop)
    }
}

/// Signals that would end the process by default, and ask it for nothing.
const OTHERS: [(&str, Signal); 9] = [
    ("SIGUSR2", Signal::USR2),
    ("SIGALRM", Signal::ALARM),
    ("SIGVTALRM", Signal::VTALARM),
    ("SIGPROF", Signal::PROF),
    ("SIGIO", Signal::IO),
    ("SIGPWR", Signal::POWER),
    ("SIGSTKFLT", Signal::STKFLT),
    ("SIGXCPU", Signal::XCPU),
    ("SIGXFSZ", Signal::XFSZ),
];

/// Ignores [`OTHERS`]: else containers would stay behind, and clients would take the end for a
/// good one. Each is logged the first time. Signals of bugs (SIGABRT, SIGSEGV) are not among
/// them, nor those that nobody sends by mistake (SIGQUIT, SIGKILL).
fn ignore_others() -> io::Result<()> {
    for (name, number) in OTHERS {
        let mut other = signal(SignalKind::from_raw(number.as_raw()))?;
        tokio::spawn(async move {
            if other.recv().await.is_some() {
                warn!(signal = name, "this signal has no effect; repeats are not logged");
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_means_nothing_ends_nothing() {
        let stop = Stop::on_signals(HangUp::Stops, |_| ()).unwrap();
        for (_, number) in OTHERS {
            // Before anybody else listens to it, here.
            kill_process(getpid(), number).unwrap();
            let mut heard = signal(SignalKind::from_raw(number.as_raw())).unwrap();
            for _ in 0..2 {
                kill_process(getpid(), number).unwrap();
                heard.recv().await.unwrap();
            }
        }
        assert!(!stop.drain.is_cancelled());
    }

    #[tokio::test]
    async fn the_status_is_asked_for_by_sigusr1() {
        let stop = Stop::on_signals(HangUp::Stops, |_| ()).unwrap();
        kill_process(getpid(), Signal::USR1).unwrap();
        stop.status.notified().await;
        assert!(!stop.drain.is_cancelled());
    }
}
