//! Many connections on several daemons: where they go, who waits, who is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ganger_test_support::{Client, Config, Ending, Fleet, Watch, labelled, wait_until};

use crate::GANGER;

/// Three daemons that hold 4, 8 and 12 containers, by their sockets or over TCP.
fn three(name: &str, fleet: &Fleet, remote: bool) -> Config {
    fleet.hosts().iter().fold(Config::new(name), |config, host| {
        let daemon =
            if remote { host.remote_daemon(host.capacity) } else { host.daemon(host.capacity) };
        config.daemon(daemon)
    })
}

/// How many containers each host has, running ones.
fn running(fleet: &Fleet, label: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (host, container) in labelled(fleet.hosts(), label) {
        if container.state == "running" {
            *counts.entry(host.name.clone()).or_default() += 1;
        }
    }
    counts
}

fn capacities(fleet: &Fleet) -> BTreeMap<String, usize> {
    fleet.hosts().iter().map(|host| (host.name.clone(), host.capacity as usize)).collect()
}

/// Holds 24 connections, then one more, on a fleet that has room for 24.
fn fill_and_overflow(fleet: &Fleet, config: &Config) {
    let mut ganger = config.serve(GANGER, fleet);
    let port = config.port("id");
    let watch = Watch::start(fleet.hosts(), &ganger.label());

    // Connections come one by one, and go where the smallest share is in use, so that all
    // shares grow alike.
    let (mut held, mut lines) = (Vec::new(), BTreeSet::new());
    for _ in 0..12 {
        let mut client = Client::connect(port);
        lines.insert(client.line());
        held.push(client);
    }
    let halves = capacities(fleet).into_iter().map(|(name, capacity)| (name, capacity / 2));
    assert_eq!(running(fleet, &ganger.label()), halves.collect());

    let mut more: Vec<_> = (0..12).map(|_| Client::connect(port)).collect();
    lines.extend(more.iter_mut().map(Client::line));
    held.append(&mut more);
    assert_eq!(lines.len(), 24, "every connection has a container of its own: {lines:?}");
    assert!(lines.iter().all(|line| line.ends_with(" 1")), "{lines:?}");
    assert_eq!(running(fleet, &ganger.label()), capacities(fleet));

    // The last client is served by the room that the end of another makes, and not before:
    // as none else has ended, it must have waited.
    let mut last = Client::connect(port);
    last.send("are you there?\n");
    let mut first = held.pop().unwrap();
    first.echo("still here");
    assert_eq!(ganger.wait_for_ends(0), []);
    assert!(matches!(first.finish(), Ending::Closed(_)));
    let line = last.line();
    assert!(line.ends_with(" 1") && !lines.contains(&line), "{line}");
    assert_eq!(last.line(), "are you there?");
    held.push(last);

    for client in held {
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let ends = ganger.wait_for_ends(25);
    let mut served: BTreeMap<_, usize> = BTreeMap::new();
    for end in &ends {
        assert_eq!((end.field("end"), end.field("start")), ("--", "cold"), "{end:?}");
        *served.entry(end.field("daemon").to_owned()).or_default() += 1;
    }
    // The 25th went where the one that ended had been.
    let freed = ends[0].field("daemon").to_owned();
    let mut expected = capacities(fleet);
    *expected.get_mut(&freed).unwrap() += 1;
    assert_eq!(served, expected);

    assert_eq!(ganger.stop(), 0);
    assert_eq!(watch.stop(), capacities(fleet), "the most that each host has ever had");
}

#[test]
fn twenty_four_connections_fill_three_daemons_and_the_next_one_waits() {
    let fleet = Fleet::take(3);
    let fields = "warm: 0, max: 64, network: Sealed, reach: Namespace";
    let config = three("fill", &fleet, false).fixture("id", fields, &["identify"]);
    fill_and_overflow(&fleet, &config);
}

#[test]
fn the_same_holds_over_the_network() {
    let fleet = Fleet::take(3);
    let fields = "warm: 0, max: 64, network: Bridge, reach: Published";
    // A probe by published port is a connection, which is not to count.
    let config = three("remote", &fleet, true).fixture("id", fields, &["identify", "--lazy"]);
    // Lazy: it identifies itself to who speaks first.
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    let watch = Watch::start(fleet.hosts(), &ganger.label());
    let mut held: Vec<_> = (0..24).map(|_| Client::connect(port)).collect();
    let mut ids = BTreeSet::new();
    for client in &mut held {
        client.send("hello\n");
        let line = client.line();
        assert!(line.ends_with(" 1") && ids.insert(line.clone()), "{line}");
    }
    assert_eq!(running(&fleet, &ganger.label()), capacities(&fleet));
    drop(held);
    ganger.wait_for_ends(24);
    assert_eq!(ganger.stop(), 0);
    assert_eq!(watch.stop(), capacities(&fleet));
}

#[test]
fn a_hundred_clients_at_once_are_each_served_or_refused() {
    let fleet = Fleet::take(1);
    let fields = "warm: 1, max: 6, network: Sealed, queue: (length: 10, timeout: \"50s\")";
    let host = &fleet.hosts()[0];
    let config = Config::new("crowd").daemon(host.daemon(4)).fixture("id", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    let watch = Watch::start(std::slice::from_ref(host), &ganger.label());

    // All are connected before any is done, so that all compete.
    let all = Barrier::new(100);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let client = || {
            let mut client = Client::connect(port);
            all.wait();
            let line = client.try_line();
            let ending = client.finish();
            (line, ending)
        };
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let served: BTreeSet<_> = outcomes.iter().filter_map(|(line, _)| line.as_ref().ok()).collect();
    let count = outcomes.iter().filter(|(line, _)| line.is_ok()).count();
    assert_eq!(served.len(), count, "every client has a container of its own");
    for (line, ending) in &outcomes {
        match (line, ending) {
            (Ok(line), Ending::Closed(_)) => assert!(line.ends_with(" 1"), "{line}"),
            // The reset came with the first read, which alone is told of it, or with the connect.
            (Err(error), Ending::Closed(_) | Ending::Reset(_)) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
            other => panic!("neither served nor refused: {other:?}"),
        }
    }
    // 4 get what there is room for, and 10 wait for them, at the least.
    assert!((14..100).contains(&count), "{count} were served");

    let ends = ganger.wait_for_ends(100);
    let refused: Vec<_> = ends.iter().filter(|end| end.field("end") != "--").collect();
    assert_eq!(refused.len(), 100 - count);
    for end in refused {
        assert_eq!((end.field("end"), end.reason()), ("PQ", "the queue is full"), "{end:?}");
    }
    assert_eq!(ganger.stop(), 0);
    let most = watch.stop()[&host.name];
    assert!(most <= 4, "{most} containers at once where there is room for 4");
}

#[test]
fn clients_wait_for_the_queue_s_time_out_and_leave_the_queue_when_they_hang_up() {
    let fleet = Fleet::take(1);
    let fields = "warm: 0, max: 8, network: Sealed, queue: (length: 2, timeout: \"12s\")";
    let host = &fleet.hosts()[0];
    let config = Config::new("wait").daemon(host.daemon(1)).fixture("id", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("id");
    let mut holder = Client::connect(port);
    let mine = holder.line();

    // Two fill the queue; one of them leaves, and so makes room in it for one
    // of two others.
    let patient = Client::connect(port);
    let leaver = Client::connect(port);
    let leaver_port = leaver.port();
    drop(leaver);
    assert_eq!(ganger.wait_for_end(leaver_port).field("end"), "CQ");
    let waiting = [patient, Client::connect(port), Client::connect(port)];
    for mut client in waiting {
        assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    }
    let ends = ganger.wait_for_ends(4);
    let reasons: Vec<_> = ends.iter().map(|end| (end.field("end"), end.reason())).collect();
    let late = ("PQ", "no container became free in time");
    assert_eq!(reasons[1..], [("PQ", "the queue is full"), late, late]);

    holder.echo("still here");
    assert_eq!(holder.finish(), Ending::Closed(Vec::new()));
    // The room is given to the next one: nothing waits for those who gave up.
    let line = Client::connect(port).line();
    assert!(line.ends_with(" 1") && line != mine, "{line}");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn the_first_stock_is_spread_over_the_daemons_whichever_answers_first() {
    let fleet = Fleet::shared();
    let two = &fleet.hosts()[1..3];
    // Equal, whatever they hold.
    let config =
        two.iter().fold(Config::new("spread"), |config, host| config.daemon(host.daemon(4)));
    let fields = "warm: 4, max: 8, network: Sealed, reach: Namespace";
    let mut ganger = config.fixture("id", fields, &["identify"]).serve(GANGER, &fleet);
    let expected: BTreeMap<_, _> = two.iter().map(|host| (host.name.clone(), 2)).collect();
    ganger.wait_until_stocked("id");
    // Moves make up for a daemon that answers late.
    wait_until(Duration::from_secs(60), "the stock is 2 and 2", || {
        running(&fleet, &ganger.label()) == expected
    });
    assert_eq!(ganger.stop(), 0);
}
