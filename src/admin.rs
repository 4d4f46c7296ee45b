//! The admin server: what a running Ganger is asked, and told, by a unix socket.
//!
//! The server runs beside the data path, never on a thread of connections, and reads a copy of the
//! pool's state that is a moment old at most, however many ask.

mod metrics;
mod problem;
mod routes;
mod socket;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ganger_pool::core::{ServiceName, Snapshot};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::{Counts, Sessions};

pub use metrics::{Exposition, MetricRow, Metrics, MetricsReading, ReloadResult, TlsFile, rows};
pub use socket::{AdminSocket, SocketError};
pub use view::{
    About, Condition, ContainerCounts, DaemonStatus, LeaseCounts, ServiceStatus, SessionStatus,
    Status,
};

/// How old what is told of the pool may be: a copy of it is made under the lock that leases take.
const FRESH: Duration = Duration::from_millis(250);

/// The process that is asked.
pub trait AdminSubject: Send + Sync + 'static {
    /// Its pool at this moment.
    fn snapshot(&self) -> Snapshot;

    /// Who is connected.
    fn sessions(&self) -> &Sessions;
    /// What the proxy has counted until now, by service.
    fn counts(&self) -> BTreeMap<ServiceName, Counts>;
    /// How the configuration was read last.
    fn last_reload(&self) -> ReloadResult;
    /// The certificates that engines are reached with. Reads files.
    fn certificates(&self) -> Vec<TlsFile>;

    /// Whether it was told to stop: nobody is to be sent here any more.
    fn is_stopping(&self) -> bool;
}

/// The state that all handlers share.
pub(crate) struct AdminState {
    subject: Box<dyn AdminSubject>,
    metrics: Arc<Metrics>,
    origin: Origin,
    last: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

/// The facts of a process that never change.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The name on its containers.
    pub instance: String,
    /// This run of it.
    pub boot: String,
    /// Since when it runs.
    pub since: SystemTime,
}

// === impl AdminState ===

impl AdminState {
    fn new(subject: Box<dyn AdminSubject>, metrics: Arc<Metrics>, origin: Origin) -> Self {
        Self { subject, metrics, origin, last: Mutex::default() }
    }

    /// The pool as it was a moment ago.
    async fn snapshot(&self) -> Arc<Snapshot> {
        let mut last = self.last.lock().await;
        match &*last {
            Some((taken, snapshot)) if taken.elapsed() < FRESH => Arc::clone(snapshot),
            _ => {
                let snapshot = Arc::new(self.subject.snapshot());
                *last = Some((Instant::now(), Arc::clone(&snapshot)));
                snapshot
            }
        }
    }
}

/// Answers those who come to the socket, until it is told to stop; then the socket is removed.
///
/// # Cancel safety
/// Dropping the future breaks off what is being answered.
pub async fn serve(
    socket: AdminSocket,
    subject: Box<dyn AdminSubject>,
    metrics: Arc<Metrics>,
    origin: Origin,
    stop: CancellationToken,
) {
    let admin = Arc::new(AdminState::new(subject, metrics, origin));
    let app = routes::routes(admin).into_make_service_with_connect_info::<socket::SocketPeer>();
    let served = axum::serve(socket.listener, app).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(error = error.to_string(), "the admin socket is not served any more");
    }
    drop(socket.place);
}

#[cfg(test)]
mod tests;
