//! The end of serving: for good, or because another process serves in our place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ganger_pool::core::{Policy, ServiceName};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{Frontend, Server};
use crate::app::given::PassedOn;
use crate::app::handover::Succession;
use crate::app::notify;
use crate::app::plan::Plan;
use crate::app::register::{RegisteredAt, Registration};
use crate::shutdown::Stop;

/// How long orders are held back for a process that gets ready: longer than its slow steps may
/// take, the containers of an earlier run and a first stock.
const READY: Duration = Duration::from_secs(240);

/// A process that gets ready to take our place: until it has gone, no change is made that it would
/// not know.
#[derive(Default)]
pub(in crate::app) struct Successor {
    /// Ends when the process has gone; and until when it is waited for.
    over: Option<(oneshot::Receiver<()>, Instant)>,
    pid: Option<u32>,
    /// The configuration is to be read again then.
    reload: bool,
    /// The wait for it was given up: it may know less than this process.
    is_late: bool,
    /// Whether there is one, for those who take orders.
    is_there: Arc<AtomicBool>,
}

// === impl Successor ===

impl Successor {
    /// Notes a process that comes, and has gone when `over` ends.
    pub(super) fn comes(&mut self, pid: Option<u32>, over: oneshot::Receiver<()>) {
        self.over = Some((over, Instant::now() + READY));
        (self.pid, self.is_late) = (pid, false);
        self.is_there.store(true, Ordering::Relaxed);
    }

    /// Whether one is there, now and later.
    pub(in crate::app) fn is_there(&self) -> Arc<AtomicBool> {
        self.is_there.clone()
    }

    /// Whether one is there now.
    pub(super) fn is_coming(&self) -> bool {
        self.over.is_some()
    }

    /// Whether a reload has to wait for its end; remembers and logs it.
    pub(super) fn puts_off(&mut self) -> bool {
        if self.is_coming() {
            self.reload = true;
            warn!(
                pid = self.pid,
                "the configuration is not reloaded yet: a process takes over, and reads its file \
                 again when it has; if it fails, this one does"
            );
        }
        self.is_coming()
    }

    /// Whether it has to read its file again when it serves.
    fn has_to_reload(&self) -> bool {
        self.reload || self.is_late
    }

    /// Returns when one has gone for which a reload was put off. Cancel safe.
    pub(super) async fn has_gone(&mut self) {
        loop {
            match &mut self.over {
                Some((over, until)) => {
                    self.is_late = timeout_at(*until, over).await.is_err();
                    if self.is_late {
                        warn!(
                            pid = self.pid,
                            "the process that would take over is not ready after {READY:?}: orders \
                             are carried out again"
                        );
                    }
                }
                None => std::future::pending().await,
            }
            self.over = None;
            self.is_there.store(false, Ordering::Relaxed);
            if std::mem::take(&mut self.reload) {
                return;
            }
        }
    }
}

// === impl Server ===

impl Server {
    /// Takes the services out of Consul, where clients look for them.
    pub(super) async fn deregister(&mut self, stop: &Stop) {
        notify::stopping();
        let none = BTreeMap::new();
        tokio::select! {
            // Clients must not be sent here any more once none is let in.
            biased;
            () = stop.now.cancelled() => {}
            () = self.registrar.deregister(&none) => {}
        }
    }

    /// Leaves new clients to another process, which serves them already.
    pub(super) async fn leave(
        &mut self,
        to: &Succession,
        done: oneshot::Sender<bool>,
        stop: &Stop,
    ) {
        // Clients that wait where nobody else accepts are still ours.
        let accepts =
            |name: &ServiceName| !to.closed.iter().any(|closed| *closed == *name.as_str());
        let accepted = self.frontends.iter().filter(|(name, _)| accepts(name));
        accepted.for_each(|(_, frontend)| frontend.leave.cancel());
        self.frontends.clear();
        // From here on a signal to stop counts as the second one.
        stop.drain.cancel();
        self.registrar.hand_over(&to.registered).await;
        _ = done.send(self.successor.has_to_reload());
    }

    /// The registrations while it serves.
    pub(super) fn entries(&self) -> BTreeMap<ServiceName, Registration> {
        let open = self.frontends.iter().map(|(name, frontend)| (name, frontend.address));
        self.registrar.entries(&self.config, open)
    }

    /// The same, for a predecessor that has registered before.
    pub(in crate::app) fn registers(&self) -> Vec<RegisteredAt> {
        self.entries().values().map(Registration::at).collect()
    }

    /// The listening sockets, for a process that takes over.
    pub(super) fn to_pass_on(&self) -> Vec<PassedOn> {
        let copy = |(name, frontend): (&ServiceName, &Frontend)| {
            let socket = frontend.to_pass_on.as_ref()?.try_clone().ok()?;
            let (name, listen, shared) = (name.to_string(), frontend.listen, frontend.shared);
            Some(PassedOn { name, listen, shared, socket })
        };
        self.frontends.iter().filter_map(copy).collect()
    }

    /// Waits until all sessions have ended; returns how many were cut.
    pub(super) async fn until_ended(mut self, stop: &Stop) -> u64 {
        let deadline = Instant::now() + self.config.drain_timeout;
        let on_time = async { while self.listening.join_next().await.is_some() {} };
        tokio::select! {
            // A stop at once does not wait for the rest.
            biased;
            () = stop.now.cancelled() => {}
            _ = timeout_at(deadline, on_time) => {}
        }
        // Not counted: sessions that the operator has cut one by one, as intended.
        let one_by_one = self.ingress.cut();
        self.cut.cancel();
        while self.listening.join_next().await.is_some() {}
        self.pool.drain();
        self.ingress.cut().saturating_sub(one_by_one)
    }

    /// Has the pool launch for clients that wait, and keep no stock.
    pub(super) fn empty_stock(&self) {
        let mut services = self.pinned(Plan::new(&self.config).services);
        for options in &mut services {
            let Policy { warm, auto, surplus_after, .. } = &mut options.policy;
            (*warm, *auto, *surplus_after) = (0, None, Duration::ZERO);
        }
        self.pool.reload(services);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Whether a reload is due that was put off.
    fn is_due(successor: &mut Successor) -> bool {
        successor.has_gone().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_reload_is_put_off_while_a_process_takes_over_and_follows_when_that_has_failed() {
        let mut successor = Successor::default();
        let is_there = successor.is_there();
        let is_there = || is_there.load(Ordering::Relaxed);
        assert!(!successor.puts_off() && !is_due(&mut successor) && !is_there());
        let (attempt, over) = oneshot::channel();
        successor.comes(Some(7), over);
        assert!(successor.puts_off() && successor.puts_off() && !is_due(&mut successor));
        assert!(is_there());
        drop(attempt);
        assert!(successor.has_to_reload());
        assert!(is_due(&mut successor), "it is carried out");
        assert!(!successor.has_to_reload());
        assert!(!is_there() && !successor.puts_off() && !is_due(&mut successor), "once");

        // A successor for which nothing was put off.
        let (attempt, over) = oneshot::channel();
        successor.comes(None, over);
        drop(attempt);
        assert!(!is_due(&mut successor) && !is_there());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_not_waited_for_without_end() {
        let mut successor = Successor::default();
        let (_attempt, over) = oneshot::channel();
        successor.comes(None, over);
        assert!(successor.puts_off());
        let began = Instant::now();
        successor.has_gone().await;
        assert_eq!(began.elapsed(), READY);
        assert!(!successor.puts_off());
        // Should it serve after all, the file may be another one.
        assert!(successor.has_to_reload());
    }
}
