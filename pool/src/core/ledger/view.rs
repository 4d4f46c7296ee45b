//! The ledger as readers see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::{AdminState, Counts, Generation, Refusal, Stage};
use super::service::Service;
use super::totals::Totals;
use super::{Contact, DaemonName, Ledger, ServiceId, ServiceName, State};

/// The pool at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order they were added.
    pub services: Vec<ServiceView>,
    /// By name.
    pub daemons: Vec<DaemonView>,
    /// No new leases are given.
    pub draining: bool,
}

/// A service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// The version of its spec that is launched for clients.
    pub generation: Generation,
    /// The generation that is to take the place of another.
    pub rollout: Option<RolloutView>,
    /// The last generation that was rolled back, and why.
    pub rolled_back: Option<(Generation, Arc<str>)>,
    /// Whether it was removed and is being drained.
    pub leaving: bool,
    /// Whether the operator lets it be used.
    pub admin: AdminState,
    /// Its containers by state.
    pub counts: Counts,
    /// How many ready containers are to be kept.
    pub warm: u32,
    /// The most containers of it that there may be.
    pub max: u32,
    /// Connections that wait.
    pub waiting: u32,
    /// Since when the oldest of them waits.
    pub oldest_wait: Option<Instant>,
    /// The last failure, while its containers keep failing.
    pub failing: Option<Arc<str>>,
    /// Why a connection that finds nothing in stock is refused, while that is so;
    /// a full queue does not count.
    pub refusing: Option<Arc<str>>,
    /// The last failure of a launch, whoever was at fault.
    pub last_error: Option<Arc<str>>,
    /// Its counters since it was added.
    pub totals: Totals,
}

/// A generation on its way to take the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutView {
    /// The new generation.
    pub to: Generation,
    /// How far it is.
    pub stage: Stage,
    /// Its containers by state.
    pub counts: Counts,
}

/// A daemon at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonView {
    /// Its name.
    pub name: DaemonName,
    /// The most containers it may hold.
    pub capacity: u32,
    /// Launches go to the lowest tier that has room.
    pub tier: u32,
    /// Its containers by state.
    pub counts: Counts,
    /// Launches in flight on it: ordered, and not started yet.
    pub in_flight: u32,
    /// How many launches it may have in flight now: as configured or learnt, or one while they
    /// fail.
    pub launch_limit: u32,
    /// Containers of earlier boots, and of lost replies, still to be removed.
    pub strays: u32,
    /// Containers of others who share the capacity, as of the last list; with containers of this
    /// pool that run there under another name of the same engine.
    pub others: u32,
    /// Why there is no contact, once it was tried.
    pub down: Option<Arc<str>>,
    /// Why launches on it fail, while they do: one at a time tries.
    pub degraded: Option<Arc<str>>,
    /// Whether a complete list has arrived since contact was made.
    pub listed: bool,
    /// Whether it left the fleet and is being drained.
    pub leaving: bool,
    /// Whether the operator lets it be used.
    pub admin: AdminState,
    /// By service, whether it can launch its current generation; absent while not known.
    pub prepared: BTreeMap<ServiceName, Result<(), Arc<str>>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceView> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }

    /// The daemon of that name.
    #[must_use]
    pub fn daemon(&self, name: &str) -> Option<&DaemonView> {
        self.daemons.iter().find(|daemon| daemon.name.as_str() == name)
    }

    /// [`Snapshot::reaped`], and each daemon that answered knows what it can launch.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.services.iter().all(|service| self.settled_for(&service.name)) && self.reaped()
    }

    /// Every daemon was tried, and nothing of an earlier boot is left on those
    /// that answered.
    #[must_use]
    pub fn reaped(&self) -> bool {
        self.daemons.iter().all(DaemonView::reaped)
    }

    /// [`Snapshot::reaped`], and each daemon that answered knows whether it can
    /// launch the service.
    #[must_use]
    pub fn settled_for(&self, service: &ServiceName) -> bool {
        self.daemons.iter().all(|daemon| daemon.settled_for(service))
    }

    /// Every stock has what it wants.
    #[must_use]
    pub fn stocked(&self) -> bool {
        self.services.iter().all(ServiceView::stocked)
    }

    /// Nothing of ours is left anywhere, as far as is known.
    #[must_use]
    pub fn empty(&self) -> bool {
        self.daemons.iter().all(|daemon| daemon.held() == 0)
    }
}

// === impl ServiceView ===

impl ServiceView {
    /// Its stock has what it wants.
    #[must_use]
    pub fn stocked(&self) -> bool {
        self.counts[State::Idle] >= self.warm
    }
}

// === impl DaemonView ===

impl DaemonView {
    /// Containers of ours on it, as far as is known.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.counts.total() + self.strays
    }

    /// Whether it does not answer, or has nothing of an earlier boot any more and
    /// knows whether it can launch the service.
    #[must_use]
    pub fn settled_for(&self, service: &ServiceName) -> bool {
        self.down.is_some() || (self.reaped() && self.prepared.contains_key(service))
    }

    /// Whether it does not answer, or has nothing of an earlier boot any more.
    #[must_use]
    pub fn reaped(&self) -> bool {
        self.down.is_some() || (self.listed && self.strays == 0)
    }
}

// === impl Ledger ===

impl Ledger {
    /// A copy of the counters of one service, unless there is a drain. Looks at each
    /// daemon at most.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<ServiceView> {
        if self.draining {
            return None;
        }
        self.services.id(name).map(|service| self.view(service))
    }

    fn view(&self, id: ServiceId) -> ServiceView {
        let service = &self.services[id];
        ServiceView {
            name: service.name.clone(),
            generation: service.current(),
            rollout: service.rollout.as_ref().map(|rollout| RolloutView {
                to: rollout.to,
                stage: rollout.stage,
                counts: rollout.counts,
            }),
            rolled_back: service.rolled_back.clone(),
            leaving: service.leaving,
            admin: service.admin,
            counts: service.counts,
            warm: if service.in_service() { service.stock_wanted() } else { 0 },
            max: service.policy.max,
            waiting: service.queue.len(),
            oldest_wait: service.queue.oldest_since(),
            failing: service.failing().cloned(),
            refusing: self.refusing(id),
            last_error: service.last_error().cloned(),
            totals: service.totals.clone(),
        }
    }

    fn refusing(&self, id: ServiceId) -> Option<Arc<str>> {
        let service = &self.services[id];
        let state = service.admin;
        let operator = (!state.is_ready()).then(|| Refusal::Operator { state }.to_string().into());
        operator.or_else(|| service.refusing().cloned()).or_else(|| self.hopeless(id))
    }

    /// A copy of all counters, for readers. Costs what there are services and daemons,
    /// and for a service without containers both, whatever the number of containers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let gone = |service: &Service| service.leaving && service.counts.total() == 0;
        let kept = self.services.iter().filter(|(_, service)| !gone(service));
        let services = kept.map(|(id, _)| self.view(id));
        let daemons = self.daemons.by_name().map(|(_, daemon)| DaemonView {
            name: daemon.name.clone(),
            capacity: daemon.capacity.containers,
            tier: daemon.capacity.tier,
            counts: daemon.counts,
            in_flight: daemon.counts[State::Launching],
            launch_limit: daemon.launches(),
            strays: u32::try_from(daemon.strays.len()).unwrap_or(u32::MAX),
            others: daemon.others,
            down: match &daemon.contact {
                Contact::Down(reason, _) => Some(reason.clone()),
                _ => None,
            },
            degraded: daemon.degraded.clone(),
            listed: daemon.is_listed(),
            leaving: daemon.leaving,
            admin: daemon.admin,
            prepared: daemon
                .prepared
                .iter()
                .filter_map(|((id, generation), result)| {
                    let service = &self.services[*id];
                    let current = !service.leaving && service.current() == *generation;
                    current.then(|| (service.name.clone(), result.clone()))
                })
                .collect(),
        });
        Snapshot {
            services: services.collect(),
            daemons: daemons.collect(),
            draining: self.draining,
        }
    }
}
