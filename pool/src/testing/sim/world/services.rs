//! Random events of services: added, changed, removed; and their rollouts.

use std::time::Duration;

use super::{Checked, Phase, STALE, Served, World, number};
use crate::core::{AdminState, Auto, Event, Generation, LaunchId, Policy, ServiceName};

// === impl World ===

impl World {
    pub(super) fn pick_service(&mut self) -> Option<ServiceName> {
        let kept = self.services.iter().filter(|(_, served)| !served.removed);
        let names: Vec<_> = kept.map(|(name, _)| name.clone()).collect();
        self.rng.pick(&names).cloned()
    }

    /// All generations that daemons are asked to prepare.
    pub(super) fn generations(&self) -> Vec<(ServiceName, Generation)> {
        let kept = self.services.iter().filter(|(_, served)| !served.removed);
        kept.flat_map(|(name, served)| {
            let generations = [Some(served.stable), served.trying];
            generations.into_iter().flatten().map(|generation| (name.clone(), generation))
        })
        .collect()
    }

    fn policy(&mut self) -> Policy {
        let warm = number(self.rng.below(4));
        let max = warm + 1 + number(self.rng.below(8));
        let auto = self.rng.percent(40).then(|| Auto {
            misses: 10 + number(self.rng.below(100_000)),
            min: warm,
            max: warm + number(self.rng.below(u64::from(max - warm))),
        });
        Policy {
            reuse: number(self.rng.below(4)),
            warm,
            auto,
            max,
            max_age: self.rng.percent(30).then_some(Duration::from_secs(60)),
            queue_length: number(self.rng.below(12)),
            max_surge: number(self.rng.below(4)),
            stale_after: STALE / 2 * number(self.rng.below(3)),
            hedge_after: 1,
            canary: if self.rng.percent(30) { 50 + number(self.rng.below(450)) } else { 0 },
            ..Policy::default()
        }
    }

    pub(super) fn add_service(&mut self, service: ServiceName) -> Checked {
        let policy = self.policy();
        let last = self.services.get(&service).map_or(0, |served| served.last.0);
        let generation = Generation(last + 1);
        let served = Served {
            policy: policy.clone(),
            stable: generation,
            trying: None,
            last: generation,
            removed: false,
            admin: AdminState::Ready,
        };
        self.services.insert(service.clone(), served);
        self.tell(Event::ServiceAdded { service: service.clone(), policy, generation })?;
        self.prepare_all(&service, generation)
    }

    /// Most daemons get ready for a generation.
    fn prepare_all(&mut self, service: &ServiceName, generation: Generation) -> Checked {
        for daemon in self.daemon_names() {
            if self.daemons.get(&daemon).is_some_and(|d| d.in_fleet && d.cut_off.is_none()) {
                let result = if self.rng.percent(80) { Ok(()) } else { Err("no image".into()) };
                let service = service.clone();
                self.tell(Event::Prepared { daemon, service, generation, result })?;
            }
        }
        Ok(())
    }

    pub(super) fn change_service(&mut self) -> Checked {
        let names: Vec<_> = self.services.keys().cloned().collect();
        let Some(service) = self.rng.pick(&names).cloned() else { return Ok(()) };
        let (kind, fresh) = (self.rng.below(10), self.policy());
        let Some(served) = self.services.get_mut(&service) else { return Ok(()) };
        if served.removed {
            return self.add_service(service);
        }
        if kind == 0 {
            served.removed = true;
            // Clients that wait are refused.
            return self.tell(Event::ServiceRemoved { service });
        }
        let policy = if kind < 5 { fresh } else { served.policy.clone() };
        served.policy = policy.clone();
        let generation = match kind {
            1 => served.trying.unwrap_or(served.stable),
            // Back to the stable generation.
            2 => served.stable,
            _ => {
                served.last = Generation(served.last.0 + 1);
                served.last
            }
        };
        // A generation that was on its way is rolled back first.
        let before = served.trying;
        self.tell_change(&service, before, policy, generation)?;
        self.prepare_all(&service, generation)
    }

    fn tell_change(
        &mut self,
        service: &ServiceName,
        before: Option<Generation>,
        policy: Policy,
        generation: Generation,
    ) -> Checked {
        let replaces = before.is_some() && before != Some(generation);
        if let Some(served) = self.services.get_mut(service)
            && !replaces
        {
            served.trying = Some(generation).filter(|g| *g != served.stable);
        }
        self.asked = Some(generation);
        self.tell(Event::ServiceChanged { service: service.clone(), policy, generation })?;
        let trying = self.services.get(service).and_then(|served| served.trying);
        if replaces && trying == before {
            return Err(format!("I9: {service} is still on its way to {before:?}"));
        }
        Ok(())
    }

    /// The ledger says that a generation has taken over.
    pub(super) fn switched(&mut self, service: &ServiceName, generation: Generation) -> Checked {
        let old = |c: &&super::Record| {
            c.service == *service
                && c.generation < generation
                && !matches!(c.phase, Phase::Leased | Phase::Retiring | Phase::Interrupted)
        };
        if let Some(left) = self.containers.values().find(old) {
            // Not seen since its daemon was cut off: it goes when the daemon is back.
            let away =
                self.daemons.get(&left.daemon).is_none_or(|d| d.cut_off.is_some() || !d.in_fleet);
            if !away {
                return Err(format!("I9: {service} has {:?} of the one before", left.phase));
            }
        }
        let Some(served) = self.services.get_mut(service) else { return Ok(()) };
        if served.trying.take() != Some(generation) {
            return Err(format!("I9: {service} switched to {generation}, unasked"));
        }
        served.stable = generation;
        self.report.switchovers += 1;
        Ok(())
    }

    /// The ledger says that a generation was given up.
    pub(super) fn rolled_back(&mut self, service: &ServiceName, generation: Generation) -> Checked {
        let asked = self.asked.take();
        self.report.rollbacks += 1;
        let Some(served) = self.services.get_mut(service) else { return Ok(()) };
        if served.trying != Some(generation) {
            return Err(format!("I9: {service} rolled {generation} back, unasked"));
        }
        served.trying = asked.filter(|asked| *asked != served.stable && *asked != generation);
        Ok(())
    }

    /// I9: a rollout never takes the last container from the stock.
    pub(super) fn replaced(&self, launch: LaunchId) -> Checked {
        let Some(container) = self.containers.get(&launch) else { return Ok(()) };
        let Some(served) = self.services.get(&container.service) else { return Ok(()) };
        // A generation that is rolled back goes, whatever is left in stock.
        let given_up =
            container.generation > served.stable && served.trying != Some(container.generation);
        let in_stock = |c: &super::Record| {
            c.service == container.service && c.phase == Phase::Stock && !c.tainted
        };
        let stock = self.containers.values().filter(|c| in_stock(c)).count();
        let last = stock <= 1 && served.policy.warm > 0;
        let away =
            self.daemons.get(&container.daemon).is_none_or(|d| d.cut_off.is_some() || !d.in_fleet);
        if last && !given_up && !away {
            return Err(format!("I9: {launch:?} was the last in stock of {}", container.service));
        }
        Ok(())
    }
}
