//! Messages to a service manager, by the protocol of systemd's sd_notify(3). Where none asks for
//! them (`NOTIFY_SOCKET`), nothing is done.

use std::sync::Arc;

use ganger_pool::Pool;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::docker::Docker;

/// Clients are served; or a reload is over, whatever came of it.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins. [`ready`] is to follow.
pub(super) fn reloading() {
    // systemd tells reloads apart by their times.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => {
            warn!(error = error.to_string(), "the service manager is not told of the reload")
        }
    }
}

/// The socket of the service manager that wants to know this process's state, if there is one.
pub(super) fn manager() -> Option<String> {
    std::env::var_os("NOTIFY_SOCKET").map(|path| path.to_string_lossy().into_owned())
}

/// Another process serves from now on, as the main process of the service.
pub(super) fn succeeded_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// The end begins.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says twice in the time that the service manager allows (`WATCHDOG_USEC`) that the
/// process works: that tasks are run, and the pool's lock can be had. Until this is dropped.
pub(super) fn watchdog(pool: Arc<Pool<Docker>>) -> Option<AbortOnDropHandle<()>> {
    let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero())?;
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(allowed / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            drop(pool.snapshot());
            tell(&[NotifyState::Watchdog]);
        }
    })))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(error = error.to_string(), ?state, "the service manager cannot be told");
    }
}
