//! The pool, as a program that embeds it holds it.

mod operator;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::{Broker, CheckAtOnce};
use crate::core::{Event, Ledger, Refusal, ServiceName, ServiceView, Snapshot};
use crate::daemon::TaskContext;
use crate::daemon::handle::Daemons;
use crate::discovery::FleetWatch;
use crate::events::{EventKind, Events, Observer};
use crate::fleet::Fleet;
use crate::launcher::Launcher;
use crate::lease::Lease;
use crate::lease_pool::LeasePool;
use crate::options::{Change, ServiceOptions};
use crate::probe::Probe;
use crate::runtime::ContainerRuntime;
use crate::services::Services;

/// How often those who wait for a state of the pool look at it.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Containers launched ahead of demand, leased one at a time.
///
/// Dropping it ends its tasks and leaves its containers where they are: to
/// remove them, [`Pool::drain`] it and wait until its snapshot is empty.
pub struct Pool<R: ContainerRuntime> {
    broker: Arc<Broker<R>>,
    lease_pools: RwLock<BTreeMap<ServiceName, Arc<LeasePool<R>>>>,
    /// Aborted when dropped.
    tasks: JoinSet<()>,
}

// === impl Pool ===

impl<R: ContainerRuntime> Pool<R> {
    /// Starts a pool: contact is made with the fleet, what earlier boots left
    /// is removed, and the stock is launched. Must be called within a tokio
    /// runtime, whose threads then carry the engine calls.
    pub fn start<P: Probe<R::Handle>>(
        services: Vec<ServiceOptions<R::Spec>>,
        runtime: Arc<R>,
        probe: Arc<P>,
        fleet: FleetWatch<R::Endpoint>,
    ) -> Self {
        Self::start_observed(services, runtime, probe, fleet, Vec::new())
    }

    /// Starts a pool whose observers are told of everything that happens in it, from the first
    /// event on. See [`Pool::start`].
    pub fn start_observed<P: Probe<R::Handle>>(
        services: Vec<ServiceOptions<R::Spec>>,
        runtime: Arc<R>,
        probe: Arc<P>,
        fleet: FleetWatch<R::Endpoint>,
        observers: Vec<Arc<dyn Observer>>,
    ) -> Self {
        let (launcher, orders) = mpsc::unbounded_channel();
        let (emptied, empty) = mpsc::unbounded_channel();
        let (known, daemons) = (Arc::new(Services::new()), Arc::new(Daemons::default()));
        let ledger = Ledger::salted(runtime.salt());
        let events = Arc::new(Events::new(observers));
        let check: CheckAtOnce<R> = {
            let probe = probe.clone();
            Box::new(move |handle| probe.check_at_once(handle))
        };
        let broker =
            Broker::new(ledger, launcher, daemons.clone(), emptied, known.clone(), events, check);
        let broker = Arc::new(broker);

        let mut tasks = JoinSet::new();
        let timer = broker.clone();
        tasks.spawn(async move { timer.keep_time().await });
        let launches = Launcher {
            broker: broker.clone(),
            runtime: runtime.clone(),
            probe,
            services: known.clone(),
            daemons: daemons.clone(),
        };
        tasks.spawn(launches.run(orders));
        let this = Self { broker: broker.clone(), lease_pools: RwLock::default(), tasks };
        // Before any daemon: each one that joins is prepared for all of them.
        this.reload(services);
        let context =
            TaskContext { broker, runtime, services: known, daemons, deaths: Arc::default() };
        let fleet = Fleet::new(context, fleet);
        let mut this = this;
        this.tasks.spawn(fleet.run(empty));
        this
    }

    /// Replaces the set of services; running leases go on. A service that is not among
    /// them any more is drained. A service with another spec is rolled out:
    /// [`ServiceView::rollout`] shows how that goes. Returns the changes. After
    /// [`Pool::drain`] nothing is launched for them.
    ///
    /// [`ServiceView::rollout`]: crate::core::ServiceView::rollout
    pub fn reload(&self, services: Vec<ServiceOptions<R::Spec>>) -> Vec<(ServiceName, Change)> {
        // One reload at a time: its events must not overtake those of another.
        let mut lease_pools = self.lease_pools.write();
        let reload = self.broker.reload(services);
        for (service, change) in &reload.changes {
            if *change == Change::Removed
                && let Some(lease_pool) = lease_pools.remove(service)
            {
                lease_pool.close();
            }
        }
        for options in reload.lease_pools {
            let name = options.name;
            let lease_pool = LeasePool::new(self.broker.clone(), name.clone(), &options.policy);
            lease_pools.insert(name, Arc::new(lease_pool));
        }
        for (service, change) in &reload.changes {
            let (service, change) = (service.clone(), *change);
            self.broker.events.tell(EventKind::ServiceChanged { service, change });
        }
        reload.changes
    }

    /// Leases a container: at once from stock, else when one is returned or
    /// launched, whichever comes first, oldest request first.
    ///
    /// # Errors
    /// Why there is none; `TimedOut` at the latest at `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue at once. A launch it caused goes on
    /// and its container goes to stock.
    pub async fn lease(
        &self,
        service: &ServiceName,
        deadline: Instant,
    ) -> Result<Lease<R>, Refusal> {
        self.lease_in_line(service, deadline, &|_| {}).await
    }

    /// The same; a request that has to wait is told its place in the queue, once: 1 is the next
    /// to be served.
    ///
    /// # Errors
    /// As those of [`Pool::lease`].
    ///
    /// # Cancel safety
    /// As that of [`Pool::lease`].
    pub async fn lease_in_line(
        &self,
        service: &ServiceName,
        deadline: Instant,
        queued: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Lease<R>, Refusal> {
        let lease_pool = self.lease_pools.read().get(service).cloned();
        match lease_pool {
            Some(lease_pool) => lease_pool.lease(deadline, queued).await,
            None => Err(self.broker.refused(service, Refusal::UnknownService)),
        }
    }

    /// The pool at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.broker.snapshot()
    }

    /// A service at this moment; `None` when it is unknown, or the pool is drained.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<ServiceView> {
        self.broker.service(name)
    }

    /// Returns once the condition holds, with the snapshot it holds for.
    ///
    /// Looks at the pool when it changes, at most every 10 ms: a snapshot takes
    /// the lock that leases take. A state in between may go unseen, a lasting one
    /// does not.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn until(&self, mut condition: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let mut changes = self.broker.changes();
        loop {
            changes.mark_unchanged();
            let snapshot = self.snapshot();
            let looked = Instant::now();
            if condition(&snapshot) || changes.changed().await.is_err() {
                return snapshot;
            }
            tokio::time::sleep_until(looked + LOOK_EVERY).await;
        }
    }

    /// Gives no new leases, refuses those who wait, and retires the stock.
    /// Running leases go on; their containers are retired when they end.
    pub fn drain(&self) {
        self.lease_pools.read().values().for_each(|lease_pool| lease_pool.close());
        self.broker.tell(Event::Drain);
    }
}
