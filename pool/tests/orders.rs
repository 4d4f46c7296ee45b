//! Histories of the ledger in which the operator looks at it, and has containers retired.

#[path = "support/story.rs"]
mod story;

use ganger_pool::core::{
    Event, Fault, LaunchId, Outcome, Policy, Proof, RetireReason, Retirement, ServiceView, State,
};
use story::{LEARNT, MOMENT, Story};

impl Story {
    /// Orders a container to be retired; returns what that comes to.
    fn retire(&mut self, launch: LaunchId) -> Retirement {
        let retirement = self.ledger.retirement(launch);
        self.tell(Event::Retire { launch });
        retirement
    }

    fn view(&self) -> ServiceView {
        self.ledger.snapshot().services.remove(0)
    }

    fn state(&self, launch: LaunchId) -> Option<(State, Option<RetireReason>)> {
        let containers = self.ledger.containers(None, usize::MAX);
        let view = containers.iter().find(|view| view.launch == launch)?;
        Some((view.state, view.retire_reason))
    }
}

fn policy(warm: u32) -> Policy {
    Policy { warm, max: 10, reuse: 5, ..Policy::default() }
}

const OPERATOR: Option<RetireReason> = Some(RetireReason::Operator);

#[test]
fn a_container_in_stock_or_being_checked_goes_at_once_and_is_replaced() {
    let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
    story.get_ready();
    let first = story.launched[0].0;
    assert_eq!(story.retire(first), Retirement::AtOnce);
    assert_eq!(story.state(first), Some((State::Retiring, OPERATOR)));
    assert_eq!(story.retire(first), Retirement::UnderWay);
    assert_eq!((story.retired.len(), story.launched.len()), (1, 2));
    story.remove_retired();
    assert_eq!(story.retire(first), Retirement::Unknown);

    story.get_ready();
    story.ask();
    let second = story.granted[0];
    story.tell(Event::Returned { launch: second, outcome: Outcome::Clean });
    assert_eq!(story.state(second), Some((State::Checking, None)));
    assert_eq!(story.retire(second), Retirement::AtOnce);
    story.tell(Event::Checked { launch: second, proof: Some(Proof::Itself) });
    assert_eq!(story.state(second), Some((State::Retiring, OPERATOR)));
    assert_eq!(story.view().totals.retired, [(RetireReason::Operator, 2)].into());
}

#[test]
fn a_leased_container_goes_after_its_lease_however_that_ends() {
    for outcome in [Outcome::Clean, Outcome::Unused] {
        let mut story = Story::new(policy(1), &[("a", 0)], LEARNT);
        story.get_ready();
        story.ask();
        let launch = story.granted[0];
        assert_eq!(story.retire(launch), Retirement::AfterLease);
        assert_eq!(story.state(launch), Some((State::Leased, OPERATOR)));
        assert_eq!(story.retire(launch), Retirement::UnderWay);
        story.tell(Event::Returned { launch, outcome });
        assert_eq!(story.state(launch), Some((State::Retiring, OPERATOR)), "{outcome:?}");
    }
}

#[test]
fn a_launch_goes_when_it_can_be_ended_and_is_nobodys_failure() {
    let mut story = Story::new(policy(2), &[("a", 0)], LEARNT);
    let [started, ordered] = [story.launched[0].clone(), story.launched[1].clone()];
    story.tell(Event::Started { launch: started.0 });
    for (launch, _) in [&started, &ordered] {
        assert_eq!(story.retire(*launch), Retirement::AtOnce);
        assert_eq!(story.retire(*launch), Retirement::UnderWay);
    }
    assert_eq!(story.interrupted[0], started.0);
    assert_eq!(story.state(ordered.0), Some((State::Launching, OPERATOR)));
    story.fail(started, Fault::Unwanted);
    story.tell(Event::Started { launch: ordered.0 });
    assert_eq!(story.interrupted.last(), Some(&ordered.0));
    story.tell(Event::Ready { launch: ordered.0 });
    assert_eq!(story.state(ordered.0), Some((State::Retiring, OPERATOR)));
    assert_eq!(story.launched.len(), 4, "each is launched again, without a pause");
    let failing = story.launched[2].clone();
    story.retire(failing.0);
    story.fail(failing, Fault::Service);
    assert_eq!(story.launched.len(), 5, "without a pause, even if it was about to fail");
    assert_eq!(story.view().totals.launch_failures, 0);
}

#[test]
fn a_view_tells_what_is_in_flight_and_who_has_waited_longest() {
    let mut story = Story::new(Policy { max: 2, ..policy(0) }, &[("a", 0)], LEARNT);
    let daemon = |story: &Story| {
        let view = story.ledger.snapshot().daemons.remove(0);
        (view.in_flight, view.launch_limit)
    };
    assert_eq!((story.view().max, story.view().oldest_wait, daemon(&story)), (2, None, (0, 8)));
    let came = story.now;
    for _ in 0..3 {
        story.ask();
        story.now += MOMENT;
    }
    assert_eq!((story.view().oldest_wait, daemon(&story)), (Some(came), (2, 8)));
    story.get_ready();
    assert_eq!((story.view().waiting, daemon(&story)), (1, (0, 8)));
    assert_eq!(story.view().oldest_wait, Some(came + 2 * MOMENT));
    story.tell(Event::Returned { launch: story.granted[0], outcome: Outcome::Failed });
    story.remove_retired();
    let failing = story.launched[2].clone();
    story.fail(failing, Fault::Daemon);
    assert_eq!(daemon(&story), (0, 1), "one that tries");
}

#[test]
fn containers_are_told_in_parts_with_what_is_known_of_each() {
    let mut story = Story::new(policy(3), &[("a", 0)], LEARNT);
    let launched = story.now - MOMENT;
    let all = |story: &Story| story.ledger.containers(None, usize::MAX);
    assert!(all(&story).iter().all(|view| view.since == view.launched));
    story.get_ready();
    story.now += MOMENT;
    story.ask();
    let views = all(&story);
    let leased = views.iter().find(|view| view.state == State::Leased).unwrap();
    assert_eq!((leased.launch, leased.uses, leased.since), (story.granted[0], 1, story.now));
    assert!(leased.launched > launched && leased.launched < leased.since);
    assert_eq!((leased.service.as_str(), leased.daemon.as_str()), ("s", "a"));
    let first = story.ledger.containers(None, 2);
    let rest = story.ledger.containers(first.last().map(|view| view.launch), 2);
    assert_eq!((first.len(), rest.len()), (2, 2), "three, and one for the one that was leased");
    assert_eq!([first, rest].concat(), views);
}
