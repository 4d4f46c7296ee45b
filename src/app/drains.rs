//! Deadlines of what the operator has drained: leases that go on beyond them are cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{DaemonName, ServiceName};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::proxy::{SessionView, Sessions};

/// How often it is looked for leases after the deadline: one may have been given just before the drain.
const AGAIN: Duration = Duration::from_millis(250);

/// What is drained with a deadline.
#[derive(Debug, Default)]
pub(super) struct Drains {
    running: Mutex<BTreeMap<Drained, Deadline>>,
}

/// Something that is drained.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drained {
    Service(ServiceName),
    Daemon(DaemonName),
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    /// Cuts what is left then.
    _task: AbortOnDropHandle<()>,
}

// === impl Drains ===

impl Drains {
    /// From then on nothing is left there. A deadline that it had before is forgotten.
    pub(super) fn begin(&self, drained: Drained, deadline: Duration, sessions: &Arc<Sessions>) {
        let at = Instant::now() + deadline;
        let cut = cut_at(at, drained.clone(), Arc::clone(sessions));
        let task = AbortOnDropHandle::new(tokio::spawn(cut));
        self.running.lock().insert(drained, Deadline { at, _task: task });
    }

    /// It has no deadline any more.
    pub(super) fn end(&self, drained: &Drained) {
        self.running.lock().remove(drained);
    }

    /// When which leases are cut.
    pub(super) fn deadlines(&self) -> BTreeMap<Drained, Instant> {
        let running = self.running.lock();
        running.iter().map(|(drained, deadline)| (drained.clone(), deadline.at)).collect()
    }
}

async fn cut_at(at: Instant, drained: Drained, sessions: Arc<Sessions>) {
    sleep_until(at).await;
    loop {
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
    fn has(&self, session: &SessionView) -> bool {
        match self {
            Self::Service(name) => session.service == *name,
            Self::Daemon(name) => {
                session.container.as_ref().is_some_and(|serving| serving.daemon == *name)
            }
        }
    }
}
