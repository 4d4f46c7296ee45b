//! Histories of the ledger that are told event by event.

#[path = "support/story.rs"]
mod story;

use std::time::Duration;

use ganger_pool::core::{
    Capacity, ContainerKey, Event, Fault, Generation, LaunchId, Launches, Outcome, Policy, Proof,
    State, WaiterId,
};
use story::{LEARNT, MOMENT, Story, USUAL};

/// On demand alone.
fn classic() -> Policy {
    Policy { warm: 0, max: 100, queue_length: 100, ..Policy::default() }
}

fn vouching(warm: u32) -> Policy {
    Policy { warm, max: warm, stale_after: Duration::from_secs(30), ..Policy::default() }
}

#[test]
fn a_burst_is_not_repeated_whole() {
    let mut story = Story::new(classic(), &[("a", 0), ("b", 0)], LEARNT).served_before(30);
    let before = story.launched.len();
    (0..4).for_each(|_| story.ask());
    assert_eq!(story.launched.len(), before + 4);
    story.pass(4 * USUAL);
    assert_eq!(story.launched.len(), before + 5, "one at a time for those that take long");
    story.get_ready();
    assert_eq!(story.counts(State::Idle), 1, "what is not needed is stock");
    story.ask();
    let mut story = story.served_before(70);
    let before = story.launched.len();
    (0..4).for_each(|_| story.ask());
    story.pass(4 * USUAL);
    assert_eq!(story.launched.len(), before + 5, "and another when the first is over");
}

#[test]
fn a_launch_is_repeated_where_launches_work() {
    let daemons = [("a", 0), ("b", 1), ("c", 2)];
    let mut story = Story::new(classic(), &daemons, Launches::Fixed(1)).served_before(30);
    // Away from the first for a moment, so that the second gets one, and fails it.
    story.ask();
    let before = story.launched.len();
    story.ask();
    assert_eq!(story.launched_since(before), ["b"]);
    let failed = story.launched[before].clone();
    story.fail(failed, Fault::Daemon);
    assert_eq!(story.launched_since(before), ["b", "c"]);
    story.get_ready();
    story.pass(Duration::from_secs(50));
    let before = story.launched.len();
    story.ask();
    story.pass(4 * USUAL);
    assert_eq!(story.launched_since(before), ["a", "c"]);
}

#[test]
fn what_fails_is_not_launched_twice_at_once() {
    let mut story = Story::new(classic(), &[("a", 0), ("b", 0)], LEARNT).served_before(30);
    story.ask();
    let first = story.launched.last().unwrap().clone();
    story.fail(first, Fault::Service);
    let before = story.launched.len();
    story.pass(Duration::from_secs(30));
    assert_eq!(story.launched_since(before).len(), 1);
}

#[test]
fn an_engine_that_fails_so_many_at_once_is_given_fewer() {
    // An engine that starts eight at a time, and of more none before its deadline.
    let policy = Policy { warm: 40, max: 60, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    let (mut at, mut failed, mut most) = (0, 0, Vec::new());
    while most.len() < 60 {
        let round: Vec<_> = story.launched[at..].to_vec();
        if round.is_empty() {
            story.pass(Duration::from_secs(6));
            continue;
        }
        at = story.launched.len();
        most.push(round.len());
        story.now += if round.len() > 8 { Duration::from_secs(30) } else { USUAL };
        let too_many = round.len() > 8;
        for (launch, daemon) in round {
            if too_many {
                failed += 1;
                story.fail((launch, daemon), Fault::Daemon);
                continue;
            }
            story.tell(Event::Started { launch });
            story.tell(Event::Ready { launch });
            story.ask();
            story.tell(Event::Returned { launch, outcome: Outcome::Clean });
            story.tell(Event::Removed { daemon, key: ContainerKey::Launch(launch) });
        }
    }
    assert!(failed <= 9, "{failed} failed; in flight by round: {most:?}");
}

#[test]
fn the_last_of_several_launches_does_not_show_what_one_takes_alone() {
    let launches = Launches::Learnt { first: 2, most: 32 };
    let mut story = Story::new(classic(), &[("a", 0)], launches).served_before(3);
    let mut at = story.launched.len();
    for _ in 0..30 {
        (0..8).for_each(|_| story.ask());
        while at < story.launched.len() {
            let round = story.launched[at..].to_vec();
            at = story.launched.len();
            // More at once are no gain at all.
            story.now += if round.len() > 1 { 15 * USUAL } else { USUAL };
            for (launch, _) in &round {
                story.tell(Event::Started { launch: *launch });
            }
            for (launch, daemon) in round {
                story.tell(Event::Ready { launch });
                story.tell(Event::Returned { launch, outcome: Outcome::Clean });
                story.tell(Event::Removed { daemon, key: ContainerKey::Launch(launch) });
            }
        }
    }
    (0..8).for_each(|_| story.ask());
    assert!(story.launched.len() - at <= 2, "{} at once", story.launched.len() - at);
}

#[test]
fn an_outage_is_one_however_it_is_told() {
    let mut story = Story::new(vouching(3), &[("a", 0)], LEARNT);
    story.get_ready();
    for reason in ["no answer", "refused", "no answer"] {
        story.down("a", reason);
        for (launch, _) in story.launched.clone() {
            story.tell(Event::Checked { launch, proof: Some(Proof::Itself) });
        }
    }
    assert_eq!((story.checks, story.counts(State::Idle)), (3, 3));
}

#[test]
fn what_only_its_address_vouches_for_does_so_for_as_long_as_the_daemon_s_word_is_good() {
    for (proof, known) in [(Proof::Itself, 1), (Proof::Address, 0)] {
        let mut story = Story::new(vouching(1), &[("a", 0)], LEARNT);
        story.get_ready();
        let launch = story.launched[0].0;
        story.down("a", "no answer");
        story.tell(Event::Checked { launch, proof: Some(proof) });
        assert_eq!(story.counts(State::Idle), 1);
        story.pass(Duration::from_secs(30));
        assert_eq!((story.counts(State::Checking), story.checks), (1, 2));
        story.tell(Event::Checked { launch, proof: Some(proof) });
        assert_eq!(story.counts(State::Idle), known, "{proof:?}");
        story.tell(Event::DaemonUp { daemon: "a".into(), launches: LEARNT });
        story.list("a", &[launch]);
        assert_eq!(story.counts(State::Idle), 1, "{proof:?}");
    }
}

/// A daemon was away, and its only container is being checked; it is back and lists it.
fn shown_while_it_is_checked() -> (Story, LaunchId) {
    let mut story = Story::new(vouching(1), &[("a", 0)], LEARNT);
    story.get_ready();
    let launch = story.launched[0].0;
    story.down("a", "no answer");
    story.now += MOMENT;
    story.tell(Event::DaemonUp { daemon: "a".into(), launches: LEARNT });
    story.list("a", &[launch]);
    (story, launch)
}

#[test]
fn a_list_is_better_than_a_check_that_had_no_engine() {
    let (mut story, launch) = shown_while_it_is_checked();
    story.tell(Event::Checked { launch, proof: None });
    story.ask();
    assert_eq!(story.granted, [launch]);
}

#[test]
fn what_was_shown_at_a_place_before_holds_nothing_at_the_next() {
    for (proof, idle) in [(None, 0), (Some(Proof::Address), 0), (Some(Proof::Itself), 1)] {
        let (mut story, launch) = shown_while_it_is_checked();
        let capacity = Capacity { containers: 50, tier: 0 };
        story.tell(Event::DaemonJoined { daemon: "a".into(), capacity });
        story.tell(Event::Checked { launch, proof });
        assert_eq!(story.counts(State::Idle), idle, "{proof:?}");
        story.tell(Event::DaemonUp { daemon: "a".into(), launches: LEARNT });
        story.list("a", &[launch]);
        assert_eq!(story.counts(State::Idle), 1, "{proof:?}");
    }
}

#[test]
fn a_daemon_that_moves_again_before_there_was_contact_has_no_stock_either() {
    let (mut story, launch) = shown_while_it_is_checked();
    let capacity = Capacity { containers: 50, tier: 0 };
    story.tell(Event::DaemonJoined { daemon: "a".into(), capacity });
    story.tell(Event::Checked { launch, proof: Some(Proof::Itself) });
    assert_eq!(story.counts(State::Idle), 1);
    story.tell(Event::DaemonJoined { daemon: "a".into(), capacity });
    assert_eq!((story.counts(State::Idle), story.counts(State::Unknown)), (0, 1));
}

#[test]
fn launches_that_get_late_in_the_same_moment_are_repeated_where_there_is_room_for_each() {
    let policy = Policy { hedge_after: 1, ..classic() };
    let mut story = Story::new(policy, &[("a", 0)], Launches::Fixed(40)).served_before(1);
    (0..40).for_each(|_| story.ask());
    // Daemon b may have one launch in flight, and two of 40 may be repeated.
    let (daemon, capacity) = ("b".into(), Capacity { containers: 50, tier: 0 });
    story.tell(Event::DaemonJoined { daemon, capacity });
    story.tell(Event::DaemonUp { daemon: "b".into(), launches: Launches::Fixed(1) });
    let (daemon, service, generation) = ("b".into(), "s".into(), Generation(1));
    story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
    story.list("b", &[]);
    let before = story.launched.len();
    story.pass(USUAL);
    assert_eq!(story.launched_since(before), ["b"]);
}

#[test]
fn what_a_daemon_lists_goes_before_what_vouches_for_itself() {
    let policy = Policy { max: 8, ..vouching(4) };
    let mut story = Story::new(policy, &[("a", 0), ("b", 0)], Launches::Fixed(2));
    story.get_ready();
    let on = |story: &Story, name: &str| -> Vec<LaunchId> {
        let launched = story.launched.iter();
        launched.filter(|(_, daemon)| daemon.as_str() == name).map(|(launch, _)| *launch).collect()
    };
    let (gone, there) = (on(&story, "a"), on(&story, "b"));
    assert_eq!((gone.len(), there.len()), (2, 2));
    story.down("a", "no answer");
    for launch in gone {
        story.tell(Event::Checked { launch, proof: Some(Proof::Itself) });
    }
    (0..2).for_each(|_| story.ask());
    assert_eq!(story.granted, there);
}

#[test]
fn an_unused_lease_that_ends_in_a_drain_is_the_end_of_its_container() {
    let policy = Policy { stale_after: Duration::ZERO, ..vouching(1) };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.get_ready();
    story.ask();
    let launch = story.granted[0];
    story.down("a", "no answer");
    story.tell(Event::Drain);
    story.tell(Event::Returned { launch, outcome: Outcome::Unused });
    assert_eq!(story.counts(State::Retiring), 1);
}

#[test]
fn a_list_without_more_than_half_of_what_is_known_has_to_be_confirmed() {
    for (shown, after_one) in [(0, 4), (1, 4), (2, 2), (3, 3)] {
        let policy = Policy { warm: 4, max: 4, ..Policy::default() };
        let mut story = Story::new(policy, &[("a", 0)], LEARNT);
        story.get_ready();
        let launched: Vec<_> = story.launched.iter().map(|(launch, _)| *launch).collect();
        story.list("a", &launched[..shown]);
        assert_eq!(story.counts(State::Idle), after_one, "{shown} of 4");
        story.list("a", &launched[..shown]);
        assert_eq!(story.counts(State::Idle), shown as u32, "{shown} of 4, twice");
    }
}

#[test]
fn a_list_that_was_wrong_is_not_confirmed_by_one_after_a_right_one() {
    let policy = Policy { warm: 4, max: 4, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.get_ready();
    let launched: Vec<_> = story.launched.iter().map(|(launch, _)| *launch).collect();
    for shown in [0, 4, 0] {
        story.list("a", &launched[..shown]);
        assert_eq!(story.counts(State::Idle), 4, "{shown} of 4");
    }
}

#[test]
fn failures_of_what_was_rolled_back_are_nobody_s() {
    for fault in [Fault::Service, Fault::Daemon] {
        let mut story = Story::new(vouching(1), &[("a", 0)], LEARNT);
        story.get_ready();
        let change = |generation| Event::ServiceChanged {
            service: "s".into(),
            policy: Policy { max: 4, ..vouching(1) },
            generation: Generation(generation),
        };
        story.tell(change(2));
        let (daemon, service, generation) = ("a".into(), "s".into(), Generation(2));
        story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
        assert_eq!(story.launched.len(), 2, "one on trial");
        story.tell(change(1));
        let trial = story.launched[1].clone();
        story.fail(trial, fault);
        let snapshot = story.ledger.snapshot();
        assert_eq!(snapshot.services[0].totals.launch_failures, 0, "{fault:?}");
        assert_eq!(
            (&snapshot.services[0].last_error, &snapshot.daemons[0].degraded),
            (&None, &None)
        );
    }
}

#[test]
fn launches_that_fail_with_one_another_are_one_failure_of_their_daemon() {
    let mut story = Story::new(vouching(2), &[("a", 0)], Launches::Fixed(2));
    story.now += MOMENT;
    for launch in story.launched.clone() {
        story.fail(launch, Fault::Daemon);
        story.now += MOMENT;
    }
    story.pass(Duration::from_millis(200));
    assert_eq!(story.launched.len(), 3, "after the first pause, not the second");
}

#[test]
fn what_comes_back_while_another_generation_takes_over_is_not_used_again() {
    let policy = Policy { reuse: 9, max: 16, ..vouching(3) };
    let mut story = Story::new(policy.clone(), &[("a", 0)], LEARNT);
    story.get_ready();
    story.ask();
    let (service, generation) = ("s".into(), Generation(2));
    story.tell(Event::ServiceChanged { service, policy, generation });
    let (daemon, service) = ("a".into(), "s".into());
    story.tell(Event::Prepared { daemon, service, generation, result: Ok(()) });
    let trial = story.launched.last().unwrap().0;
    story.tell(Event::Started { launch: trial });
    story.tell(Event::Ready { launch: trial });
    assert!(story.ledger.snapshot().services[0].rollout.is_some(), "old stock is left");
    let launch = story.granted[0];
    story.tell(Event::Returned { launch, outcome: Outcome::Clean });
    assert_eq!(story.checks, 0);
    assert!(story.retired.contains(&("a".into(), ContainerKey::Launch(launch))));
}

#[test]
fn an_engine_that_has_become_slower_is_not_taken_for_one_that_has_too_much_to_do() {
    let mut story = Story::new(classic(), &[("a", 0)], LEARNT).served_before(10);
    // Launches come one at a time, so that only the engine can be slow.
    (0..40).for_each(|_| story.serve(5 * USUAL));
    for _ in 0..4 {
        let before = story.launched.len();
        (0..8).for_each(|_| story.ask());
        assert_eq!(story.launched.len(), before + 8, "as many as to begin with");
        story.pass(5 * USUAL);
        story.get_ready();
        let launched = story.launched[before..].to_vec();
        for (launch, daemon) in launched {
            story.tell(Event::Returned { launch, outcome: Outcome::Clean });
            story.tell(Event::Removed { daemon, key: ContainerKey::Launch(launch) });
        }
    }
}

#[test]
fn a_stock_is_too_large_for_as_long_as_since_it_was_not_last() {
    let policy = Policy { warm: 1, max: 8, queue_length: 8, ..Policy::default() };
    let keep = policy.surplus_after;
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    story.get_ready();
    // Two come, and leave before what is launched for them is ready.
    let too_many = |story: &mut Story| {
        (0..3).for_each(|_| story.ask());
        let granted = story.granted.last().copied().unwrap();
        for waiter in [story.waiters - 1, story.waiters] {
            story.tell(Event::Abandoned { waiter: WaiterId(waiter) });
        }
        story.get_ready();
        story.tell(Event::Returned { launch: granted, outcome: Outcome::Clean });
        story.remove_retired();
    };
    too_many(&mut story);
    assert_eq!(story.counts(State::Idle), 3);
    story.pass(keep / 2);
    // Two of them are taken: what is left is not too large.
    for _ in 0..2 {
        story.ask();
        let launch = story.granted.last().copied().unwrap();
        story.tell(Event::Returned { launch, outcome: Outcome::Clean });
    }
    story.remove_retired();
    assert_eq!(story.counts(State::Idle), 1);
    too_many(&mut story);
    assert_eq!(story.counts(State::Idle), 3);
    story.pass(keep - MOMENT);
    assert_eq!(story.counts(State::Idle), 3);
    story.pass(2 * MOMENT);
    // They came one after the other, so that there were two all along.
    assert_eq!(story.counts(State::Idle), 2);
    story.pass(keep);
    assert_eq!(story.counts(State::Idle), 1);
}

#[test]
fn nothing_gives_way_on_a_daemon_that_cannot_launch_what_is_rolled_out() {
    let policy = Policy { warm: 1, max: 8, reuse: 9, ..Policy::default() };
    let mut story = Story::new(policy.clone(), &[("a", 0), ("b", 1)], LEARNT);
    // Both daemons are full: one of its container, the other of somebody else's.
    let capacity = Capacity { containers: 1, tier: 0 };
    story.tell(Event::DaemonResized { daemon: "a".into(), capacity });
    story.list_beside("b", &[], 50);
    story.get_ready();
    story.ask();
    let launch = story.granted[0];
    let generation = Generation(2);
    story.tell(Event::ServiceChanged { service: "s".into(), policy, generation });
    for (daemon, result) in [("a", Err("it has no image".into())), ("b", Ok(()))] {
        let (daemon, service) = (daemon.into(), "s".into());
        story.tell(Event::Prepared { daemon, service, generation, result });
    }
    story.tell(Event::Returned { launch, outcome: Outcome::Clean });
    assert_eq!((story.checks, story.retired.len()), (1, 0), "it is used again");
}

#[test]
fn what_comes_back_gives_way_to_what_is_rolled_out_where_there_is_no_room_beside_it() {
    let lent = |max: u32| {
        let policy = Policy { warm: 1, max, reuse: 9, ..Policy::default() };
        let mut story = Story::new(policy.clone(), &[("a", 0)], LEARNT);
        for _ in 0..2 {
            story.get_ready();
            story.ask();
        }
        story.get_ready();
        let generation = Generation(2);
        story.tell(Event::ServiceChanged { service: "s".into(), policy, generation });
        let (daemon, service, result) = ("a".into(), "s".into(), Ok(()));
        story.tell(Event::Prepared { daemon, service, generation, result });
        let launch = story.granted[0];
        story.tell(Event::Returned { launch, outcome: Outcome::Clean });
        (story, launch)
    };
    // Both containers that there may be have a client.
    let (story, launch) = lent(2);
    let gone = [("a".into(), ContainerKey::Launch(launch))];
    assert_eq!((story.checks, &story.retired[..]), (0, &gone[..]), "it makes room");
    // With room beside it, one of the new generation is on its way already.
    let (story, _) = lent(8);
    assert_eq!((story.checks, story.retired.len()), (1, 0), "it is used again");
}

#[test]
fn the_emptiest_stock_is_launched_for_first_and_before_it_whoever_waits_longest() {
    let policy = |warm| Policy { warm, max: 9, ..Policy::default() };
    let mut story = Story::new(policy(3), &[("a", 0)], Launches::Fixed(1));
    story.get_ready();
    assert_eq!(story.counts(State::Idle), 3);
    let launching = |story: &Story| {
        let services = story.ledger.snapshot().services;
        services.iter().map(|s| s.counts[State::Launching]).collect::<Vec<_>>()
    };
    let (service, generation, result) = ("t", Generation(1), Ok(()));
    story.tell(Event::ServiceAdded { service: service.into(), policy: policy(4), generation });
    let (daemon, service) = ("a".into(), service.into());
    story.tell(Event::Prepared { daemon, service, generation, result });
    assert_eq!(launching(&story), [0, 1]);
    // The first has three of four in stock, the second none.
    let (service, policy) = ("s".into(), policy(4));
    story.tell(Event::ServiceChanged { service, policy, generation });
    let first = story.launched.last().unwrap().0;
    story.tell(Event::Started { launch: first });
    story.tell(Event::Ready { launch: first });
    assert_eq!(launching(&story), [0, 1], "of the emptier stock");
    // Three clients of the one take what there is, and the fourth waits.
    (0..4).for_each(|_| story.ask());
    let second = story.launched.last().unwrap().0;
    story.tell(Event::Started { launch: second });
    story.tell(Event::Ready { launch: second });
    assert_eq!(launching(&story), [1, 0], "for who waits");
}

#[test]
fn of_a_service_that_is_removed_the_stock_goes_at_once_and_launches_are_interrupted() {
    let policy = Policy { warm: 3, max: 3, ..Policy::default() };
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    let launched: Vec<_> = story.launched.iter().map(|(launch, _)| *launch).collect();
    story.tell(Event::Started { launch: launched[0] });
    story.tell(Event::Ready { launch: launched[0] });
    story.tell(Event::Started { launch: launched[1] });
    story.tell(Event::ServiceRemoved { service: "s".into() });
    let gone = [("a".into(), ContainerKey::Launch(launched[0]))];
    assert_eq!(story.retired, gone, "the stock");
    assert_eq!(story.interrupted, [launched[1]], "what is started, and waited for");
    // A container that is about to be started is interrupted as soon as it is.
    story.tell(Event::Started { launch: launched[2] });
    assert_eq!(story.interrupted[1..], launched[2..]);
}

#[test]
fn after_a_failure_launches_of_a_service_come_one_at_a_time_until_one_gets_ready() {
    let policy = Policy { warm: 3, max: 9, ..Policy::default() };
    let pause = policy.backoff.after(1);
    let mut story = Story::new(policy, &[("a", 0)], LEARNT);
    assert_eq!(story.launched.len(), 3);
    story.pass(MOMENT);
    // Launches ordered before the first failure was known count as one with it.
    for launch in story.launched.clone() {
        story.fail(launch, Fault::Service);
    }
    story.pass(pause);
    assert_eq!(story.launched.len(), 4, "one that tries");
    story.get_ready();
    assert_eq!(story.launched.len(), 6, "and the rest of the stock");
}
