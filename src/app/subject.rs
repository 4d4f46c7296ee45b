//! A run, as the admin server asks it and gives it orders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ganger_pool::Pool;
use ganger_pool::core::{AdminState, Retirement, ServiceName, Snapshot};
use ganger_pool::discovery::FleetWatch;
use tokio_util::sync::CancellationToken;

use super::config_in_use::ConfigInUse;
use super::drains::{Drained, Drains};
use super::fleet::FleetSources;
use super::orders::{self, Orders, ServerOrder, StockScale};
use crate::admin::{
    AdminOrder, AdminSubject, ConfigStatus, ContainerStatus, NotOrdered, Notes, OrderAnswer,
    Ordered, ReloadResult, SourceReading, TlsFile,
};
use crate::docker::{Docker, Site};
use crate::proxy::{Admission, Counts, Sessions};
use crate::reach::Backend;
use crate::tls;

/// A run, as the admin server asks it.
pub(super) struct Run {
    pub(super) pool: Arc<Pool<Docker>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) admission: Arc<Admission>,
    pub(super) in_use: Arc<ConfigInUse>,
    pub(super) fleet: FleetWatch<Site>,
    pub(super) sources: Arc<FleetSources>,
    pub(super) drain: CancellationToken,
    /// Outlives the admin server, which a hand-over ends first.
    pub(super) drains: Arc<Drains>,
    /// A state and its deadline are set together.
    pub(super) ordering: parking_lot::Mutex<()>,
    pub(super) orders: Orders,
    /// Another process gets ready to take over.
    pub(super) successor: Arc<AtomicBool>,
}

/// Whether the pool carries out an order that a process which takes over would have to know of.
fn is_for_successor(order: &AdminOrder) -> bool {
    match order {
        AdminOrder::ServiceState { .. }
        | AdminOrder::DaemonState { .. }
        | AdminOrder::Roll { .. }
        | AdminOrder::RollBack { .. } => true,
        // The server checks for itself when these are due.
        AdminOrder::Scale { .. } | AdminOrder::Reload { .. } => false,
        // These are about this process alone.
        AdminOrder::Retire { .. } | AdminOrder::Drain => false,
    }
}

// === impl Run ===

impl Run {
    async fn carry_out(&self, order: AdminOrder) -> Result<Ordered, NotOrdered> {
        if self.successor.load(Ordering::Relaxed) && is_for_successor(&order) {
            return Err(NotOrdered::taken_over());
        }
        match order {
            AdminOrder::Scale { service, warm, max } => {
                let scale = StockScale { warm, max };
                orders::send(&self.orders, ServerOrder::Scale { service, scale }).await
            }
            AdminOrder::Reload { dry_run } => {
                orders::send(&self.orders, ServerOrder::Reload { dry_run }).await
            }
            AdminOrder::ServiceState { service, state, deadline } => {
                let _one_at_a_time = self.ordering.lock();
                let changed = self.pool.set_service_state(&service, state)?;
                Ok(self.drained(Drained::Service(service), state, deadline, changed))
            }
            AdminOrder::DaemonState { daemon, state, deadline } => {
                let _one_at_a_time = self.ordering.lock();
                let changed = self.pool.set_daemon_state(&daemon, state)?;
                Ok(self.drained(Drained::Daemon(daemon), state, deadline, changed))
            }
            AdminOrder::Roll { service } => {
                let generation = self.pool.roll(&service)?;
                Ok(Ordered::changed(format!("rolling out generation {generation}")))
            }
            AdminOrder::RollBack { service } => {
                let generation = self.pool.roll_back(&service)?;
                Ok(Ordered::changed(format!("generation {generation} is given up")))
            }
            AdminOrder::Retire { launch } => match self.pool.retire(launch) {
                Retirement::AtOnce => Ok(Ordered::changed("it is being removed")),
                Retirement::AfterLease => Ok(Ordered::changed("it goes when its lease ends")),
                Retirement::UnderWay => Ok(Ordered::unchanged("it goes already")),
                Retirement::Unknown => Err(NotOrdered::Absent(format!(
                    "there is no container {launch}, or it is gone"
                ))),
            },
            AdminOrder::Drain if self.drain.is_cancelled() => {
                Ok(Ordered::unchanged("it is stopping"))
            }
            AdminOrder::Drain => {
                self.drain.cancel();
                Ok(Ordered::changed(
                    "it takes no more connections, and stops when the last has ended",
                ))
            }
        }
    }

    /// Notes the deadline of a service or daemon that is in this state now.
    fn drained(
        &self,
        drained: Drained,
        state: AdminState,
        deadline: Option<Duration>,
        changed: bool,
    ) -> Ordered {
        let had = self.drains.deadlines().contains_key(&drained);
        let deadline = deadline.filter(|_| !state.is_ready());
        match deadline {
            Some(deadline) => {
                let pool = Arc::clone(&self.pool);
                let is_drained = move |drained: &Drained| drained.is_so_in(&pool.snapshot());
                self.drains.begin(drained, deadline, &self.sessions, is_drained);
            }
            None => self.drains.end(&drained),
        }
        let changed = changed || had || deadline.is_some();
        let detail = match deadline {
            Some(deadline) => format!(
                "{state}; leases that are left are cut in {}",
                humantime::format_duration(deadline)
            ),
            None if state.is_ready() => state.to_string(),
            None => format!("{state}; leases go on until they end"),
        };
        Ordered { changed, detail }
    }
}

impl AdminSubject for Run {
    fn snapshot(&self) -> Snapshot {
        self.pool.snapshot()
    }

    fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    fn counts(&self) -> BTreeMap<ServiceName, Counts> {
        self.sessions.count_traffic();
        self.admission.counts()
    }

    fn connections_max(&self) -> usize {
        self.admission.cap()
    }

    fn last_reload(&self) -> ReloadResult {
        self.in_use.last_reload()
    }

    fn config(&self) -> ConfigStatus {
        self.in_use.status()
    }

    fn sources(&self) -> Vec<SourceReading> {
        self.sources.read()
    }

    fn certificates(&self) -> Vec<TlsFile> {
        let fleet = Arc::clone(&self.fleet.borrow());
        // Most daemons share their files.
        let mut files: Vec<&tls::Files> = Vec::new();
        for found in fleet.iter().filter_map(|daemon| daemon.endpoint.endpoint.tls()) {
            if !files.contains(&found) {
                files.push(found);
            }
        }
        let expiries = files.into_iter().flat_map(tls::Files::expiries);
        let by_path: BTreeMap<_, _> = expiries.collect();
        by_path.into_iter().map(|(path, expires)| TlsFile { path, expires }).collect()
    }

    fn containers(&self) -> Vec<ContainerStatus> {
        let all = self.pool.containers_and_handles().into_iter();
        all.map(|(view, handle)| {
            let id = handle.map(|handle| handle.id().to_owned());
            ContainerStatus { id, ..view.into() }
        })
        .collect()
    }

    fn notes(&self) -> Notes {
        let scaled = self.in_use.scales().into_keys().collect();
        let mut notes = Notes { scaled, ..Notes::default() };
        for (drained, at) in self.drains.deadlines() {
            match drained {
                Drained::Service(name) => _ = notes.service_deadlines.insert(name, at),
                Drained::Daemon(name) => _ = notes.daemon_deadlines.insert(name, at),
            }
        }
        notes
    }

    fn order(&self, order: AdminOrder) -> OrderAnswer<'_> {
        Box::pin(self.carry_out(order))
    }

    fn is_stopping(&self) -> bool {
        self.drain.is_cancelled()
    }
}
