//! The orders of the ledger, checked against the invariants.

use super::{Checked, Engine, Phase, Record, STALE, World, number};
use crate::core::{
    Action, AdminState, ContainerKey, DaemonName, Generation, LaunchId, Refusal, RetireReason,
    ServiceName, State, WaiterId,
};

// === impl World ===

impl World {
    pub(super) fn take(&mut self, action: Action) -> Checked {
        match action {
            Action::Launch { launch, daemon, service, generation, .. } => {
                self.report.launches += 1;
                self.ordered(launch, daemon, service, generation)
            }
            Action::Degraded { .. }
            | Action::Recovered { .. }
            | Action::Resized { .. }
            | Action::Paced { .. }
            | Action::Advanced { .. } => Ok(()),
            Action::SwitchedOver { service, generation } => self.switched(&service, generation),
            Action::RolledBack { service, generation, .. } => {
                self.rolled_back(&service, generation)
            }
            Action::Interrupt { launch } => {
                if let Some(container) = self.containers.get_mut(&launch) {
                    container.phase = Phase::Interrupted;
                }
                Ok(())
            }
            Action::Check { launch } => match self.containers.get_mut(&launch) {
                Some(container) if container.tainted => {
                    Err(format!("I5: {launch:?} is to be used again after a failure"))
                }
                Some(container) => {
                    container.phase = Phase::Checking;
                    Ok(())
                }
                None => Err(format!("I1: check of {launch:?}, which is gone")),
            },
            Action::Retire { daemon, key, reason, .. } => {
                if let ContainerKey::Launch(launch) = &key
                    && reason == RetireReason::Generation
                    && self.moved_from == State::Idle
                {
                    self.replaced(*launch)?;
                }
                if let ContainerKey::Launch(launch) = &key
                    && reason == RetireReason::Surplus
                {
                    self.spared(*launch)?;
                }
                if let ContainerKey::Launch(launch) = &key
                    && let Some(container) = self.containers.get_mut(launch)
                {
                    if container.phase == Phase::Retiring {
                        return Err(format!("I1: {launch:?} was retired twice"));
                    }
                    container.phase = Phase::Retiring;
                }
                let exists = |engine: &Engine| {
                    engine.real.contains_key(&key) || engine.lost_creates.contains(&key)
                };
                let known = match &key {
                    ContainerKey::Launch(launch) => self.containers.contains_key(launch),
                    ContainerKey::Stray(_) => false,
                };
                if !known && !self.daemons.get(&daemon).is_some_and(exists) {
                    return Err(format!("{key} on {daemon} is to be removed and is gone"));
                }
                self.removals.push((daemon, key));
                Ok(())
            }
            Action::Queued { waiter, place } => self.queued(waiter, place),
            Action::Grant { waiter, launch, uses, ready, .. } => {
                self.granted(waiter, launch, (uses, ready))
            }
            Action::Refuse { waiter, refusal, .. } => self.refused(waiter, &refusal),
            Action::Forget { daemon } => {
                if let Some(engine) = self.daemons.get_mut(&daemon) {
                    engine.admin = AdminState::Ready;
                }
                let held = self.containers.values().any(|c| c.daemon == daemon)
                    || self.removals.iter().any(|(on, _)| *on == daemon);
                let in_fleet = self.daemons.get(&daemon).is_some_and(|engine| engine.in_fleet);
                if held || in_fleet {
                    return Err(format!("I7: {daemon} is forgotten too early"));
                }
                Ok(())
            }
            Action::Moved { from: State::Removed, to: State::Launching, .. } => Ok(()),
            Action::Moved { from, to, .. } if from.may_become(to) => {
                self.moved_from = from;
                Ok(())
            }
            Action::Moved { launch, from, to } => {
                Err(format!("I1: {launch:?} went from {from} to {to}"))
            }
        }
    }

    pub(super) fn ordered(
        &mut self,
        launch: LaunchId,
        daemon: DaemonName,
        service: ServiceName,
        generation: Generation,
    ) -> Checked {
        if self.draining {
            return Err(format!("I6: {launch:?} was ordered after the drain"));
        }
        let on_daemon = self.containers.values().filter(|c| c.daemon == daemon).count();
        let capacity = self.daemons.get(&daemon).map_or(0, |engine| engine.capacity);
        let others = self.daemons.get(&daemon).map_or(0, |engine| engine.known_others);
        if number(on_daemon as u64) + others >= capacity {
            return Err(format!("I2: {launch:?} on {daemon}, which is full"));
        }
        if self
            .daemons
            .get(&daemon)
            .is_none_or(|engine| !engine.in_fleet || engine.cut_off.is_some())
        {
            return Err(format!("{launch:?} was ordered on {daemon}, which is away"));
        }
        if self.is_drained(&daemon, &service) {
            return Err(format!("I11: {launch:?} of {service} on {daemon}, which is drained"));
        }
        let of_service = self.containers.values().filter(|c| c.service == service).count();
        let Some(served) = self.services.get(&service).filter(|served| !served.removed) else {
            return Err(format!("I6: {launch:?} of {service}, which was removed"));
        };
        if number(of_service as u64) >= served.policy.max {
            return Err(format!("I2: {launch:?} of {service}, which has its maximum"));
        }
        if generation != served.stable && Some(generation) != served.trying {
            return Err(format!("I9: {launch:?} of {service} is of generation {generation}"));
        }
        let phase = Phase::Ordered;
        let record = Record {
            service,
            generation,
            daemon,
            phase,
            leases: 0,
            tainted: false,
            proved: None,
            expires: None,
        };
        self.containers.insert(launch, record);
        Ok(())
    }

    fn queued(&self, waiter: WaiterId, place: u32) -> Checked {
        let Some((service, _)) = self.waiters.get(&waiter) else {
            return Err(format!("I4: {waiter:?} waits after it was answered"));
        };
        let all = self.waiters.values().filter(|(its, _)| its == service).count();
        match all == place as usize {
            true => Ok(()),
            false => Err(format!("I4: {waiter:?} is told place {place}, and {all} wait")),
        }
    }

    pub(super) fn granted(
        &mut self,
        waiter: WaiterId,
        launch: LaunchId,
        (uses, ready): (u32, u32),
    ) -> Checked {
        self.report.leases += 1;
        let Some((service, deadline)) = self.waiters.remove(&waiter) else {
            return Err(format!("I4: {waiter:?} was answered twice, or was gone"));
        };
        if self.now > deadline {
            return Err(format!("I4: {waiter:?} was served after its deadline"));
        }
        let overtaken = self.waiters.iter().find(|(w, (s, _))| **w < waiter && *s == service);
        if let Some((older, _)) = overtaken {
            return Err(format!("I4: {waiter:?} was served before {older:?}"));
        }
        let reuse = self.services.get(&service).map_or(0, |served| served.policy.reuse);
        let on = self.containers.get(&launch).map(|container| container.daemon.clone());
        if on.is_some_and(|daemon| self.is_drained(&daemon, &service)) {
            return Err(format!("I11: {launch:?} of {service} was leased though drained"));
        }
        let in_stock = self.containers.values().filter(|c| c.service == service);
        let in_stock = in_stock.filter(|c| c.phase == Phase::Stock).count();
        // The ledger may hold some of them unknown, and not ready.
        if !(1..=in_stock).contains(&(ready as usize)) {
            return Err(format!("{launch:?} was one of {ready} that were ready, of {in_stock}"));
        }
        let Some(container) = self.containers.get_mut(&launch) else {
            return Err(format!("I5: {launch:?} was leased and is gone"));
        };
        container.leases += 1;
        if container.phase != Phase::Stock || container.tainted || container.service != service {
            return Err(format!("I5: {launch:?} was leased while {:?}", container.phase));
        }
        if container.leases != uses || uses > reuse + 1 {
            return Err(format!("I5: {launch:?} was leased {uses} times"));
        }
        if container.expires.is_some_and(|at| self.now >= at) {
            return Err(format!("I5: {launch:?} was leased though it is too old"));
        }
        let cut_off =
            self.daemons.get(&container.daemon).is_some_and(|engine| engine.cut_off.is_some());
        if cut_off && container.proved.is_none_or(|at| self.now - at > STALE) {
            return Err(format!("{launch:?} was leased out of contact and proved nothing"));
        }
        container.phase = Phase::Leased;
        Ok(())
    }

    pub(super) fn refused(&mut self, waiter: WaiterId, refusal: &Refusal) -> Checked {
        self.report.refusals += 1;
        if self.waiters.remove(&waiter).is_none() {
            return Err(format!("I4: {waiter:?} was refused ({refusal}) twice, or was gone"));
        }
        Ok(())
    }
}
