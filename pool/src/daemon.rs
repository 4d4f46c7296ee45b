//! The tasks of one daemon, which its handle hides.
//!
//! The tasks are contact (`daemon/monitor.rs`), with preparations (`daemon/preparer.rs`), and
//! removals (`daemon/remover.rs`), and begin when the daemon joins the fleet. Contact begins
//! anew when the daemon's endpoint or launch limit changes, or the daemon comes back; removals
//! go on until it has left and holds nothing.

mod deaths;
pub(crate) mod handle;
mod monitor;
mod preparer;
mod remover;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::Broker;
use crate::core::DaemonName;
use crate::discovery::DaemonSpec;
use crate::runtime::ContainerRuntime;
use crate::services::Services;
use deaths::Deaths;
use handle::{DaemonHandle, Daemons};
use monitor::Monitor;
use remover::Remover;

/// The parts of the pool that the tasks of all daemons share.
pub(crate) struct TaskContext<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) services: Arc<Services<R::Spec>>,
    pub(crate) daemons: Arc<Daemons>,
    pub(crate) deaths: Arc<Deaths>,
}

/// The tasks of one daemon. Dropping them ends them.
pub(crate) struct DaemonTasks {
    handle: DaemonHandle,
    _removals: AbortOnDropHandle<()>,
    contact: Option<ContactTask>,
}

/// The task that keeps contact, and the token that ends it.
struct ContactTask {
    over: CancellationToken,
    task: AbortOnDropHandle<()>,
}

// === impl DaemonTasks ===

impl DaemonTasks {
    /// Makes the daemon known, and begins to carry out removals. There is no contact yet.
    pub(crate) fn begin<R: ContainerRuntime>(with: &TaskContext<R>, name: &DaemonName) -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let handle = with.daemons.add(name.clone(), orders);
        let remover = Remover {
            broker: with.broker.clone(),
            runtime: with.runtime.clone(),
            signals: handle.signals().clone(),
            deaths: with.deaths.clone(),
        };
        let _removals = AbortOnDropHandle::new(tokio::spawn(remover.run(ordered)));
        Self { handle, _removals, contact: None }
    }

    /// Begins to seek contact with the daemon.
    pub(crate) fn begin_contact<R: ContainerRuntime>(
        &mut self,
        with: &TaskContext<R>,
        daemon: DaemonSpec<R::Endpoint>,
    ) {
        let monitor = Monitor {
            broker: with.broker.clone(),
            runtime: with.runtime.clone(),
            services: with.services.clone(),
            daemon,
            signals: self.handle.signals().clone(),
        };
        let over = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(monitor.run(over.clone())));
        self.contact = Some(ContactTask { over, task });
    }

    /// Ends contact. When this returns the task has ended, and nothing more is told by it.
    pub(crate) async fn end_contact(&mut self) {
        if let Some(ContactTask { over, task }) = self.contact.take() {
            over.cancel();
            // The task ends in any case, be it by a panic.
            _ = task.await;
        }
    }
}
