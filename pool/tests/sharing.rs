//! Several pools that share daemons: what each of them does in view of the others.

#[path = "support/story.rs"]
mod story;

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_pool::core::{
    Capacity, ContainerKey, DaemonName, Event, Generation, LaunchId, Ledger, Outcome, Policy,
};
use story::{LEARNT, Story};

const STEP: Duration = Duration::from_millis(100);
/// Steps from the order of a launch until it is ready.
const LAUNCH: usize = 5;
/// Steps from a change on a daemon until the others are told of it.
const HEARD: usize = 3;
const DAEMONS: [&str; 2] = ["a", "b"];

/// Pools that share two daemons.
struct Shared {
    pools: Vec<Member>,
    /// How many containers each daemon had of each pool, one step after the other.
    past: Vec<BTreeMap<DaemonName, Vec<u32>>>,
}

struct Member {
    story: Story,
    /// The containers of it that exist, and since which step.
    real: BTreeMap<LaunchId, (DaemonName, usize)>,
    /// How many of its launches exist or existed.
    made: usize,
    /// The counts of others that it was told last.
    told: BTreeMap<DaemonName, u32>,
}

// === impl Shared ===

impl Shared {
    /// `pools` pools with stocks of this size, which are on the first daemon; the second one
    /// has just joined, for all of them at the same time.
    fn new(pools: u64, warm: u32) -> Self {
        let pools = (0..pools).map(|n| Member::new(n, warm)).collect();
        let mut shared = Self { pools, past: Vec::new() };
        shared.pools.iter_mut().for_each(|pool| pool.answer("a"));
        shared.pass(Duration::from_secs(5));
        shared.pools.iter_mut().for_each(|pool| pool.answer("b"));
        shared
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.past.len();
        for pool in &mut self.pools {
            pool.story.pass(STEP);
            pool.carry_out(now);
        }
        let on = |name: &str| self.pools.iter().map(|pool| pool.on(name)).collect();
        self.past.push(DAEMONS.iter().map(|name| (DaemonName::from(*name), on(name))).collect());
        let Some(then) = now.checked_sub(HEARD) else { return };
        for (daemon, counts) in &self.past[then] {
            for (n, pool) in self.pools.iter_mut().enumerate() {
                pool.hear(daemon, counts.iter().sum::<u32>() - counts[n]);
            }
        }
    }

    fn launched(&self) -> usize {
        self.pools.iter().map(|pool| pool.made).sum()
    }

    /// Containers on each daemon.
    fn loads(&self) -> [u32; 2] {
        DAEMONS.map(|name| self.pools.iter().map(|pool| pool.on(name)).sum())
    }
}

// === impl Member ===

impl Member {
    fn new(salt: u64, warm: u32) -> Self {
        let policy = Policy { warm, ..Policy::default() };
        let mut story = Story::of(Ledger::salted(salt), policy, &[], LEARNT);
        let capacity = Capacity { containers: 100, tier: 0 };
        story.tell(Event::DaemonJoined { daemon: "a".into(), capacity });
        Self { story, real: BTreeMap::new(), made: 0, told: BTreeMap::new() }
    }

    /// A daemon answers, is listed, and can launch the service.
    fn answer(&mut self, name: &str) {
        let (daemon, service, generation) = (DaemonName::from(name), "s".into(), Generation(1));
        let capacity = Capacity { containers: 100, tier: 0 };
        self.story.tell(Event::DaemonJoined { daemon: daemon.clone(), capacity });
        self.story.tell(Event::DaemonUp { daemon: daemon.clone(), launches: LEARNT });
        self.story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
        self.story.list(name, &[]);
    }

    /// Carries out what was ordered.
    fn carry_out(&mut self, now: usize) {
        for (launch, daemon) in &self.story.launched[self.made..] {
            self.real.insert(*launch, (daemon.clone(), now));
        }
        self.made = self.story.launched.len();
        let ready = self.real.iter().filter(|(_, (_, since))| since + LAUNCH == now);
        for launch in ready.map(|(launch, _)| *launch).collect::<Vec<_>>() {
            self.story.tell(Event::Started { launch });
            self.story.tell(Event::Ready { launch });
        }
        for (_, key) in &self.story.retired {
            if let ContainerKey::Launch(launch) = key {
                self.real.remove(launch);
            }
        }
        self.story.remove_retired();
    }

    /// A list, when it shows more or fewer of others than the last one.
    fn hear(&mut self, daemon: &DaemonName, others: u32) {
        if self.told.insert(daemon.clone(), others) != Some(others) {
            let on = self.real.iter().filter(|(_, (on, _))| on == daemon);
            let own: Vec<_> = on.map(|(launch, _)| *launch).collect();
            self.story.list_beside(daemon.as_str(), &own, others);
        }
    }

    fn on(&self, name: &str) -> u32 {
        let on = self.real.values().filter(|(daemon, _)| daemon.as_str() == name);
        u32::try_from(on.count()).unwrap_or(u32::MAX)
    }
}

#[test]
fn stocks_of_several_pools_do_not_move_to_and_fro() {
    for pools in [2, 3, 4, 5, 8, 12] {
        for warm in 2..=4 {
            let mut shared = Shared::new(pools, warm);
            shared.pass(Duration::from_secs(300));
            let (launched, loads) = (shared.launched(), shared.loads());
            shared.pass(Duration::from_secs(300));
            let more = shared.launched() - launched;
            assert_eq!(more, 0, "{pools} pools of {warm} each still move, from {loads:?}");
            assert!(loads[0].abs_diff(loads[1]) <= 3, "{pools} pools of {warm} each: {loads:?}");
        }
    }
}

#[test]
fn containers_on_an_engine_that_is_listed_by_another_name_count_there() {
    let policy = Policy { warm: 0, max: 100, queue_length: 100, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    (0..4).for_each(|_| story.ask());
    story.get_ready();
    let held = story.granted.clone();
    // The url was changed: the same engine by another way.
    story.tell(Event::DaemonLeft { daemon: "a".into() });
    let (daemon, service, generation) = (DaemonName::from("a~2"), "s".into(), Generation(1));
    let capacity = Capacity { containers: 6, tier: 0 };
    story.tell(Event::DaemonJoined { daemon: daemon.clone(), capacity });
    story.tell(Event::DaemonUp { daemon: daemon.clone(), launches: LEARNT });
    story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
    story.list("a~2", &held);
    (0..4).for_each(|_| story.ask());
    assert_eq!(story.launched_since(4), ["a~2", "a~2"], "there are 4, of 6");
    // A container that ends there makes room, without another list.
    story.tell(Event::Returned { launch: held[0], outcome: Outcome::Clean });
    story.remove_retired();
    assert_eq!(story.launched_since(4).len(), 3, "one is gone");
    story.list("a~2", &[]);
    assert_eq!(story.launched_since(4).len(), 4, "all are gone");
}
