//! The consequences of changes: launches, stocks that are too large, waiters that have
//! nothing left to wait for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::super::placement::Placed;
use super::super::{Refusal, sizing};
use super::container::Container;
use super::service::Window;
use super::{
    Action, DaemonId, Generation, LaunchId, Ledger, RetireReason, ServiceId, SpecKey, State, Timer,
};

/// The daemons whose reasons are given when none can launch a service.
const REASONS: usize = 3;

// === impl Ledger ===

impl Ledger {
    /// Brings derived state up to date after an event or a deadline, and orders the consequences,
    /// until there are none.
    pub(super) fn settle(&mut self, now: Instant) {
        self.refresh(now);
        let mut held = BTreeSet::new();
        while std::mem::take(&mut self.unsettled) {
            // The event may have set a deadline that has passed.
            self.tick(now);
            self.roll(now);
            self.give_up();
            self.refresh(now);
            self.converge(now, &mut held);
            self.refresh(now);
        }
        debug_assert!(
            held.iter().all(|spec| self.need(*spec).0.is_none_or(|oldest| oldest == u64::MAX)),
            "a client waits for a spec that is held back: {held:?}"
        );
        self.look_at_spread(now);
    }

    /// Brings up to date the state derived from services and daemons that may have changed, and
    /// notes that its consequences are to be ordered.
    pub(super) fn refresh(&mut self, now: Instant) {
        while let Some(id) = self.daemons.pop_changed() {
            self.unsettled = true;
            self.refresh_daemon(id);
        }
        while let Some(id) = self.services.pop_changed() {
            self.unsettled = true;
            self.refresh_service(now, id);
        }
    }

    /// Launches missing containers, as far as daemons have room: first for a trial or canary, then
    /// for waiters, the longest first, then for the emptiest stock. A spec that is `held` in one
    /// round is skipped in the next: only another event or a deadline ends the hold.
    fn converge(&mut self, now: Instant, held: &mut BTreeSet<SpecKey>) {
        let lacking = self.short.difference(&self.unplaceable).filter(|spec| !held.contains(spec));
        let mut candidates: Vec<_> = lacking.map(|spec| (self.need(*spec), *spec)).collect();
        while let Some(at) = (0..candidates.len()).min_by_key(|at| candidates[*at].0) {
            let (_, spec) = candidates.swap_remove(at);
            // The last launch may have met the need of both specs of a service.
            if !self.short.contains(&spec) {
                continue;
            }
            let able = |daemon| self.daemons[daemon].can_launch(spec);
            match self.placement.pick(usize::MAX, able) {
                Some(daemon) if self.holds(now, spec, daemon) => {
                    held.insert(spec);
                    continue;
                }
                Some(daemon) => {
                    let launch = self.launch(now, spec, daemon);
                    self.expect(now, launch, spec.0);
                    // The next launch is chosen by the state after this one.
                    self.refresh(now);
                    if self.short.contains(&spec) {
                        candidates.push((self.need(spec), spec));
                    }
                }
                None => {
                    self.unplaceable.insert(spec);
                    self.make_room(now, spec);
                }
            }
            for (need, spec) in &mut candidates {
                *need = self.need(*spec);
            }
        }
    }

    /// How urgent the next launch of a spec is; the least is the most urgent.
    pub(super) fn need(&self, (service, generation): SpecKey) -> (Option<u64>, u64) {
        let service = &self.services[service];
        if generation != service.current() {
            // A container on trial or of a canary serves clients, too, once it is
            // ready. Behind other launches it might never have its turn.
            return (None, 0);
        }
        let coming = sizing::on_their_way(&service.counts);
        let unserved = service.queue.len() > coming;
        let oldest = service.queue.oldest().filter(|_| unserved).map_or(u64::MAX, |w| w.0);
        let ready = u64::from(coming + service.counts[State::Idle]);
        let fill = (ready << 32) / u64::from(service.policy.warm.max(1));
        (Some(oldest), fill)
    }

    pub(super) fn launch(
        &mut self,
        now: Instant,
        (id, generation): SpecKey,
        on: DaemonId,
    ) -> LaunchId {
        let service = &mut self.services[id];
        let wanted = service.launched(generation);
        let paced = service.failures_of(generation).is_some_and(|t| t.losses.retry_at.is_some());
        self.launches += 1;
        service.totals.launched += 1;
        let launch = LaunchId(self.launches);
        let (total, service) = (service.counts.total(), service.name.clone());
        debug_assert!(total < self.services[id].policy.max, "I2: {service} has its maximum");
        let daemon = &mut self.daemons[on];
        daemon.ordered += 1;
        let alone = (daemon.counts[State::Launching] == 0).then_some(daemon.ordered);
        let (max_containers, daemon) = (daemon.capacity.containers, daemon.name.clone());
        let action = Action::Launch { launch, daemon, service, generation, max_containers };
        let container = Container::new(id, on, generation, now);
        self.containers.insert(launch, Container { wanted, alone, ..container });
        if !paced {
            self.pace(now, (id, generation));
        }
        // First: later actions are about a container that is known.
        self.actions.push(action);
        self.transit(now, launch, State::Launching);
        launch
    }

    /// Derives the state that follows from a service: which of its generations lack containers,
    /// whether it has a rollout, whether its waiters are to be looked at, and whether its stock
    /// is too large.
    fn refresh_service(&mut self, now: Instant, id: ServiceId) {
        let service = self.services.derived_mut(id);
        let launched = service.launched_generations();
        let all = (id, Generation(u32::MIN))..=(id, Generation(u32::MAX));
        for derived in [&mut self.short, &mut self.unplaceable] {
            // As a rule nothing is short, and this runs for each event.
            if derived.is_empty() {
                continue;
            }
            let is_former = |spec: &&SpecKey| launched.clone().all(|launched| launched != spec.1);
            let former: Vec<_> = derived.range(all.clone()).filter(is_former).copied().collect();
            former.iter().for_each(|spec| _ = derived.remove(spec));
        }
        for generation in launched {
            let spec = (id, generation);
            if !self.draining && service.deficit(generation) > 0 {
                self.short.insert(spec);
            } else {
                self.short.remove(&spec);
            }
            if service.leaving {
                self.unplaceable.remove(&spec);
            }
        }
        match service.rollout {
            Some(_) => self.rolling_out.insert(id),
            None => self.rolling_out.remove(&id),
        };
        if service.queue.len() > 0 {
            self.recheck_waiters.insert(id);
        }
        service.note_wanted(Some(now));
        let (stock, warm) = (service.stock.len(), service.stock_wanted());
        match &mut service.window {
            Some(window) if stock > warm => window.low = window.low.min(stock),
            Some(window) => {
                self.timers.remove(&(window.ends, Timer::Surplus(id)));
                service.window = None;
            }
            None if stock > warm && !self.draining => {
                let ends = now + service.policy.surplus_after;
                self.timers.insert((ends, Timer::Surplus(id)));
                service.window = Some(Window { ends, low: stock });
            }
            None => {}
        }
    }

    /// Derives the state that follows from a daemon: its place in the order of placement, and
    /// the specs that are not unplaceable any more when it gets one.
    fn refresh_daemon(&mut self, id: DaemonId) {
        let daemon = &self.daemons[id];
        self.spread.changed |= match daemon.open(self.draining) {
            Some(load) => {
                let placed = self.placement.set(id, &daemon.name, load);
                // A daemon that had a place already could launch none of them.
                if placed == Placed::Anew {
                    self.unplaceable.retain(|spec| !daemon.can_launch(*spec));
                }
                placed != Placed::AsBefore
            }
            None => self.placement.take_out(id),
        };
    }

    /// Retires the surplus that the stock had all through the window that ends now.
    pub(super) fn shrink(&mut self, now: Instant, id: ServiceId) {
        let service = &mut self.services[id];
        let Some(window) = service.window.take() else { return };
        // The last changes of the stock may not be in `low` yet.
        let low = window.low.min(service.stock.len());
        for _ in 0..low.saturating_sub(service.stock_wanted()) {
            if let Some(worst) = self.services[id].surplus() {
                self.retire(now, worst, RetireReason::Surplus);
            }
        }
    }

    /// Refuses the waiters for whom no container can come.
    fn give_up(&mut self) {
        while let Some(id) = self.recheck_waiters.pop_first() {
            if self.services[id].queue.len() > 0
                && let Some(reason) = self.hopeless(id)
            {
                self.refuse_all(id, &Refusal::NoDaemon { reason });
            }
        }
    }

    /// Why there will be no container for a waiter of a service, when that is
    /// certain: none is on its way or will be reused, and no daemon can launch one.
    pub(super) fn hopeless(&self, id: ServiceId) -> Option<Arc<str>> {
        let service = &self.services[id];
        if sizing::on_their_way(&service.counts) > 0 {
            return None;
        }
        let mut specs = service.launched_generations().map(|generation| (id, generation));
        let reason = self.unlaunchable(specs.next()?)?;
        // A container on trial may serve them, too.
        let hopeless = specs.all(|spec| self.unlaunchable(spec).is_some());
        (hopeless && !self.some_come_back(id)).then_some(reason)
    }

    /// Whether containers of a service are leased that may be leased again.
    fn some_come_back(&self, id: ServiceId) -> bool {
        let service = &self.services[id];
        let leased = service.counts[State::Leased];
        service.policy.reuse > 0 && leased > 0 && leased > self.leased_on_drained(id)
    }

    /// Why no daemon can launch a spec, when that is certain.
    pub(super) fn unlaunchable(&self, spec: SpecKey) -> Option<Arc<str>> {
        if self.operator_drains_all() {
            return Some("every daemon is being drained by the operator".into());
        }
        let mut reasons = Vec::new();
        for (_, daemon) in self.daemons.by_name() {
            let (reason, answered) = daemon.unfit_for(spec)?;
            // First the daemons that answer: their reasons are about the service.
            reasons.push((!answered, &daemon.name, reason));
        }
        reasons.sort();
        let said =
            reasons.iter().take(REASONS).map(|(_, name, reason)| format!("{name}: {reason}"));
        let mut said: Vec<_> = said.collect();
        match reasons.len() {
            0 => said.push("there is no daemon".to_owned()),
            n if n > REASONS => said.push(format!("and {} more", n - REASONS)),
            _ => {}
        }
        Some(said.join("; ").into())
    }
}
