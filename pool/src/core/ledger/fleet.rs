//! Daemons: joining, contact, lists, leaving; and the drain of all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::{Launches, Owned, Terms};
use super::{
    Action, Contact, ContainerKey, Daemon, DaemonId, DaemonName, Generation, LaunchId, Ledger,
    Proof, RetireReason, ServiceName, State, Timer, Vouched,
};

// === impl Ledger ===

impl Ledger {
    pub(super) fn daemon_joined(&mut self, now: Instant, name: &DaemonName, terms: Terms) {
        let id = match self.daemons.id(name) {
            Some(id) => id,
            None => self.daemons.add(name.clone(), Daemon::new(name.clone(), terms)),
        };
        let daemon = &mut self.daemons[id];
        daemon.terms = terms;
        daemon.leaving = false;
        daemon.contact = Contact::Joining;
        daemon.listed = false;
        daemon.prepared.clear();
        daemon.refusals.clear();
        self.hide_stock(now, id);
        self.forget_shown(id);
        self.replace(id);
        self.await_daemon();
    }

    pub(super) fn daemon_resized(&mut self, name: &DaemonName, terms: Terms) {
        let Some(id) = self.daemons.id(name) else { return };
        self.daemons[id].terms = terms;
        self.replace(id);
    }

    pub(super) fn daemon_up(&mut self, name: &DaemonName, launches: Launches) {
        let Some(id) = self.daemons.id(name) else { return };
        let daemon = &mut self.daemons[id];
        daemon.contact = Contact::Up;
        daemon.limit.renew(launches);
        daemon.listed = false;
        self.replace(id);
    }

    pub(super) fn daemon_down(&mut self, now: Instant, name: &DaemonName, reason: Arc<str>) {
        let Some(id) = self.daemons.id(name) else { return };
        match &mut self.daemons[id].contact {
            // Nothing else has changed.
            Contact::Down(known, _) => *known = reason,
            contact => {
                *contact = Contact::Down(reason, now);
                for launch in self.on_daemon(id, |state| state == State::Idle) {
                    self.doubt(now, launch);
                }
                self.forget_shown(id);
            }
        }
        self.replace(id);
        self.doubt_all_waits();
    }

    /// What a list showed before the contact was lost holds no more.
    fn forget_shown(&mut self, daemon: DaemonId) {
        for launch in self.on_daemon(daemon, |state| state == State::Checking) {
            if self.containers[launch].vouched == Vouched::Shown {
                self.vouch(launch, Vouched::Asked);
            }
        }
    }

    /// Nobody knows whether the stock is there.
    fn hide_stock(&mut self, now: Instant, daemon: DaemonId) {
        for launch in self.on_daemon(daemon, |state| state == State::Idle) {
            self.transit(now, launch, State::Unknown);
        }
    }

    pub(super) fn daemon_left(&mut self, now: Instant, name: &DaemonName) {
        let Some(id) = self.daemons.id(name) else { return };
        self.daemons[id].leaving = true;
        self.replace(id);
        for launch in self.on_daemon(id, |s| matches!(s, State::Idle | State::Unknown)) {
            self.retire(now, launch, RetireReason::Drain);
        }
        self.doubt_all_waits();
        self.forget_daemon(id);
    }

    /// Anybody who waits may have lost the last hope.
    pub(super) fn doubt_all_waits(&mut self) {
        self.doubtful.extend(self.services.keys().copied());
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
            && self.services[service].keeps(generation)
            && let Some(daemon) = self.daemons.id(name)
        {
            let (lane, daemon) = ((service, generation), &mut self.daemons[daemon]);
            let refusals = daemon.refusals.entry(lane).or_default();
            *refusals = if result.is_err() { refusals.saturating_add(1) } else { 0 };
            daemon.prepared.insert(lane, result);
            self.stuck.remove(&lane);
            self.spread.changed = true;
            self.doubtful.insert(service);
        }
    }

    /// Holds a complete list against what is known. Only a list evicts, and
    /// one that would evict more than half of what a daemon holds must be
    /// confirmed by the next: a wiped or wrong engine also gives lists.
    pub(super) fn listed(
        &mut self,
        now: Instant,
        name: &DaemonName,
        began: Instant,
        owned: &[Owned],
        others: u32,
    ) {
        let Some(id) = self.daemons.id(name) else { return };
        let daemon = &mut self.daemons[id];
        daemon.listed = true;
        let shown: BTreeMap<&ContainerKey, bool> =
            owned.iter().map(|o| (&o.key, o.running)).collect();
        // The same engine under another name, which it had before its place was listed otherwise.
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
        let doubtful = absent > 1 && absent * 2 > known.len();
        for (launch, running) in known {
            let container = &mut self.containers[launch];
            let missed = std::mem::replace(&mut container.missed, running.is_none());
            let vouched = container.vouched;
            match (running, container.state) {
                (Some(true), State::Unknown) => self.put_in_stock(now, launch, Proof::Itself),
                (Some(true), State::Idle) => self.vouch(launch, Vouched::Listed),
                (Some(true), State::Checking) if vouched == Vouched::Asked => {
                    self.vouch(launch, Vouched::Shown);
                }
                (Some(true), _) => {}
                (Some(false), _) => self.ended(now, launch, RetireReason::Died),
                (None, _) if doubtful && !missed => {}
                (None, _) => self.ended(now, launch, RetireReason::Missing),
            }
        }
        // Removed while the list was under way.
        let gone = self.daemons[id].gone.since(began);
        for key in shown.into_keys().filter(|key| !gone.contains(*key)) {
            self.adopt_stray(id, key);
        }
        self.replace(id);
    }

    /// Retires a container that bears our labels and is in no record: left by an
    /// earlier boot, or brought to life by a call whose reply was lost.
    fn adopt_stray(&mut self, id: DaemonId, key: &ContainerKey) {
        if let ContainerKey::Launch(launch) = key
            && self.containers.contains_key(launch)
        {
            return;
        }
        let daemon = &mut self.daemons[id];
        if daemon.strays.insert(key.clone()) {
            let daemon = daemon.name.clone();
            self.replace(id);
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
