//! How the stock is spread over the daemons.

#[path = "support/story.rs"]
mod story;

use std::time::Duration;

use ganger_pool::core::{
    Capacity, DaemonName, Event, Fault, Generation, Outcome, Policy, State, WaiterId,
};
use story::{LEARNT, Story};

const SECOND: Duration = Duration::from_secs(1);

fn warm(warm: u32) -> Policy {
    Policy { warm, ..Policy::default() }
}

/// A daemon answers, is listed, and can launch the service.
fn answer(story: &mut Story, name: &str) {
    let (daemon, service, generation) = (DaemonName::from(name), "s".into(), Generation(1));
    story.tell(Event::DaemonUp { daemon: daemon.clone(), launches: LEARNT });
    story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
    story.list(name, &[]);
}

/// A fleet that has yet to answer: each with its capacity and tier.
fn silent(policy: Policy, daemons: &[(&str, u32, u32)]) -> Story {
    let mut story = Story::new(policy, &[], LEARNT);
    for (name, capacity, tier) in daemons {
        let capacity = Capacity { containers: *capacity, tier: *tier };
        story.tell(Event::DaemonJoined { daemon: (*name).into(), capacity });
    }
    story
}

/// The stock is on a daemon alone; another one has joined.
fn joined_late(policy: Policy) -> Story {
    let mut story = silent(policy, &[("a", 8, 0)]);
    answer(&mut story, "a");
    story.get_ready();
    let capacity = Capacity { containers: 8, tier: 0 };
    story.tell(Event::DaemonJoined { daemon: "b".into(), capacity });
    answer(&mut story, "b");
    story
}

/// Passes time, in which launches get ready and retired containers go, each after a second;
/// returns the smallest stock after the first second.
fn settle(story: &mut Story, time: Duration) -> u32 {
    let mut least = u32::MAX;
    for _ in 0..time.as_secs() {
        story.pass(SECOND);
        story.get_ready();
        story.remove_retired();
        least = least.min(story.counts(State::Idle));
    }
    least
}

fn on(story: &Story, names: &[&str]) -> Vec<u32> {
    let snapshot = story.ledger.snapshot();
    names
        .iter()
        .map(|name| snapshot.daemon(name).map_or(0, |daemon| daemon.counts.total()))
        .collect()
}

#[test]
fn the_first_stock_does_not_lie_on_the_daemon_that_answers_first() {
    for (stock, expected) in [(4, [2, 2, 0]), (6, [2, 2, 2])] {
        let names = ["a", "b", "c"];
        let names = if expected[2] == 0 { &names[..2] } else { &names[..] };
        let fleet: Vec<_> = names.iter().map(|name| (*name, 8, 0)).collect();
        let mut story = silent(warm(stock), &fleet);
        for name in names {
            answer(&mut story, name);
            story.pass(Duration::from_millis(300));
        }
        assert_eq!(on(&story, names), expected[..names.len()], "{stock} on {}", names.len());
    }
}

#[test]
fn a_daemon_that_does_not_answer_holds_the_others_up_for_a_moment_only() {
    let mut story = silent(warm(4), &[("a", 8, 0), ("b", 8, 0)]);
    answer(&mut story, "a");
    story.pass(SECOND);
    assert_eq!(story.launched.len(), 0);
    story.pass(SECOND);
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
}

#[test]
fn a_daemon_that_is_down_holds_nobody_up() {
    let mut story = silent(warm(4), &[("a", 8, 0), ("b", 8, 0)]);
    answer(&mut story, "a");
    story.down("b", "no answer");
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
}

#[test]
fn a_daemon_of_a_later_tier_holds_nobody_up() {
    let mut story = silent(warm(4), &[("a", 8, 0), ("b", 8, 1)]);
    answer(&mut story, "a");
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
}

#[test]
fn a_client_does_not_wait_for_daemons_that_may_come() {
    let mut story = silent(warm(0), &[("a", 8, 0), ("b", 8, 0)]);
    answer(&mut story, "a");
    story.ask();
    assert_eq!(on(&story, &["a", "b"]), [1, 0]);
}

#[test]
fn a_service_that_is_added_waits_for_those_that_prepare_for_it() {
    let mut story = Story::new(warm(0), &[("a", 0), ("b", 0)], LEARNT);
    let (service, generation) = ("t".into(), Generation(1));
    story.tell(Event::ServiceAdded { service, policy: warm(4), generation });
    for daemon in ["a", "b"] {
        assert_eq!(story.launched.len(), 0);
        let (service, daemon) = ("t".into(), daemon.into());
        story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
    }
    assert_eq!(on(&story, &["a", "b"]), [2, 2]);
}

#[test]
fn the_stock_moves_to_a_daemon_that_joins_and_is_never_smaller_than_wanted() {
    let mut story = joined_late(warm(4));
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
    assert_eq!(settle(&mut story, 60 * SECOND), 4, "launched first, then retired");
    assert_eq!(on(&story, &["a", "b"]), [2, 2]);
    let launched = story.launched.len();
    settle(&mut story, 600 * SECOND);
    assert_eq!(story.launched.len(), launched, "what is spread stays");
}

#[test]
fn the_stock_moves_by_share_of_the_capacity() {
    let mut story = silent(warm(6), &[("a", 12, 0)]);
    answer(&mut story, "a");
    story.get_ready();
    let capacity = Capacity { containers: 6, tier: 0 };
    story.tell(Event::DaemonJoined { daemon: "b".into(), capacity });
    answer(&mut story, "b");
    settle(&mut story, 120 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [4, 2]);
}

#[test]
fn the_stock_moves_to_an_earlier_tier_and_not_to_a_later_one() {
    for (tier, expected) in [(1, [0, 4]), (3, [4, 0])] {
        let mut story = silent(warm(4), &[("a", 8, 2)]);
        answer(&mut story, "a");
        story.get_ready();
        let capacity = Capacity { containers: 8, tier };
        story.tell(Event::DaemonJoined { daemon: "b".into(), capacity });
        answer(&mut story, "b");
        settle(&mut story, 120 * SECOND);
        assert_eq!(on(&story, &["a", "b"]), expected, "tier {tier}");
    }
}

#[test]
fn one_more_or_less_on_a_daemon_is_not_worth_a_launch() {
    for (stock, expected) in [(2, [2, 0]), (3, [2, 1])] {
        let mut story = joined_late(warm(stock));
        settle(&mut story, 60 * SECOND);
        assert_eq!(on(&story, &["a", "b"]), expected);
    }
}

#[test]
fn nothing_moves_where_there_is_no_room_for_one_more() {
    let mut story = joined_late(Policy { max: 4, ..warm(4) });
    settle(&mut story, 60 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
}

#[test]
fn nothing_of_a_service_moves_while_its_clients_come() {
    let mut story = joined_late(warm(4));
    story.pass(4 * SECOND);
    story.ask();
    let (leased, fresh) = (story.granted[0], story.launched[4].0);
    story.tell(Event::Returned { launch: leased, outcome: Outcome::Unused });
    story.get_ready();
    story.tell(Event::Died { launch: fresh });
    story.remove_retired();
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
    story.pass(4 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [4, 0]);
    story.pass(10 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [4, 1]);
}

#[test]
fn beside_clients_of_other_services_only_a_move_that_pays_well_is_made() {
    let mut story = joined_late(warm(4));
    let (service, generation) = ("t".into(), Generation(1));
    story.tell(Event::ServiceAdded { service, policy: warm(0), generation });
    for n in 1000..1060 {
        let (waiter, deadline) = (WaiterId(n), story.now);
        story.tell(Event::Lease { waiter, service: "t".into(), deadline });
        settle(&mut story, SECOND);
    }
    assert_eq!(on(&story, &["a", "b"]), [3, 1]);
}

#[test]
fn beside_others_only_a_move_that_pays_well_is_made() {
    for (others, expected) in [(0, [2, 2]), (1, [4, 0])] {
        let mut story = joined_late(warm(4));
        story.list_beside("b", &[], others);
        settle(&mut story, 120 * SECOND);
        assert_eq!(on(&story, &["a", "b"]), expected, "{others}");
    }
}

#[test]
fn a_move_that_fails_costs_the_service_nothing_and_is_tried_ever_more_seldom() {
    let mut story = joined_late(warm(4));
    let before = story.launched.len();
    for _ in 0..3600 {
        story.pass(SECOND);
        if let Some(launch) = story.launched.last().filter(|(_, daemon)| daemon.as_str() == "b") {
            let launch = launch.clone();
            story.fail(launch, Fault::Service);
        }
    }
    let tried = story.launched.len() - before;
    assert!((8..=13).contains(&tried), "{tried} times in an hour");
    let service = story.ledger.snapshot().services[0].clone();
    assert_eq!((service.failing, service.counts[State::Idle]), (None, 4));
    // Once it works, it goes on.
    settle(&mut story, 1000 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [2, 2]);
}

#[test]
fn a_client_takes_what_is_launched_to_be_moved() {
    let mut story = joined_late(warm(4));
    let before = story.launched.len();
    story.pass(6 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [4, 1]);
    (0..5).for_each(|_| story.ask());
    assert_eq!(story.launched.len(), before + 5, "4 for the stock; one is on its way");
    story.get_ready();
    assert_eq!(story.granted.len(), 5);
    assert_eq!(story.retired, []);
}

#[test]
fn removals_that_take_long_do_not_make_moves_overshoot() {
    let policy = Policy { max: 40, ..warm(12) };
    let mut story = silent(policy, &[("a", 40, 0)]);
    answer(&mut story, "a");
    story.get_ready();
    let capacity = Capacity { containers: 40, tier: 0 };
    story.tell(Event::DaemonJoined { daemon: "b".into(), capacity });
    answer(&mut story, "b");
    for _ in 0..300 {
        story.pass(SECOND);
        story.get_ready();
        assert!(on(&story, &["b"])[0] <= 6, "{:?}", on(&story, &["a", "b"]));
    }
    assert_eq!(on(&story, &["a", "b"]), [12, 6], "six of the first are being removed");
    settle(&mut story, 120 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [6, 6]);
}

#[test]
fn what_was_begun_is_finished_although_a_removal_takes_long() {
    let mut story = joined_late(Policy { max: 5, ..warm(4) });
    // Until it is confirmed there is no room for one more.
    for _ in 0..18 {
        story.pass(SECOND);
        story.get_ready();
    }
    assert_eq!(on(&story, &["a", "b"]), [4, 1], "one of the first is being removed");
    settle(&mut story, 60 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [2, 2]);
}

#[test]
fn a_client_corrects_what_was_begun_for_nothing() {
    let mut story = joined_late(warm(4));
    settle(&mut story, 7 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [3, 1]);
    story.ask();
    let launch = story.granted[0];
    story.tell(Event::Returned { launch, outcome: Outcome::Unused });
    settle(&mut story, 60 * SECOND);
    assert_eq!(on(&story, &["a", "b"]), [3, 1]);
}
