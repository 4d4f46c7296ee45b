//! The invariants that can be read off the ledger itself.
//!
//! Asserted after each event in debug builds. The simulation in `testing::sim`
//! checks the invariants that need the history (who was served when).

use std::collections::BTreeMap;

use super::super::Counts;
use super::spread::Hold;
use super::{Container, LaunchId, Ledger, Liveness, ServiceId, SpecKey, State, Timer};

// === impl Ledger ===

impl Ledger {
    /// Panics with the first invariant that does not hold.
    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "a ledger that is wrong must not go on in a debug build")]
    pub(super) fn assert_sound(&self) {
        if let Err(broken) = self.audit() {
            panic!("{broken}");
        }
    }

    /// Recounts everything.
    ///
    /// # Errors
    /// The first invariant that does not hold, by its number in ARCHITECTURE.md.
    pub fn audit(&self) -> Result<(), String> {
        let mut by_service: BTreeMap<ServiceId, Counts> = BTreeMap::new();
        let mut by_daemon: BTreeMap<_, Counts> = BTreeMap::new();
        let mut rolled_out: BTreeMap<ServiceId, Counts> = BTreeMap::new();
        let mut late: BTreeMap<ServiceId, u32> = BTreeMap::new();
        for (launch, container) in self.containers.iter() {
            if container.state == State::Removed {
                return Err(format!("I1: {launch:?} is kept though it is gone"));
            }
            by_service.entry(container.service).or_default().shift(State::Removed, container.state);
            by_daemon.entry(container.daemon).or_default().shift(State::Removed, container.state);
            self.audit_liveness(*launch, container)?;
            if container.late && container.state.is_launch() {
                *late.entry(container.service).or_default() += 1;
            }
            let rollout = self.services[container.service].rollout.as_ref();
            if rollout.is_some_and(|rollout| rollout.to == container.generation) {
                rolled_out
                    .entry(container.service)
                    .or_default()
                    .shift(State::Removed, container.state);
            }
        }
        for (id, service) in self.services.iter() {
            let name = &service.name;
            let counts = by_service.remove(&id).unwrap_or_default();
            if service.counts != counts || service.stock.len() != counts[State::Idle] {
                return Err(format!("I1: {name} counts {:?}, has {counts:?}", service.counts));
            }
            if service.hedges.late != late.remove(&id).unwrap_or_default() {
                return Err(format!("I1: {name} counts {} late launches", service.hedges.late));
            }
            let of_rollout = rolled_out.remove(&id).unwrap_or_default();
            if service.rollout.as_ref().is_some_and(|rollout| rollout.counts != of_rollout) {
                return Err(format!("I1: {name} is rolled out to {of_rollout:?}"));
            }
            if service.rollout.is_some() != self.rolling_out.contains(&id) {
                return Err(format!("{name} is rolled out behind the ledger's back"));
            }
            let rollout = service.rollout.as_ref().map(|r| (r.to, &r.streak));
            for (generation, streak) in
                rollout.into_iter().chain([(service.generation, &service.streak)])
            {
                if let Some(at) = streak.retry_at
                    && !self.timers.contains(&(at, Timer::BackOff((id, generation))))
                {
                    return Err(format!("{name} pauses for ever: generation {generation}"));
                }
                if let Some(at) = streak.losses.retry_at
                    && !self.timers.contains(&(at, Timer::Stock((id, generation))))
                {
                    return Err(format!("{name} has no stock for ever: generation {generation}"));
                }
            }
            if let Some(auto) = &service.policy.auto {
                let warm = service.policy.warm;
                if !(auto.min..=auto.max).contains(&warm) {
                    return Err(format!("{name} keeps {warm} ready, not {auto:?}"));
                }
                let looks = self.timers.iter().any(|(_, timer)| *timer == Timer::Demand(id));
                if warm > auto.min && !looks && !service.leaving && !self.draining {
                    return Err(format!("{name} keeps {warm} ready for ever"));
                }
            }
            let lacks = |spec: &&SpecKey| spec.0 == id && service.deficit(spec.1) == 0;
            if let Some(spec) = self.short.iter().find(lacks) {
                return Err(format!("{name} is to be launched for nobody: {spec:?}"));
            }
            if service.queue.len() > 0 && service.stock.len() > 0 {
                return Err(format!("I3: {name} has waiters and stock"));
            }
            if service.queue.len() > 0
                && let Some(reason) = self.hopeless(id)
            {
                return Err(format!("I3: {name} has waiters and no hope: {reason}"));
            }
            if self.draining && service.queue.len() + service.stock.len() > 0 {
                return Err(format!("I6: {name} has waiters or stock though draining"));
            }
        }
        for (id, daemon) in self.daemons.iter() {
            let (name, counts) = (&daemon.name, by_daemon.remove(&id).unwrap_or_default());
            if daemon.counts != counts {
                return Err(format!("I1: {name} counts {:?}, has {counts:?}", daemon.counts));
            }
        }
        for spec in &self.unplaceable {
            let can = |daemon| self.daemons[daemon].can_launch(*spec);
            if let Some(daemon) = self.placement.pick(usize::MAX, can) {
                let name = &self.daemons[daemon].name;
                return Err(format!("{spec:?} is held to be unplaceable though {name} is open"));
            }
        }
        self.audit_drained()?;
        self.audit_spread()?;
        match by_daemon.keys().next() {
            Some(daemon) => Err(format!("I1: containers on {daemon:?}, which is not there")),
            None => Ok(()),
        }
    }

    /// I11: nothing is in stock, launched or waited for where the operator has it drained.
    fn audit_drained(&self) -> Result<(), String> {
        for (launch, container) in self.containers.iter() {
            let stays = match container.state {
                State::Idle | State::Checking | State::Unknown => true,
                State::Probing => container.retire_as.is_none(),
                _ => false,
            };
            if stays && self.operator_drains(*launch) {
                return Err(format!("I11: {launch:?} is {} though drained", container.state));
            }
        }
        let drained = |daemon| !self.daemons[daemon].admin.is_ready();
        if let Some(daemon) = self.placement.pick(usize::MAX, drained) {
            let name = &self.daemons[daemon].name;
            return Err(format!("I11: {name} is open though drained"));
        }
        for (id, service) in self.services.iter() {
            let short = self.short.iter().any(|spec| spec.0 == id);
            let name = &service.name;
            if !service.admin.is_ready() && (short || service.queue.len() > 0) {
                return Err(format!("I11: {name} is waited or launched for though drained"));
            }
        }
        Ok(())
    }

    /// Each hold of a launch and each look at the spread of the stocks has its timer.
    fn audit_spread(&self) -> Result<(), String> {
        let holds = |(spec, hold): (&SpecKey, &Hold)| {
            hold.until.is_none_or(|at| self.timers.contains(&(at, Timer::Hold(*spec))))
        };
        let spread = &self.spread;
        let launched = |launch| self.containers.get(&launch).is_some_and(|c| c.state.is_launch());
        if !self.awaiting.iter().all(holds) {
            return Err(format!("launches are held for ever: {:?}", self.awaiting));
        }
        if spread.moving.is_some_and(|launch| !launched(launch)) {
            return Err(format!("{:?} is moved for ever", spread.moving));
        }
        let looks = spread.due.is_some_and(|at| self.timers.contains(&(at, Timer::Spread)));
        if spread.due.is_some() && (!looks || spread.moving.is_some()) {
            return Err(format!(
                "the stocks are looked at by nobody, or during a move: {spread:?}"
            ));
        }
        let several = self.daemons.len() > 1 && !self.draining;
        if several && spread.changed && !looks && spread.moving.is_none() {
            return Err(format!("the stocks are never looked at: {spread:?}"));
        }
        Ok(())
    }

    /// A container in stock without contact has a timer for its next proof.
    fn audit_liveness(&self, launch: LaunchId, container: &Container) -> Result<(), String> {
        let is_up = self.daemons[container.daemon].is_up();
        match container.liveness {
            Liveness::ProvenUntil(_) if container.state != State::Idle => {
                Err(format!("{launch:?} is {} and has proved itself", container.state))
            }
            Liveness::ProvenUntil(at) if !self.timers.contains(&(at, Timer::Stale(launch))) => {
                Err(format!("{launch:?} has proved itself for ever"))
            }
            Liveness::ProvenUntil(_) => Ok(()),
            _ if container.state == State::Idle && !is_up => {
                Err(format!("{launch:?} is in stock, and nobody knows whether it lives"))
            }
            _ => Ok(()),
        }
    }
}
