//! Deadlines of drained services and daemons: leases that go on beyond them are cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{DaemonName, ServiceName, Snapshot};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::proxy::{SessionView, Sessions};

/// How often leases are looked for after the deadline: one may be given just before a drain.
const AGAIN: Duration = Duration::from_millis(250);

/// Drained services and daemons with a deadline.
#[derive(Debug, Default)]
pub(super) struct Drains {
    running: Mutex<BTreeMap<Drained, Deadline>>,
}

/// A service or a daemon that is drained.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drained {
    Service(ServiceName),
    Daemon(DaemonName),
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    /// Cuts the leases left at the deadline, and ends when the drain is over.
    task: AbortOnDropHandle<()>,
}

// === impl Drains ===

impl Drains {
    /// Cuts all leases from `deadline` on, in place of an earlier deadline. `is_drained` tells
    /// whether the drain still holds: a service or daemon that is used again, or was taken out and
    /// came back, has no deadline.
    pub(super) fn begin(
        &self,
        drained: Drained,
        deadline: Duration,
        sessions: &Arc<Sessions>,
        is_drained: impl Fn(&Drained) -> bool + Send + Sync + 'static,
    ) {
        let at = Instant::now() + deadline;
        let cut = cut_at(at, drained.clone(), Arc::clone(sessions), is_drained);
        let task = AbortOnDropHandle::new(tokio::spawn(cut));
        self.running.lock().insert(drained, Deadline { at, task });
    }

    /// Ends the deadline of a drain.
    pub(super) fn end(&self, drained: &Drained) {
        self.running.lock().remove(drained);
    }

    /// When leases are cut, by drain.
    pub(super) fn deadlines(&self) -> BTreeMap<Drained, Instant> {
        let mut running = self.running.lock();
        running.retain(|_, deadline| !deadline.task.is_finished());
        running.iter().map(|(drained, deadline)| (drained.clone(), deadline.at)).collect()
    }
}

async fn cut_at(
    at: Instant,
    drained: Drained,
    sessions: Arc<Sessions>,
    is_drained: impl Fn(&Drained) -> bool,
) {
    let patience = async {
        while is_drained(&drained) {
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = patience => return,
        () = sleep_until(at) => {}
    }
    while is_drained(&drained) {
        let left: Vec<_> = sessions.list().into_iter().filter(|view| drained.has(view)).collect();
        if !left.is_empty() {
            info!(?drained, cut = left.len(), "the deadline of a drain has passed");
        }
        left.iter().for_each(|view| _ = sessions.cut(view.id));
        sleep(AGAIN).await;
    }
}

// === impl Drained ===

impl Drained {
    /// Whether the operator has it drained.
    pub(super) fn is_so_in(&self, pool: &Snapshot) -> bool {
        let state = match self {
            Self::Service(name) => pool.service(name.as_str()).map(|service| service.admin),
            Self::Daemon(name) => pool.daemon(name.as_str()).map(|daemon| daemon.admin),
        };
        state.is_some_and(|state| !state.is_ready())
    }

    fn has(&self, session: &SessionView) -> bool {
        match self {
            Self::Service(name) => session.service == *name,
            Self::Daemon(name) => {
                session.container.as_ref().is_some_and(|serving| serving.daemon == *name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_used_again_has_no_deadline_any_more() {
        let (drains, sessions) = (Drains::default(), Sessions::new(Vec::new()));
        let is_drained = Arc::new(AtomicBool::new(true));
        let drained = Drained::Service("echo".into());
        let told = Arc::clone(&is_drained);
        let deadline = Duration::from_secs(300);
        drains.begin(drained, deadline, &sessions, move |_| told.load(Ordering::Relaxed));
        for _ in 0..8 {
            advance(AGAIN).await;
        }
        assert_eq!(drains.deadlines().len(), 1);
        is_drained.store(false, Ordering::Relaxed);
        while !drains.deadlines().is_empty() {
            advance(AGAIN).await;
        }
    }
}
