//! The end of serving: for good, or because another process serves in our place.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_pool::core::{Policy, ServiceName};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Front, Server};
use crate::app::handover::PassedOn;
use crate::app::notify;
use crate::app::plan::Plan;
use crate::app::register::{Entry, RegisteredAt};
use crate::shutdown::Stop;

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
    pub(super) async fn leave(
        &mut self,
        to: &[RegisteredAt],
        done: oneshot::Sender<()>,
        stop: &Stop,
    ) {
        self.leave.cancel();
        self.fronts.clear();
        // A signal to stop is the second one from here on.
        stop.drain.cancel();
        self.registrar.hand_over(to).await;
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
            Some((name.to_string(), front.listen, socket))
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
