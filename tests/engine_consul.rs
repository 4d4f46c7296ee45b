//! A fleet that is discovered from a real Consul.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ganger_test_support::{Client, Config, Consul, Ending, Fleet, Ganger, labelled};

const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const DEADLINE: Duration = Duration::from_secs(60);

/// A configuration whose daemons are the instances of `docker` in a Consul.
fn discovered(name: &str, consul: &Consul, fields: &str) -> Config {
    let servers = consul.url();
    Config::new(name).discovery(format!(
        "Consul(servers: [{servers:?}], service: \"docker\", max_containers: 1, insecure: true{fields})"
    ))
}

/// How many containers of a program each host has.
fn spread(fleet: &Fleet, ganger: &Ganger) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for (host, _) in labelled(fleet.hosts(), &ganger.label()) {
        *spread.entry(host.name.clone()).or_default() += 1;
    }
    spread
}

#[test]
fn a_daemon_that_is_deregistered_under_load_drains_without_a_cut_connection() {
    let fleet = Fleet::exclusive();
    let consul = Consul::start(&fleet, "dc1", None);
    fleet.hosts().iter().for_each(|host| consul.register("docker", host, 4));
    let config = discovered("drained", &consul, "").fixture(
        "echo",
        "warm: 3, max: 12, network: Bridge",
        &[],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");

    // Four stay on each host, three each beside the stock, and others come and go.
    let mut held: Vec<_> = (0..6).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| client.echo("here I stay"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect(port);
                    client.echo(&format!("client {number}"));
                    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
                }
            });
        }
        let leaving = &fleet.hosts()[0];
        assert!(spread(&fleet, &ganger).contains_key(&leaving.name));
        consul.deregister(leaving);
        ganger.wait_for_line(DEADLINE, |line| {
            line.contains("left the fleet") && line.contains(&leaving.name)
        });
        for client in &mut held {
            client.echo("still here");
        }
        for client in held {
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        }
        ganger.wait_for_line(DEADLINE, |line| {
            line.contains(" drained ") && line.contains(&leaving.name)
        });
        assert!(!spread(&fleet, &ganger).contains_key(&leaving.name));
        stop.store(true, Ordering::Relaxed);
    });
    for line in ganger.lines().iter().filter(|line| line.contains("conn end")) {
        assert!(line.contains(" end=-- "), "{line}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn while_consul_is_away_the_fleet_stays_as_it_was() {
    let fleet = Fleet::exclusive();
    let mut consul = Consul::start(&fleet, "dc1", None);
    let (first, second) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    consul.register("docker", first, 4);
    let config = discovered("away", &consul, "").fixture("echo", "warm: 1, max: 8", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");

    consul.stop();
    ganger.wait_for_line(DEADLINE, |line| line.contains("Consul does not answer"));
    Client::connect(port).echo("all the same");
    consul.resume();
    ganger.wait_for_line(DEADLINE, |line| line.contains("Consul answers again"));
    consul.register("docker", second, 4);
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains("joined the fleet") && line.contains(&second.name)
    });
    Client::connect(port).echo("and again");
    assert_eq!(ganger.count("left the fleet"), 0);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_second_datacenter_is_used_only_when_the_first_is_full() {
    let fleet = Fleet::exclusive();
    let near = Consul::start(&fleet, "eu", None);
    let far = Consul::start(&fleet, "us", Some(&near));
    let (first, second) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    near.register("docker", first, 2);
    far.register("docker", second, 8);
    let config = discovered("far", &near, ", datacenters: [\"eu\", \"us\"]").fixture(
        "echo",
        "warm: 0, max: 8",
        &[],
    );
    fleet.load_images();
    let mut ganger = config.start(GANGER, &fleet);
    for host in [first, second] {
        ganger.wait_for_line(DEADLINE, |line| {
            line.contains("containers are reached") && line.contains(&host.name)
        });
    }
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    let port = config.port("echo");
    let mut held = Vec::new();
    for (clients, eu, us) in [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 2, 2)] {
        let mut client = Client::connect(port);
        client.echo("which one am I?");
        held.push(client);
        let spread = spread(&fleet, &ganger);
        let on = |name: &str| spread.get(name).copied().unwrap_or_default();
        assert_eq!((on(&first.name), on(&second.name)), (eu, us), "{clients} clients: {spread:?}");
    }
    drop(held);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn what_consul_lists_and_cannot_be_used_is_said() {
    let fleet = Fleet::exclusive();
    let consul = Consul::start(&fleet, "dc1", None);
    consul.register("docker", &fleet.hosts()[0], 0);
    let config = discovered("unfit", &consul, "").fixture("echo", "warm: 1, max: 2", &[]);
    let mut ganger = config.start(GANGER, &fleet);
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("cannot be a daemon"));
    assert!(line.contains(&fleet.hosts()[0].name) && line.contains("max_containers"), "{line}");
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    assert_eq!(Client::connect(config.port("echo")).ending(), Ending::Reset(Vec::new()));
    assert_eq!(ganger.stop(), 0);
}
