//! Daemons: joining, contact, lists, leaving; and the drain of all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::{Launches, Owned, Terms};
use super::{
    Action, Contact, ContainerKey, Daemon, DaemonName, Generation, LaunchId, Ledger, Proof,
    RetireReason, ServiceName, State, Timer, Vouched,
};

// === impl Ledger ===

impl Ledger {
    pub(super) fn daemon_joined(&mut self, now: Instant, name: &DaemonName, terms: Terms) {
        let daemon = self.daemons.entry(name.clone()).or_insert_with(|| Daemon::new(terms));
        daemon.terms = terms;
        daemon.leaving = false;
        daemon.contact = Contact::Joining;
        daemon.listed = false;
        daemon.prepared.clear();
        daemon.refusals.clear();
        self.hide_stock(now, name);
        self.forget_shown(name);
        self.replace(name);
        self.await_daemon();
    }

    pub(super) fn daemon_resized(&mut self, name: &DaemonName, terms: Terms) {
        if let Some(daemon) = self.daemons.get_mut(name) {
            daemon.terms = terms;
            self.replace(name);
        }
    }

    pub(super) fn daemon_up(&mut self, name: &DaemonName, launches: Launches) {
        let Some(daemon) = self.daemons.get_mut(name) else {
            return;
        };
        daemon.contact = Contact::Up;
        daemon.limit.renew(launches);
        daemon.listed = false;
        self.replace(name);
    }

    pub(super) fn daemon_down(&mut self, now: Instant, name: &DaemonName, reason: Arc<str>) {
        let Some(daemon) = self.daemons.get_mut(name) else {
            return;
        };
        match &mut daemon.contact {
            // Nothing else has changed.
            Contact::Down(known, _) => *known = reason,
            contact => {
                *contact = Contact::Down(reason, now);
                for launch in self.on_daemon(name, |state| state == State::Idle) {
                    self.doubt(now, launch);
                }
                self.forget_shown(name);
            }
        }
        self.replace(name);
        self.doubtful.extend(0..self.services.len());
    }

    /// What a list showed before the contact was lost holds no more.
    fn forget_shown(&mut self, name: &DaemonName) {
        for launch in self.on_daemon(name, |state| state == State::Checking) {
            if self.containers.get(&launch).is_some_and(|c| c.vouched == Vouched::Shown) {
                self.vouch(launch, Vouched::Asked);
            }
        }
    }

    /// Nobody knows whether the stock is there.
    fn hide_stock(&mut self, now: Instant, name: &DaemonName) {
        for launch in self.on_daemon(name, |state| state == State::Idle) {
            self.transit(now, launch, State::Unknown);
        }
    }

    pub(super) fn daemon_left(&mut self, now: Instant, name: &DaemonName) {
        let Some(daemon) = self.daemons.get_mut(name) else {
            return;
        };
        daemon.leaving = true;
        self.replace(name);
        for launch in self.on_daemon(name, |s| matches!(s, State::Idle | State::Unknown)) {
            self.retire(now, launch, RetireReason::Drain);
        }
        self.doubtful.extend(0..self.services.len());
        self.forget_daemon(name);
    }

    /// Drops the record of a daemon that left and holds nothing any more.
    pub(super) fn forget_daemon(&mut self, name: &DaemonName) {
        if let Some(daemon) = self.daemons.get(name)
            && daemon.leaving
            && daemon.used() == 0
        {
            if let Some(at) = daemon.retry_at {
                self.timers.remove(&(at, Timer::Daemon(name.clone())));
            }
            self.daemons.remove(name);
            self.placement.set(name, None);
            self.actions.push(Action::Forget { daemon: name.clone() });
        }
    }

    pub(super) fn prepared(
        &mut self,
        name: &DaemonName,
        service: &ServiceName,
        generation: Generation,
        result: Result<(), Arc<str>>,
    ) {
        if let Some((index, _, known)) = self.services.get_full(service)
            && known.keeps(generation)
            && let Some(daemon) = self.daemons.get_mut(name)
        {
            let refusals = daemon.refusals.entry((index, generation)).or_default();
            *refusals = if result.is_err() { refusals.saturating_add(1) } else { 0 };
            daemon.prepared.insert((index, generation), result);
            self.stuck.remove(&(index, generation));
            self.spread.changed = true;
            self.doubtful.insert(index);
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
        let Some(daemon) = self.daemons.get_mut(name) else {
            return;
        };
        daemon.listed = true;
        let shown: BTreeMap<&ContainerKey, bool> =
            owned.iter().map(|o| (&o.key, o.running)).collect();
        // The same engine under another name, which it had before its place was listed otherwise.
        let is_elsewhere = |key: &&ContainerKey| match key {
            ContainerKey::Launch(launch) => {
                let known = self.containers.get(launch);
                known.is_some_and(|known| known.daemon != *name).then_some(*launch)
            }
            ContainerKey::Stray(_) => None,
        };
        let elsewhere: Vec<_> = shown.keys().filter_map(is_elsewhere).collect();
        let more = u32::try_from(elsewhere.len()).unwrap_or(u32::MAX);
        daemon.others = others.saturating_add(more);
        self.elsewhere.retain(|_, on| on != name);
        self.elsewhere.extend(elsewhere.into_iter().map(|launch| (launch, name.clone())));
        let known: Vec<_> = self.on_daemon(name, |state| {
            matches!(
                state,
                State::Probing | State::Idle | State::Leased | State::Checking | State::Unknown
            )
        });
        let known: Vec<_> = known
            .into_iter()
            .filter(|id| {
                self.containers.get(id).and_then(|c| c.seen).is_some_and(|seen| seen < began)
            })
            .map(|id| (id, shown.get(&ContainerKey::Launch(id)).copied()))
            .collect();
        let absent = known.iter().filter(|(_, running)| running.is_none()).count();
        let doubtful = absent > 1 && absent * 2 > known.len();
        for (launch, running) in known {
            let Some(container) = self.containers.get_mut(&launch) else {
                continue;
            };
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
        let gone = self.daemons.get_mut(name).map(|daemon| daemon.gone.since(began));
        let gone = gone.unwrap_or_default();
        for key in shown.into_keys().filter(|key| !gone.contains(*key)) {
            self.adopt_stray(name, key);
        }
        self.replace(name);
    }

    /// Retires a container that bears our labels and is in no record: left by an
    /// earlier boot, or brought to life by a call whose reply was lost.
    fn adopt_stray(&mut self, name: &DaemonName, key: &ContainerKey) {
        if let ContainerKey::Launch(launch) = key
            && self.containers.contains_key(launch)
        {
            return;
        }
        let Some(daemon) = self.daemons.get_mut(name) else {
            return;
        };
        if daemon.strays.insert(key.clone()) {
            self.replace(name);
            self.actions.push(Action::Retire {
                daemon: name.clone(),
                key: key.clone(),
                reason: RetireReason::Stray,
                ended_in_stock: None,
            });
        }
    }

    pub(super) fn on_daemon(
        &self,
        name: &DaemonName,
        wanted: impl Fn(State) -> bool,
    ) -> Vec<LaunchId> {
        let Some(daemon) = self.daemons.get(name) else {
            return Vec::new();
        };
        let is_wanted = |id: &&LaunchId| self.containers.get(id).is_some_and(|c| wanted(c.state));
        daemon.containers.iter().filter(is_wanted).copied().collect()
    }
}
