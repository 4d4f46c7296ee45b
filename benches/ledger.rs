//! The cost to the ledger of the events of one strict connection, on fleets of
//! different sizes that are half full.

#![expect(clippy::panic, reason = "a failure is to end the benchmark")]

#[path = "support/costs.rs"]
mod costs;

use std::time::{Duration, Instant};

use costs::Costs;
use criterion::{BenchmarkId, Throughput};
use ganger_pool::core::{
    Action, Capacity, ContainerKey, DaemonName, Event, Generation, LaunchId, Launches, Ledger,
    Outcome, Policy, ServiceName, WaiterId,
};

const FLEETS: [u32; 3] = [10, 100, 1000];
const CAPACITY: u32 = 8;
/// The most that an event may cost at 1,000 daemons, in terms of the same at 10.
const TARGET: f64 = 2.0;
/// Services that wait for a daemon.
const HELD: u32 = 20;
/// Connections at a time.
const BATCH: u32 = 16;
/// How often a step is done before it is the turn of the other fleet.
const TURN: u64 = 1024;

/// A part of the way of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A connection gets a container from stock, and the next launch is placed.
    Lease,
    /// The container comes back and is removed: two events.
    Return,
    /// The next container starts and gets ready: two events.
    Launch,
}

/// Services that the ledger has beside the one that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// A service that no daemon can launch.
    Blocked,
    /// Services whose launches wait for a daemon that is about to be prepared for them.
    Held,
}

struct Fleet {
    ledger: Ledger,
    service: ServiceName,
    now: Instant,
    waiters: u64,
}

fn main() {
    let mut criterion = costs::criterion();
    let mut costs = Costs::default();
    let steps = [(Step::Lease, "lease"), (Step::Return, "return"), (Step::Launch, "launch")];
    let label = |step: &str, beside: Beside, daemons: u32| {
        let others = match beside {
            Beside::Nothing => "",
            Beside::Blocked => ", beside a service that no daemon can launch",
            Beside::Held => ", beside services that wait for a daemon",
        };
        format!("{step} at {daemons} daemons{others}")
    };
    let all = [
        (Beside::Nothing, "ledger"),
        (Beside::Blocked, "ledger/blocked"),
        (Beside::Held, "ledger/held"),
    ];
    for (beside, group) in all {
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(1));
        for (step, name) in steps {
            for daemons in FLEETS {
                let mut fleet = Fleet::half_full(daemons, beside);
                group.bench_function(BenchmarkId::new(name, daemons), |bencher| {
                    bencher.iter_custom(|iterations| {
                        let time = fleet.time(step, iterations);
                        costs.note(&label(name, beside, daemons), time, iterations)
                    });
                });
            }
        }
        group.finish();
    }
    for (beside, _) in all {
        let daemons = [1000, 10];
        let mut fleets = daemons.map(|daemons| Fleet::half_full(daemons, beside));
        for (step, name) in steps {
            let [many, few] = daemons.map(|daemons| label(name, beside, daemons));
            costs.compare_in_turns([&many, &few], TARGET, |who| fleets[who].time(step, TURN));
        }
    }
    criterion.final_summary();
}

// === impl Fleet ===

impl Fleet {
    fn half_full(daemons: u32, beside: Beside) -> Self {
        let (service, now) = (ServiceName::from("echo"), Instant::now());
        let mut fleet = Self { ledger: Ledger::new(), service: service.clone(), now, waiters: 0 };
        let (stock, max) = (daemons * CAPACITY / 2, daemons * CAPACITY);
        let policy = Policy { warm: stock, max, ..Policy::default() };
        fleet.tell(Event::ServiceAdded {
            service: service.clone(),
            policy,
            generation: Generation::FIRST,
        });
        let others: Vec<_> = match beside {
            Beside::Nothing => Vec::new(),
            Beside::Blocked => vec![ServiceName::from("blocked")],
            Beside::Held => (0..HELD).map(|n| ServiceName::from(format!("held-{n}"))).collect(),
        };
        for service in others.clone() {
            let (policy, generation) = (Policy::default(), Generation::FIRST);
            fleet.tell(Event::ServiceAdded { service, policy, generation });
        }
        let name = |n| DaemonName::from(format!("daemon-{n}"));
        let mut launched = Vec::new();
        for n in 0..daemons {
            let daemon = name(n);
            // Enough launches in flight that each daemon gets its half and no more.
            let fixed = Launches::Fixed(CAPACITY / 2);
            let capacity = Capacity { containers: CAPACITY, tier: 0 };
            fleet.tell(Event::DaemonJoined { daemon: daemon.clone(), capacity });
            if beside == Beside::Held && n == 0 {
                // The last joins before the first can launch anything.
                fleet.tell(Event::DaemonJoined { daemon: name(daemons - 1), capacity });
            }
            fleet.tell(Event::DaemonUp { daemon: daemon.clone(), launches: fixed });
            fleet.tell(Event::Listed {
                daemon: daemon.clone(),
                began: now,
                owned: Vec::new(),
                others: 0,
            });
            if beside == Beside::Held && n + 1 < daemons {
                for service in others.clone() {
                    let (daemon, generation, result) = (daemon.clone(), Generation::FIRST, Ok(()));
                    fleet.tell(Event::Prepared { daemon, service, generation, result });
                }
            }
            let service = service.clone();
            launched.extend(launches(fleet.tell(Event::Prepared {
                daemon,
                service,
                generation: Generation::FIRST,
                result: Ok(()),
            })));
        }
        assert_eq!(launched.len(), stock as usize);
        fleet.launch(&launched);
        fleet
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.ledger.handle(self.now, event)
    }

    /// The time of so many iterations of one step.
    fn time(&mut self, step: Step, iterations: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let batches = iterations.div_ceil(BATCH.into());
        for _ in 0..batches {
            let start = Instant::now();
            let (leased, ordered) = self.lease();
            let leased_at = Instant::now();
            self.give_back(&leased);
            let returned_at = Instant::now();
            self.launch(&ordered);
            spent += match step {
                Step::Lease => leased_at - start,
                Step::Return => returned_at - leased_at,
                Step::Launch => returned_at.elapsed(),
            };
        }
        spent.mul_f64(iterations as f64 / (batches * u64::from(BATCH)) as f64)
    }

    /// The leased containers, and the launches in their place.
    fn lease(&mut self) -> (Vec<(LaunchId, DaemonName)>, Vec<LaunchId>) {
        let (mut leased, mut ordered) = (Vec::new(), Vec::new());
        for _ in 0..BATCH {
            self.waiters += 1;
            let (waiter, service) = (WaiterId(self.waiters), self.service.clone());
            let deadline = self.now + Duration::from_secs(30);
            for action in self.tell(Event::Lease { waiter, service, deadline }) {
                match action {
                    Action::Grant { launch, daemon, .. } => leased.push((launch, daemon)),
                    Action::Launch { launch, .. } => ordered.push(launch),
                    Action::Moved { .. } => {}
                    other => panic!("a lease from stock leads to {other:?}"),
                }
            }
        }
        assert_eq!((leased.len(), ordered.len()), (BATCH as usize, BATCH as usize));
        (leased, ordered)
    }

    fn give_back(&mut self, leased: &[(LaunchId, DaemonName)]) {
        for (launch, daemon) in leased {
            self.tell(Event::Returned { launch: *launch, outcome: Outcome::Clean });
            let (daemon, key) = (daemon.clone(), ContainerKey::Launch(*launch));
            self.tell(Event::Removed { daemon, key });
        }
    }

    fn launch(&mut self, ordered: &[LaunchId]) {
        for launch in ordered {
            self.tell(Event::Started { launch: *launch });
            self.tell(Event::Ready { launch: *launch });
        }
    }
}

fn launches(actions: Vec<Action>) -> impl Iterator<Item = LaunchId> {
    actions.into_iter().filter_map(|action| match action {
        Action::Launch { launch, .. } => Some(launch),
        _ => None,
    })
}
