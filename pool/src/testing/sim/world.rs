//! The model world: the containers that really exist, and random events.

mod daemons;
mod judge;
mod operator;
mod progress;
mod services;
mod spread;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use super::{Report, Rng};
use crate::core::{
    AdminState, ContainerKey, DaemonName, Event, Generation, LaunchId, Launches, Ledger, Owned,
    Policy, ServiceName, Stage, State, WaiterId,
};

type Checked = Result<(), String>;

/// The longest `stale_after`.
const STALE: Duration = Duration::from_secs(40);

pub(super) struct World {
    rng: Rng,
    ledger: Ledger,
    now: Instant,
    services: BTreeMap<ServiceName, Served>,
    daemons: BTreeMap<DaemonName, Engine>,
    /// By launch, from the order until the removal is confirmed.
    containers: BTreeMap<LaunchId, Record>,
    /// Oldest first: of which service, and until when.
    waiters: BTreeMap<WaiterId, (ServiceName, Instant)>,
    removals: Vec<(DaemonName, ContainerKey)>,
    last_waiter: u64,
    /// The generation that the event under way asks for.
    asked: Option<Generation>,
    /// The state that a container left in the last transition.
    moved_from: State,
    draining: bool,
    report: Report,
    recent: VecDeque<String>,
    digest: DefaultHasher,
}

/// A daemon as it really is.
#[derive(Default)]
struct Engine {
    capacity: u32,
    tier: u32,
    /// Since when there is no contact.
    cut_off: Option<Instant>,
    in_fleet: bool,
    /// Whether the operator lets it be used.
    admin: AdminState,
    /// Its containers, and whether each runs.
    real: BTreeMap<ContainerKey, bool>,
    /// Creates whose reply was lost and that are carried out later.
    lost_creates: Vec<ContainerKey>,
    /// Containers of others who share it.
    others: u32,
    /// The same, as the ledger was told.
    known_others: u32,
    launches: Option<Launches>,
    /// A list under way: when it was asked for, and what it will show.
    listing: Option<(Instant, Vec<Owned>, u32)>,
}

/// A service as it was asked for, and as the ledger reports it.
struct Served {
    policy: Policy,
    /// The last generation that took over.
    stable: Generation,
    /// The generation that is to take over.
    trying: Option<Generation>,
    last: Generation,
    removed: bool,
    /// Whether the operator lets it be used.
    admin: AdminState,
}

struct Record {
    service: ServiceName,
    generation: Generation,
    daemon: DaemonName,
    phase: Phase,
    leases: u32,
    /// Whether it must not be leased again: a lease of it failed, or the ledger was told of its
    /// end or its retirement.
    tainted: bool,
    /// When it last proved that it can serve.
    proved: Option<Instant>,
    /// When it is too old to be leased.
    expires: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ordered,
    Started,
    /// The ledger does not want it any more; the launcher has yet to confirm.
    Interrupted,
    Stock,
    Leased,
    Checking,
    Retiring,
}

// === impl World ===

impl World {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            ledger: Ledger::new(),
            now: tokio::time::Instant::now().into_std(),
            services: BTreeMap::new(),
            daemons: BTreeMap::new(),
            containers: BTreeMap::new(),
            waiters: BTreeMap::new(),
            removals: Vec::new(),
            last_waiter: 0,
            asked: None,
            moved_from: State::Removed,
            draining: false,
            report: Report::default(),
            recent: VecDeque::new(),
            digest: DefaultHasher::new(),
        }
    }

    pub(super) fn report(&self) -> Report {
        let services = self.ledger.snapshot().services;
        let hedges = services.iter().map(|service| service.totals.hedged).sum();
        Report { hedges, digest: self.digest.finish(), ..self.report }
    }

    pub(super) fn history(&self) -> Vec<String> {
        self.recent.iter().cloned().collect()
    }

    pub(super) fn populate(&mut self) -> Checked {
        for n in 0..=self.rng.below(3) {
            self.add_service(ServiceName::from(format!("s{n}")))?;
        }
        for n in 0..=self.rng.below(4) {
            self.join(&DaemonName::from(format!("d{n}")))?;
        }
        Ok(())
    }

    /// Takes one random step.
    pub(super) fn step(&mut self) -> Checked {
        // Time has gone by: the ledger handles its deadlines before the world changes.
        self.pass(Duration::ZERO)?;
        match self.rng.below(104) {
            0..18 => self.arrive(),
            18..22 => self.give_up(),
            22..52 => self.progress(),
            52..70 => self.confirm_removal(false),
            79 if self.rng.percent(15) => self.stall(),
            70..80 => self.pass(Duration::from_millis(self.rng.clone().below(4_000))),
            80..84 => self.kill(),
            84..92 => self.list_one(),
            92..95 => self.toggle_contact(),
            95..97 => self.carry_out_lost_create(),
            97 if self.rng.percent(50) => self.toggle_membership(),
            97 if self.rng.percent(50) => self.add_stray(),
            97 => self.change_others(),
            98 => self.prepare_one(),
            99 => self.change_service(),
            _ => self.operate(),
        }
    }

    /// Faults end and no clients come: the stock must converge to its target and
    /// all other containers must go.
    pub(super) fn calm_down(&mut self) -> Checked {
        self.use_all()?;
        for name in self.daemon_names() {
            self.daemons.entry(name.clone()).or_default().others = 0;
            self.join(&name)?;
        }
        self.settle()?;
        // A stock that sizes itself forgets what demand there was.
        for _ in 0..600 {
            self.pass(Duration::from_secs(60))?;
            self.finish_all()?;
        }
        let capacity: u32 = self.daemons.values().map(|d| d.capacity).sum();
        let snapshot = self.ledger.snapshot();
        let wanted: u32 = snapshot.services.iter().map(|service| service.warm).sum();
        for service in &snapshot.services {
            if service.leaving {
                return Err(format!("I6: {} was removed and is there", service.name));
            }
            // Without room for one more container a rollout waits; a canary waits for
            // clients.
            let waits = service.rollout.as_ref().is_none_or(|r| r.stage == Stage::Canary);
            if capacity > wanted && !waits {
                return Err(format!("I8: {} does not switch over: {service:?}", service.name));
            }
            let auto = self.services.get(&service.name).and_then(|served| served.policy.auto);
            if let Some(auto) = auto
                && service.rollout.is_none()
                && service.warm != auto.min
            {
                return Err(format!("I8: {} wants {}: {auto:?}", service.name, service.warm));
            }
            let stock = service.counts[State::Idle];
            let short = capacity >= wanted && stock < service.warm;
            if short || stock > service.warm || service.counts.total() != stock {
                return Err(format!(
                    "I8: {} wants {}: {:?}",
                    service.name, service.warm, service.counts
                ));
            }
        }
        self.spread_out()?;
        self.nothing_forgotten()
    }

    /// Nothing is launched any more and all containers go.
    pub(super) fn drain(&mut self) -> Checked {
        for _ in 0..self.rng.below(4) {
            self.arrive()?;
            self.operate()?;
        }
        self.draining = true;
        self.tell(Event::Drain)?;
        self.settle()?;
        if !self.ledger.snapshot().empty() {
            return Err("I6: something is left after the drain".into());
        }
        self.nothing_forgotten()
    }

    /// I7: each container that really exists is in the ledger.
    fn nothing_forgotten(&self) -> Checked {
        for (name, engine) in &self.daemons {
            let held: BTreeSet<_> = self
                .containers
                .iter()
                .filter(|(_, c)| c.daemon == *name)
                .map(|(launch, _)| ContainerKey::Launch(*launch))
                .collect();
            if let Some((key, _)) = engine.real.iter().find(|(key, _)| !held.contains(key)) {
                return Err(format!("I7: {key} on {name} was forgotten"));
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Checked {
        for _ in 0..200 {
            self.pass(Duration::from_secs(5))?;
            self.finish_all()?;
        }
        Ok(())
    }

    /// Everything under way ends well, and no time goes by.
    fn finish_all(&mut self) -> Checked {
        self.carry_out_lost_create()?;
        for name in self.daemon_names() {
            self.list(&name)?;
        }
        while self.finish_one()? || !self.removals.is_empty() {
            self.confirm_removal(true)?;
        }
        Ok(())
    }

    fn arrive(&mut self) -> Checked {
        let Some(service) = self.pick_service() else { return Ok(()) };
        self.last_waiter += 1;
        let waiter = WaiterId(self.last_waiter);
        let deadline = self.now + Duration::from_millis(self.rng.below(30_000));
        self.waiters.insert(waiter, (service.clone(), deadline));
        self.tell(Event::Lease { waiter, service, deadline })
    }

    fn give_up(&mut self) -> Checked {
        let waiters: Vec<_> = self.waiters.keys().copied().collect();
        let Some(waiter) = self.rng.pick(&waiters).copied() else { return Ok(()) };
        let leases = self.report.leases;
        self.tell(Event::Abandoned { waiter })?;
        // The waiter may be refused first, as its time was up.
        if self.waiters.remove(&waiter).is_none() && self.report.leases > leases {
            return Err(format!("I4: {waiter:?} was granted a container as it left"));
        }
        Ok(())
    }

    /// A removal is carried out, and told.
    fn confirm_removal(&mut self, surely: bool) -> Checked {
        let Some((daemon, key)) = self.rng.pick(&self.removals).cloned() else { return Ok(()) };
        let engine = self.daemons.entry(daemon.clone()).or_default();
        if !surely && (engine.cut_off.is_some() || self.rng.percent(30)) {
            return Ok(());
        }
        // The runtime does not call a container gone while a call for it is unresolved.
        if engine.lost_creates.contains(&key) && self.rng.percent(95) {
            engine.lost_creates.retain(|ghost| *ghost != key);
        }
        engine.real.remove(&key);
        self.removals.retain(|removal| *removal != (daemon.clone(), key.clone()));
        if let ContainerKey::Launch(launch) = &key {
            self.containers.remove(launch);
        }
        self.tell(Event::Removed { daemon, key })
    }

    fn pass(&mut self, time: Duration) -> Checked {
        self.now += time;
        match self.ledger.next_deadline() {
            Some(due) if due <= self.now => self.tell(Event::Tick),
            _ => Ok(()),
        }
    }

    /// The process stalls, and hears of clients before it looks at the clock. Nothing else
    /// happens: the world by which its handling of deadlines is judged has not changed.
    fn stall(&mut self) -> Checked {
        self.now += Duration::from_secs(self.rng.below(120));
        (0..self.rng.below(3)).try_for_each(|_| self.arrive())?;
        self.pass(Duration::ZERO)
    }

    /// A container dies; the daemon may or may not say so.
    fn kill(&mut self) -> Checked {
        let ids: Vec<_> = self.containers.keys().copied().collect();
        let Some(launch) = self.rng.pick(&ids).copied() else { return Ok(()) };
        let Some(container) = self.containers.get_mut(&launch) else { return Ok(()) };
        let engine = self.daemons.entry(container.daemon.clone()).or_default();
        match engine.real.get_mut(&ContainerKey::Launch(launch)) {
            Some(running) => *running = false,
            None => return Ok(()),
        }
        let (said, how) = (self.rng.percent(60), self.rng.below(10));
        if !said {
            return Ok(());
        }
        container.tainted = true;
        match how {
            0 => return self.tell(Event::Taken { launch }),
            1..3 => self.tell(Event::Signalled { launch })?,
            _ => {}
        }
        self.tell(Event::Died { launch })
    }

    /// Tells the ledger an event, and checks its actions against the invariants.
    fn tell(&mut self, event: Event) -> Checked {
        if self.recent.len() == 40 {
            self.recent.pop_front();
        }
        self.recent.push_back(format!("{event:?}"));
        self.report.events += 1;
        let actions = self.ledger.handle(self.now, event);
        for action in actions {
            let said = format!("  => {action:?}");
            self.digest.write(said.as_bytes());
            self.recent.push_back(said);
            self.take(action)?;
        }
        self.asked = None;
        while self.recent.len() > 80 {
            self.recent.pop_front();
        }
        self.ledger.audit()
    }
}

fn number(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
