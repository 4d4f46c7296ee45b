//! I10: the spread of the stocks over the daemons when no clients come.

use std::time::Duration;

use super::{Checked, Engine, Phase, Record, World};
use crate::core::{DaemonName, LaunchId, ServiceName};

/// Between two looks at the clock.
const STEP: Duration = Duration::from_secs(5);
/// The steps within which the stocks are spread.
const ENOUGH: u32 = 200;
/// The steps for which they stay spread.
const STAY: u32 = 40;

// === impl World ===

impl World {
    /// The stocks spread, and then nothing is moved any more.
    pub(super) fn spread_out(&mut self) -> Checked {
        let mut steps = 0;
        while let Some(misplaced) = self.misplaced() {
            if steps == ENOUGH {
                return Err(format!("I10: {misplaced}"));
            }
            steps += 1;
            self.pass(STEP)?;
            self.finish_all()?;
        }
        // Containers that expire are launched anew, here or there.
        let expire = self.services.values().any(|s| !s.removed && s.policy.max_age.is_some());
        let launches = self.report.launches;
        for _ in 0..STAY {
            self.pass(STEP)?;
            self.finish_all()?;
            if !expire && self.report.launches > launches {
                return Err("I10: what was spread is moved again".into());
            }
        }
        Ok(())
    }

    /// A container in stock that would be better placed on another daemon, even if that
    /// had one more container: so much difference is tolerated.
    fn misplaced(&self) -> Option<String> {
        let snapshot = self.ledger.snapshot();
        let settled = |service: &ServiceName| {
            let view = snapshot.service(service.as_str());
            view.is_some_and(|view| view.rollout.is_none())
        };
        // Tier, and the share of the capacity in use, as two numbers.
        let place = |name: &DaemonName, engine: &Engine| {
            let used = self.containers.values().filter(|c| c.daemon == *name).count() as u64;
            (engine.tier, used, u64::from(engine.capacity))
        };
        let in_stock = |c: &&Record| c.phase == Phase::Stock && settled(&c.service);
        self.containers.values().filter(in_stock).find_map(|container| {
            let engine = self.daemons.get(&container.daemon)?;
            let (tier, used, capacity) = place(&container.daemon, engine);
            self.daemons.iter().find_map(|(name, other)| {
                let (to, held, room) = place(name, other);
                let fuller = (held + 1) * capacity < (used - 1) * room;
                let better = to < tier || (to == tier && fuller);
                (better && held + 1 < room).then(|| {
                    let Record { service, daemon, .. } = container;
                    format!(
                        "one of {service} lies on {daemon} ({}/{capacity}, tier {tier}) and not \
                         on {name} ({held}/{room}, tier {to})",
                        used
                    )
                })
            })
        })
    }

    /// A retired surplus leaves the stock that is wanted.
    pub(super) fn spared(&self, launch: LaunchId) -> Checked {
        let Some(container) = self.containers.get(&launch) else { return Ok(()) };
        let Some(served) = self.services.get(&container.service) else { return Ok(()) };
        let stays = |(id, c): &(&LaunchId, &Record)| {
            **id != launch && c.service == container.service && c.phase == Phase::Stock
        };
        let left = self.containers.iter().filter(stays).count();
        let policy = &served.policy;
        let wanted = policy.auto.map_or(policy.warm, |auto| auto.min);
        if (left as u64) < u64::from(wanted) {
            return Err(format!("I10: of {} there are {left} left", container.service));
        }
        Ok(())
    }
}
