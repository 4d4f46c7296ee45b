//! Histories of the ledger in which the operator has daemons and services drained.

#[path = "support/story.rs"]
mod story;

use std::time::Duration;

use ganger_pool::core::{
    AdminState, Capacity, Event, Fault, Generation, Launches, Outcome, Policy, Refusal,
    RetireReason, ServiceView, Stage, State,
};
use story::{LEARNT, Story, USUAL};

const ALL_DRAINED: &str = "every daemon is being drained by the operator";

impl Story {
    fn set_daemon(&mut self, daemon: &str, state: AdminState) {
        self.tell(Event::DaemonStateSet { daemon: daemon.into(), state });
    }

    fn set_service(&mut self, state: AdminState) {
        self.tell(Event::ServiceStateSet { service: "s".into(), state });
    }

    fn view(&self) -> ServiceView {
        self.ledger.snapshot().services.remove(0)
    }

    fn retired_as(&self, reason: RetireReason) -> u64 {
        self.view().totals.retired.get(&reason).copied().unwrap_or_default()
    }

    /// How many containers a daemon has in a state.
    fn on(&self, daemon: &str, state: State) -> u32 {
        self.ledger.snapshot().daemon(daemon).map_or(0, |view| view.counts[state])
    }

    /// The lease of the container that was granted last ends well.
    fn give_back(&mut self) {
        let Some(launch) = self.granted.last().copied() else { return };
        self.tell(Event::Returned { launch, outcome: Outcome::Clean });
    }
}

fn policy(warm: u32) -> Policy {
    Policy { warm, max: 40, queue_length: 40, ..Policy::default() }
}

#[test]
fn what_is_on_a_drained_daemon_goes_and_comes_elsewhere() {
    let mut story = Story::new(policy(4), &[("a", 0), ("b", 0)], LEARNT);
    story.get_ready();
    story.ask();
    let leased = *story.granted.last().unwrap();
    story.get_ready();
    assert_eq!((story.on("a", State::Idle), story.on("b", State::Idle)), (3, 1));
    let before = story.launched.len();
    story.set_daemon("a", AdminState::Drain);
    assert_eq!((story.on("a", State::Idle), story.on("a", State::Leased)), (0, 1));
    assert_eq!(story.retired_as(RetireReason::Drain), 3);
    assert_eq!(story.launched_since(before), ["b", "b", "b"]);
    story.tell(Event::Returned { launch: leased, outcome: Outcome::Clean });
    story.remove_retired();
    story.get_ready();
    assert_eq!(story.ledger.snapshot().daemon("a").unwrap().held(), 0);
    assert_eq!(story.on("b", State::Idle), 4);

    story.set_daemon("a", AdminState::Ready);
    story.set_service(AdminState::Drain);
    story.remove_retired();
    story.set_service(AdminState::Ready);
    assert_eq!((story.on("a", State::Launching), story.on("b", State::Launching)), (2, 2));
}

#[test]
fn a_launch_on_a_drained_daemon_ends_when_it_is_started_and_is_nobodys_failure() {
    let mut story = Story::new(policy(2), &[("a", 0)], LEARNT);
    let [started, ordered] = [story.launched[0].clone(), story.launched[1].clone()];
    story.tell(Event::Started { launch: started.0 });
    story.set_daemon("a", AdminState::Maint);
    assert_eq!(story.interrupted, [started.0]);
    story.tell(Event::Started { launch: ordered.0 });
    assert_eq!(story.interrupted, [started.0, ordered.0]);
    // The order comes too late for the first launch, and ends the other one.
    story.tell(Event::Ready { launch: started.0 });
    assert_eq!(story.on("a", State::Idle), 0);
    story.fail(ordered, Fault::Unwanted);
    story.remove_retired();
    assert_eq!(story.retired_as(RetireReason::Drain), 2);
    story.set_daemon("a", AdminState::Ready);
    assert_eq!(story.launched.len(), 4, "the daemon has to pause for nothing");
    let failing = story.launched[2].clone();
    story.set_daemon("a", AdminState::Maint);
    story.fail(failing, Fault::Daemon);
    assert_eq!(story.view().totals.launch_failures, 0);
    assert_eq!(story.ledger.snapshot().daemons[0].degraded, None);
}

#[test]
fn a_daemon_that_is_used_again_in_time_keeps_what_is_launched_there() {
    let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
    story.set_daemon("a", AdminState::Drain);
    story.set_daemon("a", AdminState::Ready);
    story.get_ready();
    assert_eq!((story.launched.len(), story.on("a", State::Idle)), (1, 1));
}

#[test]
fn what_is_checked_on_a_drained_daemon_goes_at_once() {
    let policy = Policy { reuse: 1, ..policy(1) };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.get_ready();
    story.ask();
    story.give_back();
    assert_eq!((story.checks, story.on("a", State::Checking)), (1, 1));
    story.set_daemon("a", AdminState::Drain);
    assert_eq!((story.on("a", State::Checking), story.on("a", State::Retiring)), (0, 1));
    let launch = story.granted[0];
    story.tell(Event::Checked { launch, proof: Some(ganger_pool::core::Proof::Itself) });
    assert_eq!(story.on("a", State::Retiring), 1, "what the check says comes too late");
}

#[test]
fn clients_are_refused_when_every_daemon_is_drained_and_told_why() {
    // Leased containers might come back, if their daemon were used.
    let policy = Policy { reuse: 9, max: 2, warm: 0, ..policy(0) };
    let mut story = Story::new(policy, &[("a", 0), ("b", 0)], LEARNT);
    (0..2).for_each(|_| story.ask());
    story.get_ready();
    assert_eq!(story.granted.len(), 2);
    story.ask();
    story.set_daemon("a", AdminState::Drain);
    assert_eq!(story.refused, [], "the container on the other may come back");
    story.set_daemon("b", AdminState::Maint);
    let refused = |reason: &str| Refusal::NoDaemon { reason: reason.into() };
    assert_eq!(story.refused, [refused(ALL_DRAINED)]);
    story.ask();
    assert_eq!(story.refused, [refused(ALL_DRAINED), refused(ALL_DRAINED)]);
    assert_eq!(story.view().refusing.as_deref(), Some(ALL_DRAINED));

    for launch in story.granted.clone() {
        story.tell(Event::Returned { launch, outcome: Outcome::Failed });
    }
    story.set_daemon("a", AdminState::Ready);
    story.down("a", "it is off");
    story.ask();
    let both = "a: it is off; b: the operator has set it to maint";
    assert_eq!(story.refused.last(), Some(&refused(both)).filter(|_| story.refused.len() == 3));
}

#[test]
fn the_state_of_a_daemon_holds_whatever_becomes_of_its_contact() {
    let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
    story.get_ready();
    story.down("a", "it is off");
    assert_eq!(story.on("a", State::Unknown), 1);
    story.set_daemon("a", AdminState::Maint);
    assert_eq!(story.on("a", State::Unknown), 0);
    let launched = story.launched.len();
    let daemon = || "a".into();
    let capacity = Capacity { containers: 9, tier: 0 };
    story.tell(Event::DaemonResized { daemon: daemon(), capacity });
    story.tell(Event::DaemonJoined { daemon: daemon(), capacity });
    story.tell(Event::DaemonUp { daemon: daemon(), launches: Launches::Fixed(1) });
    let (generation, result) = (Generation(1), Ok(()));
    story.tell(Event::Prepared { daemon: daemon(), service: "s".into(), generation, result });
    story.list("a", &[]);
    assert_eq!(story.launched.len(), launched);
    assert_eq!(story.ledger.daemon_state(&daemon()), Some(AdminState::Maint));
    story.set_daemon("a", AdminState::Ready);
    assert_eq!(story.launched.len(), launched + 1);

    story.set_daemon("a", AdminState::Drain);
    story.tell(Event::DaemonLeft { daemon: daemon() });
    let failing = story.launched[launched].clone();
    story.fail(failing, Fault::Daemon);
    story.remove_retired();
    assert_eq!(story.ledger.daemon_state(&daemon()), None, "it is forgotten with the daemon");
    story.tell(Event::DaemonJoined { daemon: daemon(), capacity });
    assert_eq!(story.ledger.daemon_state(&daemon()), Some(AdminState::Ready));
}

#[test]
fn a_state_that_is_set_already_changes_nothing() {
    let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
    story.get_ready();
    for state in [AdminState::Ready, AdminState::Drain, AdminState::Maint] {
        story.set_daemon("a", state);
        let again = Event::DaemonStateSet { daemon: "a".into(), state };
        assert_eq!(story.ledger.handle(story.now, again), []);
        story.set_service(state);
        let again = Event::ServiceStateSet { service: "s".into(), state };
        assert_eq!(story.ledger.handle(story.now, again), []);
    }
    assert_eq!(story.ledger.service_state(&"s".into()), Some(AdminState::Maint));
}

#[test]
fn a_drained_service_refuses_its_clients_and_gives_up_its_stock() {
    let mut story = Story::new(policy(2), &[("a", 0)], LEARNT);
    story.get_ready();
    (0..3).for_each(|_| story.ask());
    assert_eq!((story.granted.len(), story.refused.len()), (2, 0));
    story.set_service(AdminState::Maint);
    let refusal = Refusal::Operator { state: AdminState::Maint };
    assert_eq!(story.refused, std::slice::from_ref(&refusal));
    story.ask();
    assert_eq!(story.refused, [refusal.clone(), refusal.clone()]);
    assert_eq!(refusal.to_string(), "the operator has set this service to maint");
    assert_eq!(
        story.view().refusing.as_deref(),
        Some("the operator has set this service to maint")
    );
    assert_eq!(story.view().warm, 0);
    story.give_back();
    story.get_ready();
    story.remove_retired();
    assert_eq!((story.counts(State::Leased), story.view().counts.total()), (1, 1));
    assert_eq!(story.interrupted.len(), 3, "two for the stock, and one for who was refused");
    story.set_service(AdminState::Ready);
    story.pass(USUAL);
    story.get_ready();
    assert_eq!((story.view().warm, story.counts(State::Idle)), (2, 2));
    story.ask();
    assert_eq!(story.granted.len(), 3);
}

#[test]
fn a_rollout_stands_still_while_its_service_is_drained() {
    let mut story = Story::new(policy(2), &[("a", 0)], LEARNT);
    story.get_ready();
    let prepared = |generation| Event::Prepared {
        daemon: "a".into(),
        service: "s".into(),
        generation,
        result: Ok(()),
    };
    let generation = Generation(2);
    story.tell(Event::ServiceChanged { service: "s".into(), policy: policy(2), generation });
    story.tell(prepared(generation));
    let trial = story.launched.last().unwrap().clone();
    story.set_service(AdminState::Drain);
    story.tell(Event::Started { launch: trial.0 });
    story.fail(trial, Fault::Unwanted);
    story.remove_retired();
    story.pass(Duration::from_secs(600));
    let stage = |story: &Story| story.view().rollout.map(|rollout| rollout.stage);
    assert_eq!((stage(&story), story.launched.len()), (Some(Stage::Trial), 3));

    story.set_service(AdminState::Ready);
    // A container of the new generation, and one of the old, beside which it is launched.
    assert_eq!(story.launched.len(), 5);
    let trial = story.launched[3].0;
    story.tell(Event::Started { launch: trial });
    story.tell(Event::Ready { launch: trial });
    assert_eq!(stage(&story), Some(Stage::TakingOver));
    story.set_service(AdminState::Drain);
    story.get_ready();
    story.remove_retired();
    assert_eq!(stage(&story), Some(Stage::TakingOver), "nobody has seen more of it yet");
    story.set_service(AdminState::Ready);
    assert_eq!((stage(&story), story.view().generation), (None, generation));
}

#[test]
fn a_service_that_is_added_again_is_used() {
    let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
    story.set_service(AdminState::Drain);
    story.tell(Event::ServiceChanged {
        service: "s".into(),
        policy: policy(2),
        generation: Generation(1),
    });
    assert_eq!(story.ledger.service_state(&"s".into()), Some(AdminState::Drain));
    story.tell(Event::ServiceRemoved { service: "s".into() });
    assert_eq!(story.ledger.service_state(&"s".into()), None);
    let generation = Generation(2);
    story.tell(Event::ServiceAdded { service: "s".into(), policy: policy(1), generation });
    assert_eq!(story.ledger.service_state(&"s".into()), Some(AdminState::Ready));
}

#[test]
fn an_engine_that_is_stopped_for_maintenance_is_not_given_fewer_launches() {
    for (state, limit) in [(AdminState::Ready, 1), (AdminState::Maint, 8)] {
        let mut story = Story::new(policy(8), &[("a", 0)], LEARNT);
        story.set_daemon("a", state);
        story.launched.clone().into_iter().for_each(|each| story.fail(each, Fault::Daemon));
        story.set_daemon("a", AdminState::Ready);
        assert_eq!(story.ledger.snapshot().daemons[0].launch_limit, limit, "{state}");
    }
}

#[test]
fn nobody_waits_for_the_room_of_a_drained_daemon() {
    let policy = Policy { queue_length: 0, ..policy(0) };
    let mut story = Story::new(policy, &[("a", 0), ("b", 0)], LEARNT);
    story.set_daemon("a", AdminState::Drain);
    let capacity = Capacity { containers: 1, tier: 0 };
    story.tell(Event::DaemonResized { daemon: "b".into(), capacity });
    (0..2).for_each(|_| story.ask());
    assert_eq!(story.launched_since(0), ["b"]);
    assert_eq!(story.refused, [Refusal::QueueFull]);
}

#[test]
fn no_launch_is_held_for_a_drained_daemon_that_has_yet_to_answer() {
    for state in [AdminState::Drain, AdminState::Ready] {
        let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
        story.get_ready();
        let capacity = Capacity { containers: 9, tier: 0 };
        story.tell(Event::DaemonJoined { daemon: "b".into(), capacity });
        story.set_daemon("b", state);
        let before = story.launched.len();
        story.tell(Event::Died { launch: story.launched[0].0 });
        story.pass(Duration::from_secs(1));
        let held = state.is_ready();
        assert_eq!(story.launched_since(before).is_empty(), held, "{state}");
    }
}
