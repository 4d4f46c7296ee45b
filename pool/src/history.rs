//! The latest events of each container, daemon and service.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::{DaemonName, LaunchId, ServiceName};
use crate::events::{EventKind, Observer, PoolEvent};
use crate::options::Change;

/// The latest events of each container that are kept.
const OF_CONTAINER: usize = 32;
/// The latest events of each daemon, and of each service.
const OF_OTHERS: usize = 128;
/// How many containers, daemons and services that are gone have their events kept, each.
const GONE: usize = 256;

/// The latest events of each container, daemon and service, as an [`Observer`].
///
/// An event is kept for each of the three that it names. Leases and changes of state bear a
/// launch alone, so that they are in the history of the container and not in that of its
/// service and daemon, which they would flood; refusals are in none for the same reason. Events
/// of those that are gone are kept until 256 more are gone. Each event takes a lock that all
/// threads share.
#[derive(Debug, Default)]
pub struct History {
    rings: Mutex<Rings>,
}

#[derive(Debug, Default)]
struct Rings {
    containers: RingsBy<LaunchId>,
    daemons: RingsBy<DaemonName>,
    services: RingsBy<ServiceName>,
}

/// A ring of events for each key.
#[derive(Debug)]
struct RingsBy<K> {
    rings: BTreeMap<K, VecDeque<Arc<PoolEvent>>>,
    /// The keys that are gone, in the order in which they went.
    gone: VecDeque<K>,
}

// === impl History ===

impl History {
    /// The latest events of a container of this pool, the oldest first. Empty when it is not
    /// known, or not any more.
    #[must_use]
    pub fn container(&self, launch: LaunchId) -> Vec<Arc<PoolEvent>> {
        self.rings.lock().containers.of(&launch)
    }

    /// The latest events of a daemon, the oldest first.
    #[must_use]
    pub fn daemon(&self, daemon: &DaemonName) -> Vec<Arc<PoolEvent>> {
        self.rings.lock().daemons.of(daemon)
    }

    /// The latest events of a service, the oldest first.
    #[must_use]
    pub fn service(&self, service: &ServiceName) -> Vec<Arc<PoolEvent>> {
        self.rings.lock().services.of(service)
    }
}

impl Observer for History {
    fn observe(&self, event: &PoolEvent) {
        let event = Arc::new(event.clone());
        let kind = &event.kind;
        let Rings { containers, daemons, services } = &mut *self.rings.lock();
        if let Some(launch) = kind.launch() {
            containers.push(&launch, &event, OF_CONTAINER);
            if matches!(kind, EventKind::Removed { .. }) {
                containers.left(launch);
            }
        }
        if let Some(daemon) = kind.daemon() {
            if matches!(kind, EventKind::DaemonJoined { .. }) {
                daemons.came(daemon);
            }
            daemons.push(daemon, &event, OF_OTHERS);
            if matches!(kind, EventKind::DaemonDrained { .. }) {
                daemons.left(daemon.clone());
            }
        }
        // In an overload refusals would displace all other events.
        let refused = matches!(kind, EventKind::Refused { .. });
        if let Some(service) = kind.service().filter(|_| !refused) {
            if matches!(kind, EventKind::ServiceChanged { change: Change::Added, .. }) {
                services.came(service);
            }
            services.push(service, &event, OF_OTHERS);
            if matches!(kind, EventKind::ServiceChanged { change: Change::Removed, .. }) {
                services.left(service.clone());
            }
        }
    }
}

// === impl RingsBy ===

impl<K: Ord + Clone> RingsBy<K> {
    fn of(&self, key: &K) -> Vec<Arc<PoolEvent>> {
        self.rings.get(key).into_iter().flatten().cloned().collect()
    }

    fn push(&mut self, key: &K, event: &Arc<PoolEvent>, most: usize) {
        let ring = self.rings.entry(key.clone()).or_default();
        if ring.len() == most {
            ring.pop_front();
        }
        ring.push_back(event.clone());
    }

    /// A key is there, and may have been gone.
    fn came(&mut self, key: &K) {
        self.gone.retain(|gone| gone != key);
    }

    /// A key is gone, though it may come back.
    fn left(&mut self, key: K) {
        self.came(&key);
        self.gone.push_back(key);
        if self.gone.len() > GONE
            && let Some(key) = self.gone.pop_front()
        {
            self.rings.remove(&key);
        }
    }
}

impl<K> Default for RingsBy<K> {
    fn default() -> Self {
        Self { rings: BTreeMap::new(), gone: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::State;
    use crate::runtime::{ContainerKey, Target};

    fn told(history: &History, number: u64, kind: EventKind) {
        let at = tokio::time::Instant::now().into_std();
        history.observe(&PoolEvent { number, at, kind });
    }

    fn numbers(events: &[Arc<PoolEvent>]) -> Vec<u64> {
        events.iter().map(|event| event.number).collect()
    }

    fn ordered(launch: u64) -> EventKind {
        EventKind::LaunchOrdered {
            launch: LaunchId(launch),
            service: "echo".into(),
            generation: crate::core::Generation::FIRST,
            daemon: "one".into(),
        }
    }

    fn removed(launch: u64) -> EventKind {
        EventKind::Removed {
            target: Target { daemon: "one".into(), key: ContainerKey::Launch(LaunchId(launch)) },
            reason: crate::core::RetireReason::Spent,
            attempts: 1,
        }
    }

    #[test]
    fn an_event_is_kept_for_whatever_it_names() {
        let history = History::default();
        let (launch, from, to) = (LaunchId(7), State::Idle, State::Leased);
        told(&history, 1, ordered(7));
        told(&history, 2, EventKind::StateChanged { launch, from, to });
        told(&history, 3, EventKind::Recovered { daemon: "one".into() });
        assert_eq!(numbers(&history.container(launch)), [1, 2]);
        assert_eq!(numbers(&history.daemon(&"one".into())), [1, 3]);
        assert_eq!(numbers(&history.service(&"echo".into())), [1]);
        assert_eq!(history.container(LaunchId(8)), []);
    }

    #[test]
    fn the_latest_events_are_kept() {
        let history = History::default();
        (1..=200).for_each(|number| told(&history, number, ordered(7)));
        let (first, all) = (200 - OF_CONTAINER as u64 + 1, 200 - OF_OTHERS as u64 + 1);
        assert_eq!(numbers(&history.container(LaunchId(7))), (first..=200).collect::<Vec<_>>());
        assert_eq!(numbers(&history.daemon(&"one".into())), (all..=200).collect::<Vec<_>>());
    }

    #[test]
    fn a_service_that_came_back_is_kept_and_refusals_are_not() {
        let history = History::default();
        let service = |n: u64| format!("service {n}").as_str().into();
        let changed = |n, change| EventKind::ServiceChanged { service: service(n), change };
        told(&history, 1, changed(0, Change::Added));
        told(&history, 2, changed(0, Change::Removed));
        told(&history, 3, changed(0, Change::Added));
        for n in 1..=GONE as u64 + 1 {
            told(&history, n, changed(n, Change::Removed));
            let refusal = crate::core::Refusal::UnknownService;
            told(&history, n, EventKind::Refused { service: service(5000 + n), refusal });
        }
        assert_eq!(numbers(&history.service(&service(0))), [1, 2, 3]);
        assert_eq!(history.service(&service(5001)), []);
        assert_eq!(history.service(&service(1)), [], "the first of those that are gone");
    }

    #[test]
    fn of_the_containers_that_are_gone_the_latest_are_kept_and_those_that_are_there() {
        let history = History::default();
        told(&history, 1, ordered(1));
        let gone = GONE as u64;
        for launch in 2..gone + 4 {
            told(&history, launch, removed(launch));
            // Its removal may be told of twice.
            told(&history, launch, removed(launch));
        }
        let known = (1..gone + 4).filter(|n| !history.container(LaunchId(*n)).is_empty());
        let known: Vec<_> = known.collect();
        let mut expected = vec![1];
        expected.extend(4..gone + 4);
        assert_eq!(known, expected);
    }
}
