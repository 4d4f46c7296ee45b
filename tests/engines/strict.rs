//! Which container a connection gets: one that nobody had before, or one that
//! was given back in good order, and never one that somebody has.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use ganger_test_support::{Client, Config, Ending, Fleet, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// The line of the fixture's `identify`: its container, and how many connections
/// it has seen.
fn identity(line: &str) -> (String, u32) {
    let (id, number) = line.split_once(' ').unwrap();
    (id.to_owned(), number.parse().unwrap())
}

fn every_host(name: &str, fleet: &Fleet, capacity: u32) -> Config {
    fleet.all().iter().fold(Config::new(name), |config, host| config.daemon(host.daemon(capacity)))
}

/// Connects, is told who serves, and leaves in good order.
fn ask(port: u16) -> (String, u32) {
    let mut client = Client::connect(port);
    let line = client.line();
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    identity(&line)
}

#[test]
fn three_hundred_connections_get_three_hundred_fresh_containers() {
    let fleet = Fleet::take(3);
    let fields = "warm: 8, max: 32, network: Sealed, queue: (length: 64, timeout: \"60s\")";
    let config = every_host("strict", &fleet, 8).fixture("id", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");

    let mut seen: Vec<_> = (0..100).map(|_| ask(port)).collect();
    thread::scope(|scope| {
        let clients = (0..8).map(|_| scope.spawn(|| (0..25).map(|_| ask(port)).collect()));
        let clients: Vec<thread::ScopedJoinHandle<'_, Vec<_>>> = clients.collect();
        clients.into_iter().for_each(|client| seen.extend(client.join().unwrap()));
    });
    assert_eq!(seen.len(), 300);
    assert!(seen.iter().all(|(_, number)| *number == 1), "{seen:?}");
    let ids: BTreeSet<_> = seen.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 300, "no container serves twice");

    let ends = ganger.wait_for_ends(300);
    assert!(ends.iter().all(|end| (end.field("end"), end.field("uses")) == ("--", "1/1")));
    let logged: BTreeSet<_> = ends.iter().map(|end| end.field("container").to_owned()).collect();
    assert_eq!(logged, ids, "the log names the container that each one had");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_container_is_reused_as_often_as_allowed_and_never_by_two_at_once() {
    const CLIENTS: usize = 6;
    const TURNS: usize = 10;

    let fleet = Fleet::take(3);
    // Fewer containers than clients, so that each is wanted again at once.
    let fields = "reuse: 3, warm: 2, max: 4, network: Sealed";
    let config = every_host("reuse", &fleet, 1).fixture("id", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    let hold = || {
        let mut client = Client::connect(port);
        let (id, number) = identity(&client.line());
        // From here until it lets go, nobody else may have this container.
        let from = Instant::now();
        (0..5).for_each(|turn| client.echo(&turn.to_string()));
        let until = Instant::now();
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        (id, number, from, until)
    };
    let mut holds: BTreeMap<String, Vec<(u32, Instant, Instant)>> = BTreeMap::new();
    thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| scope.spawn(|| (0..TURNS).map(|_| hold()).collect()));
        let clients: Vec<thread::ScopedJoinHandle<'_, Vec<_>>> = clients.collect();
        for (id, number, from, until) in clients.into_iter().flat_map(|c| c.join().unwrap()) {
            holds.entry(id).or_default().push((number, from, until));
        }
    });
    for (id, holds) in &mut holds {
        holds.sort_unstable();
        let numbers: Vec<_> = holds.iter().map(|(number, ..)| *number).collect();
        let expected: Vec<_> = (1..=u32::try_from(holds.len()).unwrap()).collect();
        assert_eq!(numbers, expected, "{id} was connected to by its clients, and by no probe");
        assert!(holds.len() <= 4, "{id} had {} leases where 4 are allowed", holds.len());
        for pair in holds.windows(2) {
            assert!(pair[0].2 <= pair[1].1, "{id} had two clients at once");
        }
    }
    assert_eq!(holds.values().map(Vec::len).sum::<usize>(), CLIENTS * TURNS);
    assert!(holds.values().any(|holds| holds.len() == 4), "{holds:?}");

    let ends = ganger.wait_for_ends(CLIENTS * TURNS);
    for end in &ends {
        let (uses, most) = end.field("uses").split_once('/').unwrap();
        assert_eq!((uses == "1", most), (end.field("start") != "reused", "4"), "{end:?}");
        assert_eq!(end.field("end"), "--", "{end:?}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn what_did_not_end_well_is_not_reused() {
    let fleet = Fleet::take(1);
    let fields = "reuse: 9, warm: 0, max: 1, network: Sealed";
    let config = Config::new("spoilt").daemon(fleet.hosts()[0].daemon(1)).fixture(
        "id",
        fields,
        &["identify"],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    let (first, _) = ask(port);
    let mut client = Client::connect(port);
    assert_eq!(client.line(), format!("{first} 2"), "it was given back");
    let reset = client.port();
    client.reset();
    assert_eq!(ganger.wait_for_end(reset).field("end"), "CD");
    let (second, number) = ask(port);
    assert!(second != first && number == 1, "{second} {number}");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_container_that_is_too_old_is_not_reused() {
    let fleet = Fleet::take(1);
    let fields = "reuse: 9, warm: 0, max: 1, max_age: \"3s\", network: Sealed";
    let config =
        Config::new("old").daemon(fleet.hosts()[0].daemon(1)).fixture("id", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    let mut client = Client::connect(port);
    let (first, _) = identity(&client.line());
    let since = Instant::now();
    wait_until(DEADLINE, "it is old", || since.elapsed() > Duration::from_secs(3));
    // Age ends no lease.
    client.echo("still here");
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    let (second, number) = ask(port);
    assert!(second != first && number == 1, "{second} {number}");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn readiness_by_namespace_uses_up_no_connection() {
    let fleet = Fleet::shared();
    // The service accepts once in its life.
    let command = ["identify", "--once", "--delay", "300ms"];
    let fields = "warm: 2, max: 4, network: Bridge, reach: Namespace";
    let config =
        Config::new("once").daemon(fleet.local().daemon(40)).fixture("id", fields, &command);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    for _ in 0..6 {
        let mut client = Client::connect(port);
        assert_eq!(identity(&client.line()).1, 1);
        client.echo("served");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    assert_eq!(ganger.stop(), 0);
}
