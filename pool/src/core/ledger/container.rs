//! Containers, and the one place where their state and liveness change.

use std::time::{Duration, Instant};

use super::super::stock::Stocked;
use super::daemon::Contact;
use super::{
    Action, ContainerKey, DaemonId, Generation, LaunchId, Ledger, Proof, RetireReason, ServiceId,
    State, Timer,
};

/// A container that ends unused, or fails of itself in a lease, within this time
/// of its start counts as a failed launch, so that a service whose containers
/// get ready and then end does not launch without pause.
const CRASH_LOOP_WINDOW: Duration = Duration::from_secs(10);
/// A container that ends so long after an interference has ended by itself.
const INTERFERENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Container {
    pub(super) service: ServiceId,
    pub(super) daemon: DaemonId,
    pub(super) generation: Generation,
    /// Written by `Ledger::transit` alone.
    pub(super) state: State,
    /// Leases it had, the current one included.
    pub(super) uses: u32,
    /// When its launch was ordered.
    pub(super) born: Instant,
    /// Since when it was wanted, if lead times are learnt from that.
    pub(super) wanted: Option<Instant>,
    /// Since when it is in its state.
    pub(super) since: Instant,
    /// When it started: a list that began before says nothing of it.
    pub(super) seen: Option<Instant>,
    /// When it is too old to be leased; known once it is ready.
    pub(super) expires: Option<Instant>,
    /// Why it must not be leased again, however its lease ends; why it is being retired, once
    /// it is.
    pub(super) retire_as: Option<RetireReason>,
    /// When somebody last had a signal sent to it, paused or removed it: if it ends soon after,
    /// it did not end by itself.
    pub(super) interfered_at: Option<Instant>,
    /// Whether the last list did not show it.
    pub(super) absent_from_list: bool,
    /// Written by `Ledger::transit` alone.
    pub(super) liveness: Liveness,
    /// Whether its launch takes unusually long. Counted in its service's `Hedges`.
    pub(super) late: bool,
    /// Whether it is launched because another takes unusually long. Counted there as well.
    pub(super) hedge: bool,
    /// The number of its launch among those of its daemon, if none other was in flight.
    pub(super) alone: Option<u64>,
}

/// How a container is known to live: why it is leased from stock, or the purpose of its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// Its daemon lists it.
    Listed,
    /// Its daemon is unreachable. The container has proved itself, which holds until then.
    ProvenUntil(Instant),
    /// Its daemon is unreachable. The container has to prove itself.
    Unproven,
    /// Its daemon lists it again, while it has to prove itself.
    Relisted,
}

/// A state, and how a container in it is known to live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    state: State,
    liveness: Liveness,
}

// === impl Standing ===

impl Standing {
    pub(super) const fn idle(liveness: Liveness) -> Self {
        Self { state: State::Idle, liveness }
    }

    pub(super) const fn checking(liveness: Liveness) -> Self {
        Self { state: State::Checking, liveness }
    }
}

impl From<State> for Standing {
    fn from(state: State) -> Self {
        Self { state, liveness: Liveness::Listed }
    }
}

// === impl Container ===

impl Container {
    pub(super) fn new(
        service: ServiceId,
        daemon: DaemonId,
        generation: Generation,
        born: Instant,
    ) -> Self {
        Self {
            service,
            daemon,
            generation,
            state: State::Removed,
            uses: 0,
            born,
            wanted: None,
            since: born,
            seen: None,
            expires: None,
            retire_as: None,
            interfered_at: None,
            absent_from_list: false,
            liveness: Liveness::Listed,
            late: false,
            hedge: false,
            alone: None,
        }
    }

    pub(super) fn stocked(&self, launch: LaunchId) -> Stocked {
        let by_itself = self.liveness != Liveness::Listed;
        Stocked { generation: self.generation, by_itself, uses: self.uses, launch }
    }

    /// How long it has been running, while that is within the crash loop window.
    pub(super) fn early_age(&self, now: Instant) -> Option<Duration> {
        self.seen.map(|seen| now - seen).filter(|age| *age < CRASH_LOOP_WINDOW)
    }

    /// Whether nobody has interfered with it lately: if it ends, then by itself.
    pub(super) fn is_left_alone(&self, now: Instant) -> bool {
        self.interfered_at.is_none_or(|at| now - at >= INTERFERENCE)
    }

    pub(super) fn expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

// === impl Ledger ===

impl Ledger {
    /// The one place where the state and the liveness of a container change, together with
    /// counters, stock and timers.
    pub(super) fn transit(&mut self, now: Instant, launch: LaunchId, to: impl Into<Standing>) {
        let Standing { state: to, liveness } = to.into();
        let container = &mut self.containers[launch];
        let before = container.stocked(launch);
        let from = std::mem::replace(&mut container.state, to);
        let known = std::mem::replace(&mut container.liveness, liveness);
        let after = container.stocked(launch);
        if let Liveness::ProvenUntil(at) = known {
            self.timers.remove(&(at, Timer::Stale(launch)));
        }
        if let Liveness::ProvenUntil(at) = liveness {
            self.timers.insert((at, Timer::Stale(launch)));
        }
        let stock = &mut self.services[container.service].stock;
        if from == State::Idle {
            stock.remove(before);
        }
        if to == State::Idle {
            stock.add(after);
        }
        if from != to {
            self.moved(now, launch, from, to, known);
        }
    }

    /// A container has gone from one state to another; `known` is its liveness before.
    fn moved(&mut self, now: Instant, launch: LaunchId, from: State, to: State, known: Liveness) {
        debug_assert!(
            from.may_become(to) || (from == State::Removed && to == State::Launching),
            "{launch:?} cannot go from {from} to {to}"
        );
        let container = &mut self.containers[launch];
        container.since = now;
        let over = !to.is_launch();
        let (late, hedge) = (over && container.late, over && container.hedge);
        container.late &= !late;
        container.hedge &= !hedge;
        let Container { service: id, daemon: on, generation, expires: age, .. } = *container;
        let returned = from == State::Checking && known == Liveness::Listed;
        let service = &mut self.services[id];
        if to == State::Idle
            && (from == State::Leased || returned)
            && let Some(learning) = &mut service.learning
        {
            learning.demand.came_back();
        }
        service.hedges.late -= u32::from(late);
        service.hedges.under_way -= u32::from(hedge);
        service.counts.shift(from, to);
        if let Some(rollout) = service.rollout.as_mut().filter(|r| r.to == generation) {
            rollout.counts.shift(from, to);
        }
        let daemon = &mut self.daemons[on];
        daemon.counts.shift(from, to);
        match to {
            State::Launching => _ = daemon.containers.insert(launch),
            State::Removed => _ = daemon.containers.remove(&launch),
            _ => {}
        }
        if let Some(age) = age {
            if from == State::Idle {
                self.timers.remove(&(age, Timer::Age(launch)));
            }
            if to == State::Idle {
                self.timers.insert((age, Timer::Age(launch)));
            }
        }
        self.spread.changed = true;
        if !to.is_launch() {
            self.move_ended(launch, to != State::Retiring);
        }
        if to == State::Removed {
            self.containers.remove(&launch);
            if let Some(other) = self.elsewhere.remove(&launch) {
                let there = &mut self.daemons[other];
                there.others = there.others.saturating_sub(1);
            }
        }
        self.actions.push(Action::Moved { launch, from, to });
    }

    pub(super) fn retire(&mut self, now: Instant, launch: LaunchId, reason: RetireReason) {
        let container = &mut self.containers[launch];
        container.retire_as = Some(reason);
        let daemon = self.daemons[container.daemon].name.clone();
        let in_stock = matches!(container.state, State::Idle | State::Unknown);
        let ended = matches!(reason, RetireReason::Died | RetireReason::OutOfMemory);
        let service = &mut self.services[container.service];
        *service.totals.retired.entry(reason).or_default() += 1;
        let ended_in_stock = (in_stock && ended).then(|| service.name.clone());
        self.transit(now, launch, State::Retiring);
        let key = ContainerKey::Launch(launch);
        self.actions.push(Action::Retire { daemon, key, reason, ended_in_stock });
    }

    /// Puts a container that can serve into stock, unless there is a reason to retire it, and
    /// serves the clients that wait.
    pub(super) fn put_in_stock(&mut self, now: Instant, launch: LaunchId, proof: Proof) {
        if let Some(reason) = self.retire_reason_now(now, launch) {
            return self.retire(now, launch, reason);
        }
        let container = &self.containers[launch];
        let id = container.service;
        let liveness = match self.proved_until(now, launch, proof) {
            None => Liveness::Listed,
            Some(until) if until > now => Liveness::ProvenUntil(until),
            Some(_) if container.state == State::Unknown => return,
            Some(_) => return self.transit(now, launch, State::Unknown),
        };
        self.transit(now, launch, Standing::idle(liveness));
        self.serve(now, id);
    }

    /// Until when a container that has proved itself is leased; `None` while its daemon
    /// lists it.
    pub(super) fn proved_until(
        &self,
        now: Instant,
        launch: LaunchId,
        proof: Proof,
    ) -> Option<Instant> {
        let container = &self.containers[launch];
        let proved = self.services[container.service].policy.proved_for(launch);
        match (&self.daemons[container.daemon].contact, proof) {
            (Contact::Up { .. }, _) => None,
            // Another container may have the address by now.
            (Contact::Down(_, since), Proof::Address) => Some(*since + proved),
            (_, Proof::Address) => Some(now),
            (_, Proof::Itself) => Some(now + proved),
        }
    }

    /// Whether the daemon of a container is unreachable, or was not reached yet.
    pub(super) fn out_of_contact(&self, launch: LaunchId) -> bool {
        !self.daemons[self.containers[launch].daemon].is_up()
    }

    /// Why a container must not go to stock, if so.
    pub(super) fn retire_reason_now(&self, now: Instant, launch: LaunchId) -> Option<RetireReason> {
        let container = &self.containers[launch];
        let service = &self.services[container.service];
        let daemon = &self.daemons[container.daemon];
        if self.draining || !service.in_service() || !daemon.in_service() {
            Some(RetireReason::Drain)
        } else if !service.wants_generation(container.generation) {
            Some(RetireReason::Generation)
        } else if container.expired(now) {
            Some(RetireReason::Age)
        } else if container.uses > service.policy.reuse {
            Some(RetireReason::Spent)
        } else {
            None
        }
    }

    /// Without contact a container has to prove itself, if its service allows for that.
    pub(super) fn recheck(&mut self, now: Instant, launch: LaunchId) {
        let service = &self.services[self.containers[launch].service];
        if service.policy.stale_after.is_zero() {
            return self.transit(now, launch, State::Unknown);
        }
        self.transit(now, launch, Standing::checking(Liveness::Unproven));
        self.actions.push(Action::Check { launch });
    }
}
