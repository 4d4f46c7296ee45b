//! A ledger with a clock, and what it has ordered.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it")]

use std::time::{Duration, Instant};

use ganger_pool::core::{
    Action, Capacity, ContainerKey, DaemonName, Event, Fault, Generation, LaunchId, Launches,
    Ledger, Outcome, Owned, Policy, Refusal, State, WaiterId,
};

pub const MOMENT: Duration = Duration::from_millis(1);
pub const USUAL: Duration = Duration::from_millis(200);
pub const LEARNT: Launches = Launches::Learnt { first: 8, most: 32 };

/// A ledger with one service, a clock, and what it has ordered.
pub struct Story {
    pub ledger: Ledger,
    pub now: Instant,
    pub waiters: u64,
    /// Launches, in their order.
    pub launched: Vec<(LaunchId, DaemonName)>,
    pub granted: Vec<LaunchId>,
    pub refused: Vec<Refusal>,
    /// Containers that are to be removed.
    pub retired: Vec<(DaemonName, ContainerKey)>,
    pub checks: usize,
    /// Launches that are to be interrupted.
    pub interrupted: Vec<LaunchId>,
}

// === impl Story ===

impl Story {
    /// Each daemon with its tier.
    pub fn new(policy: Policy, daemons: &[(&str, u32)], launches: Launches) -> Self {
        Self::of(Ledger::new(), policy, daemons, launches)
    }

    /// The same of this ledger.
    pub fn of(ledger: Ledger, policy: Policy, daemons: &[(&str, u32)], launches: Launches) -> Self {
        let mut story = Self {
            ledger,
            now: tokio::time::Instant::now().into_std(),
            waiters: 0,
            launched: Vec::new(),
            granted: Vec::new(),
            refused: Vec::new(),
            retired: Vec::new(),
            checks: 0,
            interrupted: Vec::new(),
        };
        let generation = Generation(1);
        story.tell(Event::ServiceAdded { service: "s".into(), policy, generation });
        for (name, tier) in daemons {
            let (daemon, capacity) =
                (DaemonName::from(*name), Capacity { containers: 50, tier: *tier });
            let (service, result) = ("s".into(), Ok(()));
            story.tell(Event::DaemonJoined { daemon: daemon.clone(), capacity });
            story.tell(Event::DaemonUp { daemon: daemon.clone(), launches });
            story.tell(Event::Prepared { daemon, service, generation, result });
            story.list(name, &[]);
        }
        story
    }

    pub fn tell(&mut self, event: Event) {
        for action in self.ledger.handle(self.now, event) {
            match action {
                Action::Launch { launch, daemon, .. } => self.launched.push((launch, daemon)),
                Action::Grant { launch, .. } => self.granted.push(launch),
                Action::Refuse { refusal, .. } => self.refused.push(refusal),
                Action::Retire { daemon, key, .. } => self.retired.push((daemon, key)),
                Action::Check { .. } => self.checks += 1,
                Action::Interrupt { launch } => self.interrupted.push(launch),
                _ => {}
            }
        }
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.ledger.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tell(Event::Tick);
        }
        self.now = end;
    }

    /// The process stands still: time passes and nobody ticks.
    pub fn stall(&mut self, time: Duration) {
        self.now += time;
    }

    pub fn list(&mut self, daemon: &str, running: &[LaunchId]) {
        self.list_beside(daemon, running, 0);
    }

    /// A list that shows so many containers of others, too.
    pub fn list_beside(&mut self, daemon: &str, running: &[LaunchId], others: u32) {
        self.now += MOMENT;
        let key = |launch: &LaunchId| ContainerKey::Launch(*launch);
        let owned = running.iter().map(|launch| Owned { key: key(launch), running: true });
        let (daemon, began, owned) = (daemon.into(), self.now, owned.collect());
        self.tell(Event::Listed { daemon, began, owned, others });
    }

    /// A list that shows all that was launched and is not gone, ended.
    pub fn list_ended(&mut self, daemon: &str) {
        self.now += MOMENT;
        let key = |(launch, _): &(LaunchId, DaemonName)| ContainerKey::Launch(*launch);
        let owned = self.launched.iter().map(|launch| Owned { key: key(launch), running: false });
        let (daemon, began, owned) = (daemon.into(), self.now, owned.collect());
        self.tell(Event::Listed { daemon, began, owned, others: 0 });
    }

    /// All that is to be removed is gone.
    pub fn remove_retired(&mut self) {
        for (daemon, key) in std::mem::take(&mut self.retired) {
            self.tell(Event::Removed { daemon, key });
        }
    }

    pub fn down(&mut self, daemon: &str, reason: &str) {
        self.tell(Event::DaemonDown { daemon: daemon.into(), reason: reason.into() });
    }

    pub fn ask(&mut self) {
        self.ask_until(self.now + Duration::from_secs(60));
    }

    pub fn ask_until(&mut self, deadline: Instant) {
        self.waiters += 1;
        let waiter = WaiterId(self.waiters);
        self.tell(Event::Lease { waiter, service: "s".into(), deadline });
    }

    /// All launches under way get ready.
    pub fn get_ready(&mut self) {
        self.now += MOMENT;
        let mut at = 0;
        while let Some((launch, _)) = self.launched.get(at).cloned() {
            // Of the rest the ledger takes no note.
            self.tell(Event::Started { launch });
            self.tell(Event::Ready { launch });
            at += 1;
        }
    }

    pub fn fail(&mut self, (launch, daemon): (LaunchId, DaemonName), fault: Fault) {
        self.tell(Event::LaunchFailed { launch, fault, reason: "it did not work".into() });
        self.tell(Event::Removed { daemon, key: ContainerKey::Launch(launch) });
    }

    /// A client comes, is launched for, and goes.
    pub fn serve(&mut self, took: Duration) {
        self.ask();
        let Some((launch, daemon)) = self.launched.last().cloned() else { return };
        self.pass(took / 2);
        self.tell(Event::Started { launch });
        // Not a moment longer: that would be unusual.
        self.pass(took / 2 - MOMENT);
        self.now += MOMENT;
        self.tell(Event::Ready { launch });
        assert_eq!(self.granted.last(), Some(&launch));
        self.tell(Event::Returned { launch, outcome: Outcome::Clean });
        self.tell(Event::Removed { daemon, key: ContainerKey::Launch(launch) });
    }

    /// Serves so many clients, whose containers take as long as usual.
    pub fn served_before(mut self, clients: u32) -> Self {
        (0..clients).for_each(|_| self.serve(USUAL));
        self
    }

    /// The daemons of the launches after the first so many.
    pub fn launched_since(&self, before: usize) -> Vec<&str> {
        self.launched[before..].iter().map(|(_, daemon)| daemon.as_str()).collect()
    }

    pub fn counts(&self, state: State) -> u32 {
        self.ledger.snapshot().services[0].counts[state]
    }
}
