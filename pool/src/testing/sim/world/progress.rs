//! Progress of launches, leases and checks.

use super::{Checked, Phase, Record, World};
use crate::core::{ContainerKey, Event, Fault, LaunchId, Outcome, Proof};

// === impl World ===

impl World {
    /// A random launch, lease or check goes on, well or badly.
    pub(super) fn progress(&mut self) -> Checked {
        let busy = |c: &Record| !matches!(c.phase, Phase::Stock | Phase::Retiring);
        let ids: Vec<_> =
            self.containers.iter().filter(|(_, c)| busy(c)).map(|(id, _)| *id).collect();
        let Some(launch) = self.rng.pick(&ids).copied() else { return Ok(()) };
        if self.rng.percent(80) { self.go_on(launch) } else { self.go_wrong(launch) }
    }

    /// Returns whether there was anything under way.
    pub(super) fn finish_one(&mut self) -> Result<bool, String> {
        let busy = |c: &Record| !matches!(c.phase, Phase::Stock | Phase::Retiring);
        let next = self.containers.iter().find(|(_, c)| busy(c)).map(|(id, _)| *id);
        next.map_or(Ok(false), |launch| self.go_on(launch).map(|()| true))
    }

    fn go_on(&mut self, launch: LaunchId) -> Checked {
        let Some(container) = self.containers.get_mut(&launch) else { return Ok(()) };
        let key = ContainerKey::Launch(launch);
        let engine = self.daemons.entry(container.daemon.clone()).or_default();
        let alive = engine.real.get(&key).copied().unwrap_or(false);
        let event = match container.phase {
            Phase::Ordered => {
                engine.real.insert(key, true);
                container.phase = Phase::Started;
                Event::Started { launch }
            }
            Phase::Started if alive => {
                container.phase = Phase::Stock;
                container.proved = Some(self.now);
                let age = self.services.get(&container.service).and_then(|s| s.policy.max_age);
                container.expires = age.map(|age| self.now + age);
                Event::Ready { launch }
            }
            Phase::Started | Phase::Interrupted => {
                let reason = "ended before it was ready".into();
                Event::LaunchFailed { launch, fault: Fault::Service, reason }
            }
            Phase::Leased => {
                container.phase = Phase::Checking;
                Event::Returned { launch, outcome: Outcome::Clean }
            }
            Phase::Checking => {
                container.phase = Phase::Stock;
                let shown = if self.rng.percent(50) { Proof::Itself } else { Proof::Address };
                // The address was certainly its own when its daemon was heard last.
                let cut_off = self.daemons.get(&container.daemon).and_then(|d| d.cut_off);
                let at = cut_off.filter(|_| shown == Proof::Address).unwrap_or(self.now);
                container.proved = alive.then_some(at).or(container.proved);
                Event::Checked { launch, proof: alive.then_some(shown) }
            }
            Phase::Stock | Phase::Retiring => return Ok(()),
        };
        self.tell(event)
    }

    fn go_wrong(&mut self, launch: LaunchId) -> Checked {
        let kind = self.rng.below(4);
        let Some(container) = self.containers.get_mut(&launch) else { return Ok(()) };
        let key = ContainerKey::Launch(launch);
        let engine = self.daemons.entry(container.daemon.clone()).or_default();
        let event = match container.phase {
            Phase::Ordered => {
                // Refused, or carried out without a reply: now or later.
                match kind {
                    0 => _ = engine.real.insert(key, true),
                    1 => engine.lost_creates.push(key),
                    _ => {}
                }
                let fault = match kind {
                    3 => Fault::Service,
                    2 => Fault::Full,
                    _ => Fault::Daemon,
                };
                Event::LaunchFailed { launch, fault, reason: "went wrong".into() }
            }
            Phase::Started | Phase::Interrupted => {
                let reason = "did not get ready".into();
                Event::LaunchFailed { launch, fault: Fault::Service, reason }
            }
            Phase::Leased if kind == 0 => {
                // The client hung up before it had the answer.
                container.phase = Phase::Stock;
                container.leases -= 1;
                Event::Returned { launch, outcome: Outcome::Unused }
            }
            Phase::Leased => {
                container.tainted = true;
                container.phase = Phase::Checking;
                let outcome = if kind == 1 { Outcome::FailedUnprovoked } else { Outcome::Failed };
                Event::Returned { launch, outcome }
            }
            Phase::Checking => {
                container.phase = Phase::Stock;
                Event::Checked { launch, proof: None }
            }
            Phase::Stock | Phase::Retiring => return Ok(()),
        };
        self.tell(event)
    }
}
