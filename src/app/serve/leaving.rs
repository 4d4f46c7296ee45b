//! The end of serving: for good, or because another process serves in our place.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_pool::core::{Policy, ServiceName};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{Front, Server};
use crate::app::given::PassedOn;
use crate::app::handover::Succession;
use crate::app::notify;
use crate::app::plan::Plan;
use crate::app::register::{Entry, RegisteredAt};
use crate::shutdown::Stop;

/// A process that gets ready to take our place: until it has gone nothing is changed that it would
/// not know.
#[derive(Default)]
pub(super) struct Heir {
    /// Told when it has gone.
    over: Option<oneshot::Receiver<()>>,
    /// The configuration is to be read again then.
    reload: bool,
}

// === impl Heir ===

impl Heir {
    /// One comes, and has gone when `over` ends.
    pub(super) fn comes(&mut self, over: oneshot::Receiver<()>) {
        self.over = Some(over);
    }

    /// Whether one is there.
    pub(super) fn is_there(&self) -> bool {
        self.over.is_some()
    }

    /// Whether a reload has to wait for its end; remembers and says so.
    pub(super) fn puts_off(&mut self) -> bool {
        if self.is_there() {
            self.reload = true;
            warn!(
                "the configuration is not reloaded: a process takes over, which may have read it \
                 before; reload that one. Should it fail, the reload follows here"
            );
        }
        self.is_there()
    }

    /// Returns when one has gone for which a reload was put off. Cancel safe.
    pub(super) async fn has_gone(&mut self) {
        loop {
            match &mut self.over {
                Some(over) => _ = over.await,
                None => std::future::pending().await,
            }
            self.over = None;
            if std::mem::take(&mut self.reload) {
                return;
            }
        }
    }
}

// === impl Server ===

impl Server {
    /// Takes the services out of where clients look for them.
    pub(super) async fn deregister(&mut self, stop: &Stop) {
        notify::stopping();
        let none = BTreeMap::new();
        tokio::select! {
            // Nobody is to be sent here any more once nobody is let in.
            biased;
            () = stop.now.cancelled() => {}
            () = self.registrar.deregister(&none) => {}
        }
    }

    /// Leaves all who come to another process, which serves them already.
    pub(super) async fn leave(&mut self, to: &Succession, done: oneshot::Sender<()>, stop: &Stop) {
        // Who waits where nobody else accepts is still ours.
        let accepts =
            |name: &ServiceName| !to.closed.iter().any(|closed| *closed == *name.as_str());
        let accepted = self.fronts.iter().filter(|(name, _)| accepts(name));
        accepted.for_each(|(_, front)| front.leave.cancel());
        self.fronts.clear();
        // A signal to stop is the second one from here on.
        stop.drain.cancel();
        self.registrar.hand_over(&to.registered).await;
        _ = done.send(());
    }

    /// What is registered while it serves.
    pub(super) fn entries(&self) -> BTreeMap<ServiceName, Entry> {
        let open = self.fronts.iter().map(|(name, front)| (name, front.address));
        self.registrar.entries(&self.config, open)
    }

    /// The same, for a process that has it registered before.
    pub(in crate::app) fn registers(&self) -> Vec<RegisteredAt> {
        self.entries().values().map(Entry::at).collect()
    }

    /// The listening sockets, for a process that takes over.
    pub(super) fn to_pass_on(&self) -> Vec<PassedOn> {
        let copy = |(name, front): (&ServiceName, &Front)| {
            let socket = front.to_pass_on.as_ref()?.try_clone().ok()?;
            let (name, listen, shared) = (name.to_string(), front.listen, front.shared);
            Some(PassedOn { name, listen, shared, socket })
        };
        self.fronts.iter().filter_map(copy).collect()
    }

    /// Waits until those who are in have ended; says how many were cut.
    pub(super) async fn until_ended(mut self, stop: &Stop) -> u64 {
        let deadline = Instant::now() + self.config.drain_timeout;
        let on_time = async { while self.listening.join_next().await.is_some() {} };
        tokio::select! {
            // Whoever wants it to end now does not wait for the rest.
            biased;
            () = stop.now.cancelled() => {}
            _ = timeout_at(deadline, on_time) => {}
        }
        // Those that the operator has cut one by one were cut as they were meant to be.
        let one_by_one = self.door.cut();
        self.cut.cancel();
        while self.listening.join_next().await.is_some() {}
        self.pool.drain();
        self.door.cut().saturating_sub(one_by_one)
    }

    /// Has the pool launch for those who wait, and keep nothing ready.
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
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Whether a reload is due that was put off.
    fn is_due(heir: &mut Heir) -> bool {
        pin!(heir.has_gone()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_reload_is_put_off_while_a_process_takes_over_and_follows_when_that_has_failed() {
        let mut heir = Heir::default();
        assert!(!heir.puts_off() && !is_due(&mut heir));
        let (attempt, over) = oneshot::channel();
        heir.comes(over);
        assert!(heir.puts_off() && heir.puts_off() && !is_due(&mut heir));
        drop(attempt);
        assert!(is_due(&mut heir), "it is carried out once");
        assert!(!heir.is_there() && !heir.puts_off() && !is_due(&mut heir));

        // One for which nothing was put off.
        let (attempt, over) = oneshot::channel();
        heir.comes(over);
        drop(attempt);
        assert!(!is_due(&mut heir) && !heir.is_there());
    }
}
