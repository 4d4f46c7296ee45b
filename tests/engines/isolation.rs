//! How far containers reach each other, and that the networks that part them are removed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ganger_test_support::{Client, Config, Container, Fleet, Ganger, Host, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
/// Some file.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rustfmt.toml");
/// Of the fixture.
const PORT: u16 = 7000;

/// A running container, as it is seen from inside the machine.
struct Inside {
    pid: String,
    ip: IpAddr,
    gateway: IpAddr,
}

/// The containers of a service, once it has so many that run.
fn inside(host: &Host, ganger: &Ganger, service: &str, count: usize) -> Vec<Inside> {
    found(host, ganger, count, |one| one.label("io.ganger.service") == Some(service))
}

/// The containers of a program that are wanted, once there are so many that run.
fn found(
    host: &Host,
    ganger: &Ganger,
    count: usize,
    wanted: impl Fn(&Container) -> bool,
) -> Vec<Inside> {
    const FORMAT: &str =
        "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}";
    let mut found = BTreeSet::new();
    wait_until(DEADLINE, "the containers are there", || {
        let all = host.containers(&ganger.label());
        let own = all.into_iter().filter(&wanted);
        found = own.filter(|one| one.state == "running").map(|one| one.id).collect();
        found.len() == count
    });
    let look = |id: &String| {
        let said = host.docker(&["inspect", "--format", FORMAT, id]);
        let words: Vec<_> = said.split_whitespace().collect();
        let [pid, ip, gateway] = words[..] else { panic!("{said}") };
        Inside { pid: pid.into(), ip: ip.parse().unwrap(), gateway: gateway.parse().unwrap() }
    };
    found.iter().map(look).collect()
}

// === impl Inside ===

impl Inside {
    /// Whether anybody answers there.
    fn reaches(&self, ip: IpAddr, port: u16) -> bool {
        match Client::try_connect_inside(&self.pid, SocketAddr::from((ip, port))) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
            Err(_) => false,
        }
    }
}

/// The containers of two strict clients, and what each reaches.
fn are_apart(fleet: &Fleet, host: &Host, daemon: String, reach: &str) {
    fleet.load_images();
    let fields = |more: &str| format!("warm: 1, max: 4, reach: {reach}{more}");
    let config = Config::new("apart")
        .daemon(daemon)
        .fixture("one", &fields(""), &[])
        .fixture("two", &fields(""), &[])
        .fixture("pooled", &fields(", sandbox: Pooled, read_only: true"), &[])
        .fixture("bridge", &fields(", network: Bridge"), &[]);
    let mut ganger = config.serve(GANGER, fleet);
    for service in ["one", "two", "pooled", "bridge"] {
        ganger.wait_until_stocked(service);
    }
    let mut clients = [(); 2].map(|()| Client::connect(config.port("one")));
    clients.iter_mut().for_each(|client| client.echo("hello"));
    let all = inside(host, &ganger, "one", 3);
    let other = &inside(host, &ganger, "two", 1)[0];
    let bridge = &inside(host, &ganger, "bridge", 1)[0];
    // Its network is that of its holder; another one is made ahead.
    let pooled = &found(host, &ganger, 2, |one| one.label("io.ganger.sandbox").is_some())[0];
    let kind = &host.kind;
    for (at, one) in all.iter().enumerate() {
        assert!(one.reaches(one.ip, PORT), "{kind}: what is there can be seen");
        let rest = all.iter().enumerate().filter(|(other, _)| *other != at);
        for (_, neighbour) in rest {
            assert!(!one.reaches(neighbour.ip, PORT), "{kind}: another of its service");
        }
        assert!(!one.reaches(other.ip, PORT), "{kind}: one of another service");
        assert!(!one.reaches(bridge.ip, PORT), "{kind}: one on the engine's own network");
        assert!(!one.reaches(pooled.ip, PORT), "{kind}: one in a sandbox");
        assert!(!pooled.reaches(one.ip, PORT), "{kind}: from a sandbox");
        // On the machine, it reaches what containers reach by default.
        assert!(one.reaches(one.gateway, 9) || !bridge.reaches(bridge.gateway, 9), "{kind}");
    }
    assert!(!other.reaches(all[0].ip, PORT), "{kind}: neither the other way");
    assert_eq!(ganger.count("reach each other"), 0, "{kind}");
    drop(clients);
    assert_eq!(ganger.stop(), 0, "{kind}");
    ganger.assert_nothing_left();
}

#[test]
fn containers_reach_neither_each_other_nor_those_on_the_engine_s_network() {
    // A fleet of its own: an engine that makes a network changes the rules between all of them.
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    are_apart(&fleet, host, host.daemon(16), "Namespace");
    are_apart(&fleet, host, host.remote_daemon(16), "Published");
}

#[test]
fn containers_of_every_kind_reach_neither_each_other_nor_those_on_the_engine_s_network() {
    let fleet = Fleet::other_kinds();
    fleet.all().iter().for_each(|host| are_apart(&fleet, host, host.daemon(16), "Namespace"));
}

#[test]
fn a_killed_run_leaves_no_network_and_no_volume_on_any_kind() {
    let fleet = Fleet::other_kinds();
    // Its secrets are in a volume.
    let fields = format!("warm: 2, max: 4, secrets: {{\"key\": {FILE:?}}}");
    for host in fleet.all() {
        let config = Config::new("network").daemon(host.daemon(8));
        let config = config.fixture("echo", &fields, &[]);
        let mut ganger = config.serve(GANGER, &fleet);
        assert!(!host.try_networks(&ganger.label()).unwrap().is_empty(), "{}", host.kind);
        assert_eq!(host.try_volumes(&ganger.label()).unwrap().len(), 1, "{}", host.kind);
        ganger.kill();
        ganger.wait_for_guardian(DEADLINE);
        ganger.assert_nothing_left();

        // Without its guardian, the next run finds them.
        let mut ganger = config.serve(GANGER, &fleet);
        let guardian = ganger.children();
        ganger.kill();
        for pid in guardian {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let mut next = config.serve(GANGER, &fleet);
        wait_until(DEADLINE, "the networks and volumes of the killed run are gone", || {
            let boot = next.boot();
            let counts = |label: &str| {
                [host.try_networks(label).unwrap().len(), host.try_volumes(label).unwrap().len()]
            };
            counts(&next.label()) == counts(&boot)
        });
        assert_eq!(next.stop(), 0, "{}", host.kind);
        next.assert_nothing_left();
    }
}

#[test]
fn an_engine_that_sets_no_firewall_rules_is_warned_of() {
    let fleet = Fleet::shared();
    // The local engine leaves the machine's firewall alone.
    let host = fleet.local();
    let config = Config::new("open").daemon(host.daemon(8)).fixture("echo", "warm: 3, max: 4", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_for_line(DEADLINE, |line| line.contains("reach each other"));
    assert_eq!(ganger.count("reach each other"), 1);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_network_that_somebody_removed_is_made_again() {
    let fleet = Fleet::shared();
    let host = &fleet.hosts()[0];
    let config = Config::new("pruned").daemon(host.daemon(8)).fixture("echo", "warm: 0", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    Client::connect(config.port("echo")).echo("hello");
    wait_until(DEADLINE, "the container is gone", || host.containers(&ganger.label()).is_empty());
    for network in host.try_networks(&ganger.label()).unwrap() {
        let _ = host.docker(&["network", "rm", network.trim_matches('"')]);
    }
    Client::connect(config.port("echo")).echo("hello");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
