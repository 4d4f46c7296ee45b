//! The process stood still (SIGSTOP, a suspended machine): whatever is told first afterwards,
//! each deadline that has passed meanwhile counts as passed.

#[path = "support/story.rs"]
mod story;

use std::time::Duration;

use ganger_pool::core::{Event, Fault, Policy, Proof, Refusal, State};
use story::{LEARNT, MOMENT, Story};

const LONG: Duration = Duration::from_secs(100);

#[test]
fn nobody_gets_a_container_that_got_too_old_meanwhile() {
    let policy = Policy { warm: 6, max_age: Some(LONG), ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.get_ready();
    story.stall(LONG);
    (0..8).for_each(|_| story.ask());
    assert_eq!(story.granted, [], "older than `max_age`");
    assert_eq!(story.counts(State::Retiring), 6);
}

#[test]
fn nobody_gets_a_container_whose_word_is_too_old_meanwhile() {
    let policy = Policy { warm: 1, stale_after: LONG, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.get_ready();
    let launch = story.launched[0].0;
    story.down("a", "no answer");
    story.tell(Event::Checked { launch, proof: Some(Proof::Itself) });
    assert_eq!(story.counts(State::Idle), 1);
    story.stall(LONG);
    story.ask();
    assert_eq!(story.granted, []);
    assert_eq!(story.counts(State::Checking), 1, "it proves itself again first");
}

#[test]
fn nobody_is_served_after_its_deadline() {
    let policy = Policy { warm: 0, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.ask();
    let launch = story.launched[0].0;
    story.tell(Event::Started { launch });
    story.stall(Duration::from_secs(60));
    story.tell(Event::Ready { launch });
    assert_eq!(story.granted, []);
    assert!(matches!(story.refused[..], [Refusal::TimedOut { .. }]), "{:?}", story.refused);
    assert_eq!(story.counts(State::Idle), 1, "what was launched for it is there for others");
}

#[test]
fn nobody_is_refused_for_a_pause_that_is_over() {
    let policy = Policy { warm: 1, failing_after: 2, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    for _ in 0..2 {
        story.pass(Duration::from_secs(1));
        let launch = story.launched.last().unwrap().clone();
        story.fail(launch, Fault::Service);
    }
    story.ask();
    assert!(matches!(story.refused[..], [Refusal::Failing { .. }]), "{:?}", story.refused);
    story.stall(LONG);
    story.ask();
    assert_eq!(story.refused.len(), 1, "{:?}", story.refused);
}

#[test]
fn a_deadline_that_has_passed_before_it_is_told_passes_at_once() {
    let mut story = Story::new(Policy { warm: 0, ..Policy::default() }, &[("a", 0)], LEARNT);
    let late = story.now - MOMENT;
    story.ask_until(late);
    assert!(matches!(story.refused[..], [Refusal::TimedOut { .. }]), "{:?}", story.refused);
}

#[test]
fn nothing_is_launched_for_whoever_has_no_time_left() {
    let policy = Policy { warm: 0, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.ask_until(story.now);
    assert!(matches!(story.refused[..], [Refusal::TimedOut { .. }]), "{:?}", story.refused);
    assert_eq!(story.launched, []);
}
