//! Containers in network namespaces that are there before them.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Container, Ending, Fleet, Ganger, Host, SURE, labelled, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const SANDBOX: &str = "io.ganger.sandbox";

/// Connects, is told whose host name it has and how many it has served, and leaves. Before it
/// nobody has left anything in the files that an engine gives a container.
pub(crate) fn ask(port: u16) -> (String, u32) {
    let mut client = Client::connect(port);
    let line = client.line();
    assert_eq!(client.line(), "0", "traces of another");
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    let (name, number) = line.split_once(' ').unwrap();
    (name.to_owned(), number.parse().unwrap())
}

/// Holders, and the containers in their networks.
fn found<'a>(fleet: &'a Fleet, ganger: &Ganger) -> (Found<'a>, Found<'a>) {
    let all = labelled(fleet.all(), &ganger.label());
    all.into_iter().partition(|(_, container)| container.label(SANDBOX).is_some())
}

type Found<'a> = Vec<(&'a Host, Container)>;

fn ids(found: Found<'_>) -> BTreeSet<String> {
    found.into_iter().map(|(_, container)| container.id).collect()
}

#[test]
fn containers_follow_each_other_in_sandboxes_and_each_is_fresh() {
    const CLIENTS: usize = 40;

    let fleet = Fleet::shared();
    let config = Config::new("pooled").daemon(fleet.hosts()[0].remote_daemon(20)).fixture(
        "published",
        "warm: 2, max: 6, sandbox: Pooled, read_only: true, reach: Published",
        &["identify", "--traces"],
    );
    let sealed = Config::new("pooled").daemon(fleet.local().daemon(20)).fixture(
        "sealed",
        "warm: 2, max: 6, sandbox: Pooled, read_only: true, network: Sealed",
        &["identify", "--traces"],
    );
    for (service, config) in [("published", config), ("sealed", sealed)] {
        let mut ganger = config.serve(GANGER, &fleet);
        let port = config.port(service);
        let seen: Vec<_> = (0..CLIENTS).map(|_| ask(port)).collect();
        assert!(seen.iter().all(|(_, number)| *number == 1), "{service}: {seen:?}");
        let ends = ganger.wait_for_ends(CLIENTS);
        assert!(ends.iter().all(|end| end.field("end") == "--"), "{service}: {ends:?}");
        let containers: BTreeSet<_> = ends.iter().map(|end| end.field("container")).collect();
        assert_eq!(containers.len(), CLIENTS, "{service}: none serves twice");
        // A container that joins another's network has its host name as well.
        let names: BTreeSet<_> = seen.into_iter().map(|(name, _)| name).collect();
        assert!((1..=CLIENTS / 3).contains(&names.len()), "{service}: {names:?}");
        assert!(!found(&fleet, &ganger).0.is_empty(), "{service}");
        assert_eq!(ganger.stop(), 0);
        ganger.assert_nothing_left();
    }
}

#[test]
fn sandboxes_that_somebody_removes_cost_no_client_and_a_program_that_is_killed_leaves_none() {
    let fleet = Fleet::shared();
    let config = Config::new("holders").daemon(fleet.local().daemon(20)).fixture(
        "bridged",
        "warm: 2, max: 6, sandbox: Pooled, read_only: true",
        &["identify", "--traces"],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("bridged");
    assert_eq!(ask(port).1, 1);
    ganger.wait_for_ends(1);
    let (before, guests) = found(&fleet, &ganger);
    for (host, holder) in &before {
        host.remove(&holder.id);
    }
    // The remaining guests have no network any more, though they run.
    let (before, guests) = (ids(before), ids(guests));
    wait_until(DEADLINE, "the stock is another", || {
        ids(found(&fleet, &ganger).1).is_disjoint(&guests)
    });
    assert!((0..10).all(|_| ask(port).1 == 1));
    let ends = ganger.wait_for_ends(11);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    let after = ids(found(&fleet, &ganger).0);
    assert!(!after.is_empty() && after.is_disjoint(&before), "{after:#?}");

    ganger.kill();
    wait_until(DEADLINE, "nothing is left", || labelled(fleet.all(), &ganger.label()).is_empty());
    ganger.wait_for_guardian(SURE);
}

#[test]
fn a_service_without_so_reuseaddr_that_closes_first_serves_everybody() {
    const CLIENTS: usize = 15;

    let fleet = Fleet::shared();
    let command = ["--no-reuse", "--banner", "hello", "--source", "1"];
    let fields = "warm: 1, max: 3, sandbox: Pooled, read_only: true, \
                  queue: (length: 16, timeout: \"60s\"), ready: Banner(\"hello\")";
    for network in ["network: Sealed", "network: Bridge"] {
        let fields = format!("{fields}, {network}");
        let config = Config::new("closes").daemon(fleet.local().daemon(20));
        let config = config.fixture("first", &fields, &command);
        let mut ganger = config.serve(GANGER, &fleet);
        let port = config.port("first");
        for _ in 0..CLIENTS {
            let mut client = Client::connect(port);
            assert_eq!(client.line(), "hello");
            assert!(matches!(client.ending(), Ending::Closed(rest) if rest.len() == 1));
        }
        let ends = ganger.wait_for_ends(CLIENTS);
        assert!(ends.iter().all(|end| end.field("end") == "--"), "{network}: {ends:?}");
        assert_eq!(ganger.count("launch failed"), 0, "{network}");
        assert_eq!(ganger.stop(), 0);
        ganger.assert_nothing_left();
    }
}
