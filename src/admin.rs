//! The admin server: questions and orders to a running Ganger, by HTTP on a unix socket or TCP.
//!
//! The server runs beside the data path, never on a thread of connections, and reads a copy of the
//! pool's state that is a moment old at most, however many ask.

mod access;
mod body;
mod changes;
mod config_status;
mod engines;
mod events;
mod failures;
mod feed;
mod latencies;
mod metrics;
mod openapi;
mod order;
mod page;
mod problem;
mod query;
mod routes;
mod server;
mod socket;
mod timeline;
mod trend;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ganger_pool::core::{DaemonName, ServiceName, Snapshot};
use tokio::sync::{Mutex, Semaphore, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use trend::TrendMemory;

use crate::aside::Aside;
use crate::proxy::{Counts, Sessions};

pub use access::AccessRules;
pub use config_status::{ConfigKey, ConfigOrigin, ConfigPart, ConfigStatus, LastRead};
pub use engines::DaemonMemory;
pub use failures::{FailureBundle, FailureLimits, FailureMemory, FailurePhase};
pub use feed::{Feed, Happening};
pub use latencies::{LatencyMemory, Percentiles};
pub use metrics::{
    Exposition, Metrics, MetricsReading, ReloadResult, SourceNow, SourceReading, TlsFile,
};
pub use order::{AdminOrder, NotOrdered, OrderAnswer, Ordered};
pub use routes::openapi_json;
pub use socket::{AdminListener, AdminSocket, SocketError, SocketMove};
pub use timeline::{SessionTimeline, TimelineStep};
pub use view::{
    About, Condition, ContainerCounts, ContainerStatus, DaemonStatus, LeaseCounts, ServiceStatus,
    SessionStatus, Status,
};

/// The maximum age of a copy of the pool: each is made under the lock that leases take.
const FRESH: Duration = Duration::from_millis(250);
/// The most readers that follow events at a time.
const READERS: usize = 64;

/// The process behind the server.
pub trait AdminSubject: Send + Sync + 'static {
    /// Its pool at this moment.
    fn snapshot(&self) -> Snapshot;

    /// Its connections.
    fn sessions(&self) -> &Sessions;
    /// The proxy's counts until now, by service.
    fn counts(&self) -> BTreeMap<ServiceName, Counts>;
    /// The most connections at a time, of all services together.
    fn connections_max(&self) -> usize;
    /// How the configuration was read last.
    fn last_reload(&self) -> ReloadResult;
    /// The configuration in use, as it may be told. Makes a text for each key.
    fn config(&self) -> ConfigStatus;
    /// The sources of the fleet, past or present.
    fn sources(&self) -> Vec<SourceReading>;
    /// The certificates that engines are reached with. Reads files, which may take any time.
    fn certificates(&self) -> Vec<TlsFile>;

    /// All containers. May take some milliseconds where there are very many.
    fn containers(&self) -> Vec<ContainerStatus>;
    /// The orders that are in force.
    fn notes(&self) -> Notes;
    /// Carries an order out.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the order is carried out.
    fn order(&self, order: AdminOrder) -> OrderAnswer<'_>;
    /// Whether it was told to stop: no more clients are to be sent here.
    fn is_stopping(&self) -> bool;
}

/// The listeners of the server, and the rules there.
#[derive(Debug, Default)]
pub struct AdminListeners {
    /// The unix socket.
    pub socket: Option<AdminSocket>,
    /// The address.
    pub listener: Option<AdminListener>,
    /// The rules for clients that come by the address.
    pub rules: AccessRules,
}

/// The facts of orders in force that the pool lacks.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Services whose stock was set, until the next reload.
    pub scaled: BTreeSet<ServiceName>,
    /// Services that are drained, and when their leases are cut.
    pub service_deadlines: BTreeMap<ServiceName, Instant>,
    /// Daemons that are drained, and when the leases there are cut.
    pub daemon_deadlines: BTreeMap<DaemonName, Instant>,
}

/// The state that all handlers share.
pub(crate) struct AdminShared {
    subject: Box<dyn AdminSubject>,
    metrics: Arc<Metrics>,
    origin: Origin,
    pool: AdminCopy<Snapshot>,
    containers: AdminCopy<Vec<ContainerStatus>>,
    feed: Arc<Feed>,
    engines: Arc<DaemonMemory>,
    latencies: Arc<LatencyMemory>,
    failures: Arc<FailureMemory>,
    trend: TrendMemory,
    certificates: Aside<Vec<TlsFile>>,
    /// Somebody who shows the token may change something.
    can_login: bool,
    /// The copy that the feed has shown last.
    shown: parking_lot::Mutex<Option<Arc<Snapshot>>>,
    /// The places for readers of the feed.
    readers: Arc<Semaphore>,
    stop: CancellationToken,
}

/// A copy that is made under the lock that leases take, for all requests soon after.
struct AdminCopy<T>(Mutex<Option<(Instant, Arc<T>)>>);

/// The state for handlers.
type ServerState = axum::extract::State<Arc<AdminShared>>;

/// The observers that were there from the start on.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Metrics for Prometheus.
    pub metrics: Arc<Metrics>,
    /// The events for readers.
    pub feed: Arc<Feed>,
    /// The memory of daemons.
    pub engines: Arc<DaemonMemory>,
    /// How long clients waited lately.
    pub latencies: Arc<LatencyMemory>,
    /// The details of recent failures.
    pub failures: Arc<FailureMemory>,
}

/// The process that the server answers for.
pub struct AdminBeginning {
    /// The process itself.
    pub subject: Box<dyn AdminSubject>,
    /// The observers of that process.
    pub told: Told,
    /// Told when requests are answered for it.
    pub begun: oneshot::Sender<()>,
}

/// The facts of a process that never change.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The name on its containers.
    pub instance: String,
    /// The id of this run.
    pub boot: String,
    /// Since when it runs.
    pub since: SystemTime,
}

// === impl AdminShared ===

impl AdminShared {
    fn new(
        subject: Box<dyn AdminSubject>,
        told: Told,
        origin: Origin,
        can_login: bool,
        stop: CancellationToken,
    ) -> Self {
        let (trend, certificates, pool, containers) = Default::default();
        let Told { metrics, feed, engines, latencies, failures } = told;
        let (shown, readers) = (parking_lot::Mutex::default(), Arc::new(Semaphore::new(READERS)));
        Self {
            subject,
            metrics,
            origin,
            pool,
            containers,
            feed,
            engines,
            latencies,
            failures,
            trend,
            certificates,
            can_login,
            shown,
            readers,
            stop,
        }
    }

    /// Has the next request copy the state anew.
    async fn forget_copies(&self) {
        self.pool.forget().await;
        self.containers.forget().await;
    }

    /// The pool as it was a moment ago.
    async fn snapshot(&self) -> Arc<Snapshot> {
        self.pool.get(|| self.subject.snapshot()).await
    }

    /// The containers as they were a moment ago.
    async fn containers(&self) -> Arc<Vec<ContainerStatus>> {
        self.containers.get(|| self.subject.containers()).await
    }
}

// === impl AdminCopy ===

impl<T> AdminCopy<T> {
    async fn get(&self, take: impl FnOnce() -> T) -> Arc<T> {
        let mut last = self.0.lock().await;
        match &*last {
            Some((taken, copy)) if taken.elapsed() < FRESH => Arc::clone(copy),
            _ => {
                let copy = Arc::new(take());
                *last = Some((Instant::now(), Arc::clone(&copy)));
                copy
            }
        }
    }

    async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

impl<T> Default for AdminCopy<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// Answers requests at the listeners until `stop` is cancelled; then the socket is removed. Until
/// there is a `beginning`, the answer is that the process starts.
///
/// # Cancel safety
/// Dropping the future leaves connections to end by themselves.
pub async fn serve(
    listeners: AdminListeners,
    origin: Origin,
    beginning: oneshot::Receiver<AdminBeginning>,
    stop: CancellationToken,
) {
    let AdminListeners { socket, listener, rules } = listeners;
    let (current, app) = watch::channel(routes::starting(rules.clone()));
    let begins = async {
        let Some(Ok(beginning)) = stop.run_until_cancelled(beginning).await else { return };
        let AdminBeginning { subject, told, begun } = beginning;
        let can_login = rules.token.is_some();
        let admin = Arc::new(AdminShared::new(subject, told, origin, can_login, stop.clone()));
        drop(current.send_replace(routes::routes(Arc::clone(&admin), rules)));
        // The task that sent it may have ended.
        _ = begun.send(());
        let mut ticks = tokio::time::interval(trend::EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            admin.trend.sample(&*admin.snapshot().await);
        }
    };
    let by_socket = async {
        if let Some(AdminSocket { listener, place, .. }) = socket {
            server::run(listener, app.clone(), stop.clone()).await;
            drop(place);
        }
    };
    let by_tcp = async {
        if let Some(AdminListener(listener)) = listener {
            server::run(listener, app.clone(), stop.clone()).await;
        }
    };
    tokio::join!(by_socket, by_tcp, begins);
}

#[cfg(test)]
mod tests;
