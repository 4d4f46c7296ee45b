//! The specs of each service: every generation that is launched, or may be again.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::core::{Event, Generation, OrderError, ServiceName};
use crate::options::{Change, ServiceOptions};

pub(crate) struct Services<S> {
    known: Mutex<BTreeMap<ServiceName, Known<S>>>,
    changes: watch::Sender<()>,
}

/// A service, kept as long as the pool lives: no generation has the number of another.
struct Known<S> {
    last: Generation,
    /// The oldest is the one to fall back on. None when it was removed.
    generations: BTreeMap<Generation, ServiceOptions<S>>,
}

/// The results of a reload.
pub(crate) struct Reload<S> {
    /// For the ledger.
    pub(crate) events: Vec<Event>,
    /// For the lease pools: services that are new or run otherwise now.
    pub(crate) lease_pools: Vec<ServiceOptions<S>>,
    /// For people.
    pub(crate) changes: Vec<(ServiceName, Change)>,
}

// === impl Services ===

impl<S> Services<S> {
    pub(crate) fn new() -> Self {
        Self { known: Mutex::default(), changes: watch::Sender::new(()) }
    }

    /// The options of a generation of a service; `None` when it is not launched any more.
    pub(crate) fn options(
        &self,
        service: &ServiceName,
        generation: Generation,
    ) -> Option<ServiceOptions<S>> {
        self.known.lock().get(service)?.generations.get(&generation).cloned()
    }

    /// All generations that daemons have to be prepared for.
    pub(crate) fn all(&self) -> Vec<(Generation, ServiceOptions<S>)> {
        let known = self.known.lock();
        let generations = known.values().flat_map(|known| &known.generations);
        generations.map(|(generation, options)| (*generation, options.clone())).collect()
    }

    /// Tells of each change of [`Services::all`].
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Begins a new generation of the same spec. Returns its number and the event for the
    /// ledger. To be announced.
    pub(crate) fn roll(&self, name: &ServiceName) -> Result<(Generation, Event), OrderError> {
        let mut all = self.known.lock();
        let unknown = || OrderError::UnknownService(name.clone());
        let known = all.get_mut(name).ok_or_else(unknown)?;
        let (current, options) = known.generations.last_key_value().ok_or_else(unknown)?;
        if known.generations.len() > 1 {
            return Err(OrderError::RollingOut { service: name.clone(), to: *current });
        }
        let options = options.clone();
        let (service, policy) = (name.clone(), options.policy.clone());
        let generation = known.begin(options);
        Ok((generation, Event::ServiceChanged { service, policy, generation }))
    }

    /// A generation took the place of those before. To be announced.
    pub(crate) fn switched_over(&self, service: &ServiceName, to: Generation) {
        if let Some(known) = self.known.lock().get_mut(service) {
            known.generations.retain(|generation, _| *generation >= to);
        }
    }

    /// A generation was given up. To be announced.
    pub(crate) fn rolled_back(&self, service: &ServiceName, generation: Generation) {
        if let Some(known) = self.known.lock().get_mut(service) {
            known.generations.remove(&generation);
        }
    }

    /// Says that [`Services::all`] has changed.
    pub(crate) fn announce(&self) {
        self.changes.send_replace(());
    }
}

impl<S: PartialEq> Services<S> {
    /// Replaces the set of services by these. To be announced.
    pub(crate) fn reload(&self, services: Vec<ServiceOptions<S>>) -> Reload<S> {
        let mut reload =
            Reload { events: Vec::new(), lease_pools: Vec::new(), changes: Vec::new() };
        let mut all = self.known.lock();
        for (name, known) in all.iter_mut().filter(|(_, known)| !known.generations.is_empty()) {
            if !services.iter().any(|options| options.name == *name) {
                known.generations.clear();
                reload.events.push(Event::ServiceRemoved { service: name.clone() });
                reload.changes.push((name.clone(), Change::Removed));
            }
        }
        for options in services {
            let unknown = || Known { last: Generation(0), generations: BTreeMap::new() };
            let known = all.entry(options.name.clone()).or_insert_with(unknown);
            known.set(options, &mut reload);
        }
        drop(all);
        reload
    }
}

// === impl Known ===

impl<S> Known<S> {
    /// Begins a generation with a number that none had before.
    fn begin(&mut self, options: ServiceOptions<S>) -> Generation {
        self.last = Generation(self.last.0 + 1);
        self.generations.insert(self.last, options);
        self.last
    }
}

impl<S: PartialEq> Known<S> {
    fn set(&mut self, options: ServiceOptions<S>, reload: &mut Reload<S>) {
        let (service, policy) = (options.name.clone(), options.policy.clone());
        // The newest generation, which during a rollout is the new one.
        let before = self.generations.last_key_value();
        let before = before.map(|(generation, old)| (*generation, old.runs_like(&options)));
        if !matches!(before, Some((_, true))) {
            reload.lease_pools.push(options.clone());
        }
        // Policy and time-outs hold for every generation.
        for known in self.generations.values_mut() {
            known.policy = policy.clone();
            known.start_timeout = options.start_timeout;
        }
        // The newest: after an order to roll, two generations have the same spec.
        let same = self.generations.iter().rev().find(|(_, known)| known.spec == options.spec);
        let same = same.map(|(known, _)| *known);
        let generation = same.unwrap_or_else(|| self.begin(options));
        let (change, event) = match before {
            Some((current, true)) if current == generation => return,
            Some((current, _)) => {
                let change = match generation.cmp(&current) {
                    Ordering::Greater => Change::RollingOut(generation),
                    Ordering::Less => Change::GoingBack(generation),
                    Ordering::Equal => Change::Adjusted,
                };
                (change, Event::ServiceChanged { service: service.clone(), policy, generation })
            }
            None => {
                let added = Event::ServiceAdded { service: service.clone(), policy, generation };
                (Change::Added, added)
            }
        };
        reload.changes.push((service, change));
        reload.events.push(event);
    }
}
