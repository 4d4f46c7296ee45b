//! Recorded arrivals, replayed in simulated time against any policy.
//!
//! The ledger is the real one; daemons are as simple as can be: each launch takes the
//! same time, nothing fails, and a container is removed at once. So a replay shows what a
//! stock would have cost and how often it would have been empty, and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::core::{
    Action, Capacity, DaemonName, Event, Generation, LaunchId, Launches, Ledger, Outcome, Policy,
    Proof, ServiceName, StartKind, State, WaiterId,
};

/// The least time for the stock to fill before the first arrival, which is not counted.
const BEFORE: Duration = Duration::from_secs(300);

/// The arrival of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When, from the start of the recording.
    pub at: Duration,
    /// For how long a container was held.
    pub held: Duration,
}

/// A daemon of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayDaemon {
    /// The most containers it holds.
    pub capacity: u32,
    /// Launches at a time.
    pub max_launches: u32,
    /// How long each takes from its order until it is ready.
    pub launch: Duration,
}

/// The results of a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReplayTally {
    /// Arrivals that found a container ready.
    pub hits: u64,
    /// Arrivals that waited for one.
    pub waited: u64,
    /// The time they waited, together.
    pub waiting: Duration,
    /// Arrivals that got no container.
    pub refused: u64,
    /// Launches, including the first stock, which is there from the start.
    pub launches: u64,
    /// Container-seconds in stock: what it costs to have some ready.
    pub ready: f64,
    /// Container-seconds in all, from order to removal.
    pub total: f64,
}

struct Replay<'a> {
    ledger: Ledger,
    now: Instant,
    service: ServiceName,
    daemons: &'a [ReplayDaemon],
    /// When the first arrival could be.
    origin: Instant,
    arrivals: &'a [Arrival],
    /// The next steps, in order.
    due: BTreeSet<(Instant, ReplayStep)>,
    /// Since when clients wait, by index into the arrivals.
    came: BTreeMap<usize, Instant>,
    idle: u32,
    exist: u32,
    tally: ReplayTally,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ReplayStep {
    Ready(LaunchId),
    Returned(LaunchId),
    Arrives(usize),
}

/// Replays arrivals, which have to be in order, with clients that wait at most `patience`.
/// The stock is full at the start, and the replay ends with the last lease.
#[must_use]
pub fn replay(
    policy: &Policy,
    daemons: &[ReplayDaemon],
    arrivals: &[Arrival],
    patience: Duration,
) -> ReplayTally {
    let start = tokio::time::Instant::now().into_std();
    let mut replay = Replay {
        ledger: Ledger::new(),
        now: start,
        service: "replayed".into(),
        daemons,
        origin: start,
        arrivals,
        due: BTreeSet::new(),
        came: BTreeMap::new(),
        idle: 0,
        exist: 0,
        tally: ReplayTally::default(),
    };
    replay.open(policy);
    // However long the launches take.
    while let Some(end) = replay.due.last().map(|(at, _)| *at) {
        replay.run_until(end, patience);
    }
    replay.origin = replay.now.max(start + BEFORE);
    replay.run_until(replay.origin, patience);
    replay.tally = ReplayTally { launches: replay.exist.into(), ..ReplayTally::default() };
    replay.arrive(0);
    while let Some(end) = replay.due.last().map(|(at, _)| *at) {
        replay.run_until(end, patience);
    }
    replay.tally
}

// === impl ReplayTally ===

impl ReplayTally {
    /// The share of arrivals that found a container ready.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 / (self.hits + self.waited + self.refused).max(1) as f64
    }

    /// The average wait of arrivals that got a container which was not ready.
    #[must_use]
    pub fn mean_wait(&self) -> Duration {
        self.waiting.div_f64(self.waited.max(1) as f64)
    }
}

// === impl Replay ===

impl Replay<'_> {
    fn open(&mut self, policy: &Policy) {
        let (service, generation) = (self.service.clone(), Generation(1));
        let (added, policy) = (service.clone(), policy.clone());
        self.tell(Event::ServiceAdded { service: added, policy, generation });
        for (n, ReplayDaemon { capacity, max_launches, .. }) in self.daemons.iter().enumerate() {
            let daemon = DaemonName::from(format!("{n}"));
            let capacity = Capacity { containers: *capacity, tier: 0 };
            self.tell(Event::DaemonJoined { daemon: daemon.clone(), capacity });
            let launches = Launches::Fixed(*max_launches);
            self.tell(Event::DaemonUp { daemon: daemon.clone(), launches });
            let (service, result) = (service.clone(), Ok(()));
            self.tell(Event::Prepared { daemon: daemon.clone(), service, generation, result });
            let (began, owned) = (self.now, Vec::new());
            self.tell(Event::Listed { daemon, began, owned, others: 0 });
        }
    }

    /// Schedules an arrival.
    fn arrive(&mut self, next: usize) {
        if let Some(arrival) = self.arrivals.get(next) {
            self.due.insert((self.origin + arrival.at, ReplayStep::Arrives(next)));
        }
    }

    fn run_until(&mut self, end: Instant, patience: Duration) {
        loop {
            let step = self.due.first().map(|(at, _)| *at);
            let tick = self.ledger.next_deadline();
            let Some(at) = step.into_iter().chain(tick).min().filter(|at| *at <= end) else {
                break;
            };
            self.pass(at);
            if tick == Some(at) {
                self.tell(Event::Tick);
            } else if let Some((_, step)) = self.due.pop_first() {
                self.step(step, patience);
            }
        }
        self.pass(end);
    }

    fn pass(&mut self, to: Instant) {
        let time = to.saturating_duration_since(self.now).as_secs_f64();
        self.tally.ready += time * f64::from(self.idle);
        self.tally.total += time * f64::from(self.exist);
        self.now = self.now.max(to);
    }

    fn step(&mut self, step: ReplayStep, patience: Duration) {
        match step {
            ReplayStep::Ready(launch) => {
                self.tell(Event::Started { launch });
                self.tell(Event::Ready { launch });
            }
            ReplayStep::Returned(launch) => {
                self.tell(Event::Returned { launch, outcome: Outcome::Clean });
            }
            ReplayStep::Arrives(n) => {
                self.arrive(n + 1);
                self.came.insert(n, self.now);
                let (service, deadline) = (self.service.clone(), self.now + patience);
                self.tell(Event::Lease { waiter: WaiterId(n as u64), service, deadline });
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let actions = self.ledger.handle(self.now, event);
            events.extend(actions.into_iter().filter_map(|action| self.take(action)));
        }
    }

    /// Carries an action out; returns the event of one that is done at once.
    fn take(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Launch { launch, daemon, .. } => {
                self.tally.launches += 1;
                let daemon = daemon.as_str().parse().ok().and_then(|n: usize| self.daemons.get(n));
                let time = daemon.map_or(Duration::ZERO, |daemon| daemon.launch);
                self.due.insert((self.now + time, ReplayStep::Ready(launch)));
            }
            Action::Check { launch } => {
                return Some(Event::Checked { launch, proof: Some(Proof::Itself) });
            }
            Action::Retire { daemon, key, .. } => return Some(Event::Removed { daemon, key }),
            Action::Grant { waiter, launch, start, .. } => self.granted(waiter, launch, start),
            Action::Refuse { waiter, .. } => {
                self.tally.refused += 1;
                self.came.remove(&(waiter.0 as usize));
            }
            Action::Moved { from, to, .. } => {
                self.idle += u32::from(to == State::Idle);
                self.idle -= u32::from(from == State::Idle);
                self.exist += u32::from(from == State::Removed);
                self.exist -= u32::from(to == State::Removed);
            }
            _ => {}
        }
        None
    }

    fn granted(&mut self, waiter: WaiterId, launch: LaunchId, start: StartKind) {
        let n = waiter.0 as usize;
        let waited = self.came.remove(&n).map_or(Duration::ZERO, |came| self.now - came);
        if start == StartKind::Cold || !waited.is_zero() {
            self.tally.waited += 1;
            self.tally.waiting += waited;
        } else {
            self.tally.hits += 1;
        }
        let held = self.arrivals.get(n).map_or(Duration::ZERO, |arrival| arrival.held);
        self.due.insert((self.now + held, ReplayStep::Returned(launch)));
    }
}
