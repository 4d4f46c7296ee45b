//! Connections that are made ahead, for every kind of service.

use std::time::Duration;

use ganger_test_support::{Client, Config, Ending, Fleet, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// Services that accept a single connection, speak first, and wait for their client.
const KINDS: [(&str, &[&str]); 3] =
    [("once", &["--once"]), ("first", &["--banner", "220 ready"]), ("last", &[])];
const WAYS: [&str; 3] = ["Off", "Tcp", "Banner"];

fn name(kind: &str, way: &str) -> String {
    format!("{kind}-{}", way.to_lowercase())
}

#[test]
fn every_kind_of_service_works_with_and_without() {
    let fleet = Fleet::shared();
    let mut config = Config::new("preconnect").daemon(fleet.local().daemon(40));
    for (kind, command) in KINDS {
        for way in WAYS {
            let fields = format!("warm: 1, max: 4, network: Sealed, preconnect: {way}");
            config = config.fixture(&name(kind, way), &fields, command);
        }
    }
    let mut ganger = config.serve(GANGER, &fleet);
    for _ in 0..2 {
        for (kind, _) in KINDS {
            for way in WAYS {
                let mut client = Client::connect(config.port(&name(kind, way)));
                if kind == "first" {
                    assert_eq!(client.line(), "220 ready", "{kind}, {way}");
                }
                client.echo("hello");
                assert_eq!(client.finish(), Ending::Closed(Vec::new()), "{kind}, {way}");
            }
        }
    }
    let ends = ganger.wait_for_ends(2 * KINDS.len() * WAYS.len());
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:#?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn one_is_made_again_after_each_lease() {
    let fleet = Fleet::shared();
    let fields = "warm: 1, max: 1, reuse: 100, network: Sealed, preconnect: Banner";
    let config = Config::new("again").daemon(fleet.local().daemon(40));
    let config = config.fixture("echo", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(config.port("echo"));
        // The service says how many connections it has seen, this one included.
        let line = client.line();
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        ids.extend(line.split_once(' ').map(|(id, n)| (id.to_owned(), n.to_owned())));
    }
    let numbers: Vec<_> = ids.iter().map(|(_, number)| number.as_str()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"], "one connection for each client");
    assert!(ids.iter().all(|(id, _)| *id == ids[0].0));
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn one_that_waits_for_its_client_is_used_again_all_the_same() {
    let fleet = Fleet::shared();
    // A remote daemon, where a check takes longest.
    let fields = "warm: 1, max: 1, reuse: 100, preconnect: Banner";
    let config = Config::new("waits").daemon(fleet.hosts()[0].daemon(40));
    let config = config.fixture("echo", fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    for _ in 0..4 {
        let mut client = Client::connect(config.port("echo"));
        client.echo("hello");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let ends = ganger.wait_for_ends(4);
    let first = ends[0].field("container");
    assert!(ends.iter().all(|end| end.field("container") == first), "{ends:#?}");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn one_to_a_container_that_has_died_is_given_to_nobody() {
    let fleet = Fleet::shared();
    let (host, fields) = (fleet.local(), "warm: 3, max: 12, network: Sealed, preconnect: Tcp");
    let config = Config::new("dead").daemon(host.daemon(20)).fixture("echo", fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let label = ganger.label();
    let stock = || host.containers(&label).into_iter().map(|c| c.id).collect::<Vec<_>>();
    let before = stock();
    assert_eq!(before.len(), 3);
    for id in &before {
        let _ = host.docker(&["kill", id]);
    }
    for _ in 0..3 {
        let mut client = Client::connect(config.port("echo"));
        client.echo("hello");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let ends = ganger.wait_for_ends(3);
    for end in &ends {
        assert_eq!(end.field("end"), "--", "{end:?}");
        let dead = before.iter().any(|id| id.starts_with(end.field("container")));
        assert!(!dead, "{end:?}");
    }
    wait_until(DEADLINE, "a stock of others", || {
        stock().iter().filter(|id| !before.contains(id)).count() == 3
    });
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
