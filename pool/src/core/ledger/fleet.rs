//! Daemons: joining, contact, lists, leaving; and the drain of all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::{AdminState, Capacity, Launches, Owned};
use super::{
    Action, Contact, Container, ContainerKey, Daemon, DaemonId, DaemonName, Generation, LaunchId,
    Ledger, Liveness, Proof, RetireReason, ServiceName, Standing, State, Timer,
};

// === impl Ledger ===

impl Ledger {
    pub(super) fn daemon_joined(&mut self, now: Instant, name: &DaemonName, capacity: Capacity) {
        let id = match self.daemons.id(name) {
            Some(id) => id,
            None => self.daemons.add(name.clone(), Daemon::new(name.clone(), capacity)),
        };
        let daemon = &mut self.daemons[id];
        daemon.capacity = capacity;
        daemon.prepared.clear();
        daemon.refusals.clear();
        self.change_daemon(now, id, |daemon| {
            daemon.contact = Contact::Joining;
            daemon.leaving = false;
        });
        self.await_daemon();
    }

    pub(super) fn daemon_resized(&mut self, name: &DaemonName, capacity: Capacity) {
        let Some(id) = self.daemons.id(name) else { return };
        self.daemons[id].capacity = capacity;
    }

    pub(super) fn daemon_up(&mut self, now: Instant, name: &DaemonName, launches: Launches) {
        let Some(id) = self.daemons.id(name) else { return };
        self.daemons[id].limit.renew(launches);
        self.change_daemon(now, id, |daemon| daemon.contact = Contact::Up { listed: false });
    }

    pub(super) fn daemon_down(&mut self, now: Instant, name: &DaemonName, reason: Arc<str>) {
        let Some(id) = self.daemons.id(name) else { return };
        self.change_daemon(now, id, |daemon| match &mut daemon.contact {
            // Only the reason is new.
            Contact::Down(known, _) => *known = reason,
            contact => *contact = Contact::Down(reason, now),
        });
    }

    pub(super) fn daemon_left(&mut self, now: Instant, name: &DaemonName) {
        let Some(id) = self.daemons.id(name) else { return };
        self.change_daemon(now, id, |daemon| daemon.leaving = true);
        self.forget_daemon(id);
    }

    pub(super) fn daemon_state_set(&mut self, now: Instant, name: &DaemonName, state: AdminState) {
        let Some(id) = self.daemons.id(name) else { return };
        self.change_daemon(now, id, |daemon| daemon.admin = state);
    }

    /// The one place where the contact of a daemon, its membership of the fleet and its
    /// administrative state change, with the effects on its containers.
    fn change_daemon(&mut self, now: Instant, id: DaemonId, change: impl FnOnce(&mut Daemon)) {
        let daemon = &mut self.daemons[id];
        let standing = |it: &Daemon| (it.contact.clone(), it.leaving, it.admin);
        let before = standing(daemon);
        change(daemon);
        // A daemon that joins has another endpoint each time.
        if standing(daemon) == before && daemon.contact != Contact::Joining {
            return;
        }
        let (contact, leaving, admin) = before;
        let leaves = daemon.leaving && !leaving;
        let drains = !daemon.admin.is_ready() && daemon.admin != admin;
        let was_down = matches!(contact, Contact::Down(..));
        let is_down = matches!(daemon.contact, Contact::Down(..));
        let lost = !(daemon.is_up() || (was_down && is_down));
        for launch in self.on_daemon(id, |_| true) {
            let Container { state, liveness, .. } = self.containers[launch];
            match (state, liveness) {
                (State::Idle | State::Unknown, _) if leaves => {
                    self.retire(now, launch, RetireReason::Drain);
                }
                _ if drains => self.drain_one(now, launch),
                (State::Idle, _) if lost && is_down => self.recheck(now, launch),
                // The container may be gone.
                (State::Idle, _) if lost => self.transit(now, launch, State::Unknown),
                // The list from before contact was lost says nothing now.
                (State::Checking, Liveness::Relisted) if lost => {
                    self.transit(now, launch, Standing::checking(Liveness::Unproven));
                }
                _ => {}
            }
        }
        // Clients that wait may have lost the last daemon for them.
        let waits = self.services.iter().filter(|(_, service)| service.queue.len() > 0);
        let waits: Vec<_> = waits.map(|(id, _)| id).collect();
        waits.into_iter().for_each(|id| self.services.touch(id));
    }

    /// Drops the record of a daemon that left and holds nothing any more.
    pub(super) fn forget_daemon(&mut self, id: DaemonId) {
        let daemon = &self.daemons[id];
        if !daemon.leaving || daemon.used() > 0 {
            return;
        }
        if let Some(at) = daemon.retry_at {
            self.timers.remove(&(at, Timer::Daemon(id)));
        }
        let name = daemon.name.clone();
        self.placement.take_out(id);
        self.elsewhere.retain(|_, on| *on != id);
        self.daemons.drop_named(&name);
        self.actions.push(Action::Forget { daemon: name });
    }

    pub(super) fn prepared(
        &mut self,
        name: &DaemonName,
        service: &ServiceName,
        generation: Generation,
        result: Result<(), Arc<str>>,
    ) {
        if let Some(service) = self.services.id(service)
            && self.services[service].wants_generation(generation)
            && let Some(daemon) = self.daemons.id(name)
        {
            let spec = (service, generation);
            if result.is_ok() && self.placement.has(daemon) {
                self.unplaceable.remove(&spec);
            }
            let daemon = &mut self.daemons[daemon];
            let refusals = daemon.refusals.entry(spec).or_default();
            *refusals = if result.is_err() { refusals.saturating_add(1) } else { 0 };
            daemon.prepared.insert(spec, result);
            self.services.touch(service);
            self.spread.changed = true;
        }
    }

    /// Compares a complete list with the ledger. Only a list retires containers as
    /// missing, and one that lacks several, and more than half of those of a daemon,
    /// must be confirmed by the next: a wiped or wrong engine also gives lists.
    pub(super) fn listed(
        &mut self,
        now: Instant,
        name: &DaemonName,
        began: Instant,
        owned: &[Owned],
        others: u32,
    ) {
        let Some(id) = self.daemons.id(name) else { return };
        self.change_daemon(now, id, |daemon| {
            if let Contact::Up { listed } = &mut daemon.contact {
                *listed = true;
            }
        });
        let daemon = &mut self.daemons[id];
        let shown: BTreeMap<&ContainerKey, bool> =
            owned.iter().map(|o| (&o.key, o.running)).collect();
        // Containers that the ledger has under another, earlier name of the same engine.
        let is_elsewhere = |key: &&ContainerKey| match key {
            ContainerKey::Launch(launch) => {
                let known = self.containers.get(launch);
                known.is_some_and(|known| known.daemon != id).then_some(*launch)
            }
            ContainerKey::Stray(_) => None,
        };
        let elsewhere: Vec<_> = shown.keys().filter_map(is_elsewhere).collect();
        let more = u32::try_from(elsewhere.len()).unwrap_or(u32::MAX);
        daemon.others = others.saturating_add(more);
        self.elsewhere.retain(|_, on| *on != id);
        self.elsewhere.extend(elsewhere.into_iter().map(|launch| (launch, id)));
        let known: Vec<_> = self.on_daemon(id, |state| {
            matches!(
                state,
                State::Probing | State::Idle | State::Leased | State::Checking | State::Unknown
            )
        });
        let known: Vec<_> = known
            .into_iter()
            .filter(|launch| self.containers[*launch].seen.is_some_and(|seen| seen < began))
            .map(|launch| (launch, shown.get(&ContainerKey::Launch(launch)).copied()))
            .collect();
        let absent = known.iter().filter(|(_, running)| running.is_none()).count();
        let is_suspect = absent > 1 && absent * 2 > known.len();
        for (launch, running) in known {
            let container = &mut self.containers[launch];
            let was_absent = std::mem::replace(&mut container.absent_from_list, running.is_none());
            let liveness = container.liveness;
            match (running, container.state) {
                (Some(true), State::Unknown) => self.put_in_stock(now, launch, Proof::Itself),
                (Some(true), State::Idle) => {
                    self.transit(now, launch, Standing::idle(Liveness::Listed));
                }
                (Some(true), State::Checking) if liveness == Liveness::Unproven => {
                    self.transit(now, launch, Standing::checking(Liveness::Relisted));
                }
                (Some(true), _) => {}
                (Some(false), _) => self.ended(now, launch, RetireReason::Died),
                (None, _) if is_suspect && !was_absent => {}
                (None, _) => self.ended(now, launch, RetireReason::Missing),
            }
        }
        // Removed while the list was under way.
        let gone = self.daemons[id].recent_removals.since(began);
        for key in shown.into_keys().filter(|key| !gone.contains(*key)) {
            self.adopt_stray(id, key);
        }
    }

    /// Retires a container that bears our labels and is in no record: an earlier
    /// boot left it, or a call whose reply was lost created it.
    fn adopt_stray(&mut self, id: DaemonId, key: &ContainerKey) {
        if let ContainerKey::Launch(launch) = key
            && self.containers.contains_key(launch)
        {
            return;
        }
        let daemon = &mut self.daemons[id];
        if daemon.strays.insert(key.clone()) {
            let daemon = daemon.name.clone();
            self.actions.push(Action::Retire {
                daemon,
                key: key.clone(),
                reason: RetireReason::Stray,
                ended_in_stock: None,
            });
        }
    }

    pub(super) fn on_daemon(
        &self,
        daemon: DaemonId,
        wanted: impl Fn(State) -> bool,
    ) -> Vec<LaunchId> {
        let all = self.daemons[daemon].containers.iter().copied();
        all.filter(|launch| wanted(self.containers[*launch].state)).collect()
    }
}
