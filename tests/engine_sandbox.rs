//! Containers in network namespaces that are there before them.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Container, Ending, Fleet, Ganger, Host, labelled, wait_until,
};

const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const DEADLINE: Duration = Duration::from_secs(60);
const SANDBOX: &str = "io.ganger.sandbox";

/// Connects, is told whose host name it has and how many it has served, and leaves.
fn ask(port: u16) -> (String, u32) {
    let mut client = Client::connect(port);
    let line = client.line();
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    let (name, number) = line.split_once(' ').unwrap();
    (name.to_owned(), number.parse().unwrap())
}

fn holders<'a>(fleet: &'a Fleet, ganger: &Ganger) -> Vec<(&'a Host, Container)> {
    let mut found = labelled(fleet.all(), &ganger.label());
    found.retain(|(_, container)| container.label(SANDBOX).is_some());
    found
}

#[test]
fn containers_follow_each_other_in_sandboxes_and_each_is_fresh() {
    const CLIENTS: usize = 40;

    let fleet = Fleet::shared();
    let config = Config::new("pooled").daemon(fleet.hosts()[0].remote_daemon(20)).fixture(
        "published",
        "warm: 2, max: 6, sandbox: Pooled, reach: Published",
        &["identify"],
    );
    let sealed = Config::new("pooled").daemon(fleet.local().daemon(20)).fixture(
        "sealed",
        "warm: 2, max: 6, sandbox: Pooled, network: Sealed",
        &["identify"],
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
        assert!(!holders(&fleet, &ganger).is_empty(), "{service}");
        assert_eq!(ganger.stop(), 0);
        ganger.assert_nothing_left();
    }
}

#[test]
fn sandboxes_that_somebody_removes_cost_no_client_and_a_program_that_is_killed_leaves_none() {
    let fleet = Fleet::shared();
    let config = Config::new("holders").daemon(fleet.local().daemon(20)).fixture(
        "sealed",
        "warm: 2, max: 6, sandbox: Pooled, network: Sealed",
        &["identify"],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("sealed");
    assert_eq!(ask(port).1, 1);
    let before: BTreeSet<_> = holders(&fleet, &ganger).into_iter().map(|(_, c)| c.id).collect();
    for (host, holder) in holders(&fleet, &ganger) {
        host.remove(&holder.id);
    }
    assert!((0..10).all(|_| ask(port).1 == 1));
    let ends = ganger.wait_for_ends(11);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    let after = holders(&fleet, &ganger);
    assert!(!after.is_empty() && after.iter().all(|(_, c)| !before.contains(&c.id)), "{after:#?}");

    ganger.kill();
    wait_until(DEADLINE, "nothing is left", || labelled(fleet.all(), &ganger.label()).is_empty());
    ganger.wait_for_guardian(2 * DEADLINE);
}
