//! Daemons on other machines whose packets do not come through.

use std::time::{Duration, Instant};

use ganger_test_support::{Client, Config, Ending, Fleet, Host, Packets, Ride, STRICT, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
/// How long a client may wait in the queue, and the 10 s that a dial may take here beyond others.
const QUEUE: Duration = Duration::from_secs(15 + 10);

/// Of the one service that has it.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// Ports are published, as on other machines.
const FIELDS: &str = "warm: 4, max: 12, network: Bridge, reach: Published, \
                      ready: Tcp(linger: \"20ms\"), queue: (length: 32, timeout: \"15s\"), \
                      connect: (timeout: \"15s\")";

/// A service on the first two hosts, which are reached over the network.
fn two(name: &str, fleet: &Fleet) -> Config {
    let hosts = fleet.hosts()[..2].iter();
    let config = hosts.fold(Config::new(name), |config, host| config.daemon(host.remote_daemon(6)));
    config.fixture("id", FIELDS, STRICT)
}

#[test]
fn packets_that_are_dropped_for_a_moment_cost_nothing() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two("moment", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(&fleet.hosts()[..2], 1);
        let (rule, since) = (fleet.meddle(host, Packets::Dropped), Instant::now());
        // On their way when the fault ends.
        held.iter_mut().for_each(|held| held.client.send("in the dark\n"));
        wait_until(DEADLINE, "two seconds are over", || since.elapsed() > Duration::from_secs(2));
        drop(rule);
        held.iter_mut().for_each(|held| assert_eq!(held.client.line(), "in the dark"));
        ride.served_on(host);
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!((ride.said("contact lost", host), ride.crowd.refused()), (0, 0));
    });
}

/// A daemon that is out of reach costs the connections on it, and no client more.
fn goes_dark<F>(name: &str, fault: impl FnOnce(&Fleet, &Host) -> F) {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two(name, &fleet), QUEUE, |ride| {
        let mut held = ride.hold(&fleet.hosts()[..2], 1);
        let fault = fault(&fleet, host);
        for held in &mut held {
            held.client.send("in the dark\n");
            if held.host == host.name {
                // Within the time-out of 15 s; the minute of the client's own is longer.
                assert_eq!(held.client.ending(), Ending::Reset(Vec::new()));
                assert_eq!(ride.ganger.wait_for_end(held.client.port()).field("end"), "sD");
            } else {
                assert_eq!(held.client.line(), "in the dark");
            }
        }
        ride.says("contact lost", host, 1);
        ride.served_more();
        drop(fault);
        ride.is_back(host);
        let well = held.into_iter().filter(|held| held.host != host.name);
        well.for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_daemon_whose_packets_are_dropped_costs_the_connections_on_it_and_no_client_more() {
    goes_dark("dark", |fleet, host| fleet.meddle(host, Packets::Dropped));
}

#[test]
fn a_daemon_whose_link_is_down_costs_the_connections_on_it_and_no_client_more() {
    goes_dark("link", Fleet::cut);
}

#[test]
fn a_daemon_whose_api_alone_is_out_of_reach_costs_no_open_connection() {
    let fleet = Fleet::take(2);
    for (number, packets) in [(1, Packets::ApiDropped), (0, Packets::ApiReset)] {
        let host = &fleet.hosts()[number];
        Ride::run(GANGER, &fleet, &two("api", &fleet), QUEUE, |ride| {
            let mut held = ride.hold(&fleet.hosts()[..2], 1);
            let rule = fleet.meddle(host, packets);
            ride.says("contact lost", host, 1);
            held.iter_mut().for_each(|held| held.client.echo("without it"));
            ride.served_more();
            drop(rule);
            ride.is_back(host);
            held.into_iter().for_each(|held| held.ends_well());
            assert_eq!(ride.crowd.refused(), 0);
        });
    }
}

#[test]
fn stock_whose_daemon_s_api_alone_is_out_of_reach_is_leased_while_it_can_be_talked_to() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let config = Config::new("stale").daemon(host.remote_daemon(6)).fixture(
        "echo",
        // With `Tcp`, the kernel is asked about a container on this machine.
        "warm: 3, max: 6, network: Bridge, reach: Published, stale_after: \"5s\", \
         ready: Exchange(send: \"?\\n\", expect: \"?\")",
        &[],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let (rule, since) = (fleet.meddle(host, Packets::ApiDropped), Instant::now());
    ganger.wait_for_line(DEADLINE, |line| line.contains("contact lost"));
    assert!(since.elapsed() > STALE_AFTER, "what was known of it is too old");
    for _ in 0..2 {
        let mut client = Client::connect(port);
        let port = client.port();
        client.echo("is anybody there?");
        client.reset();
        assert_eq!(ganger.wait_for_end(port).field("daemon"), host.name);
    }

    // A container that cannot be talked to is not leased for longer than that.
    let (silence, since) = (fleet.meddle(host, Packets::Dropped), Instant::now());
    // Packets on their way at that time may have come after it.
    let long = STALE_AFTER + Duration::from_secs(2);
    wait_until(DEADLINE, "what it has shown is too old", || since.elapsed() > long);
    let mut client = Client::connect(port);
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    let end = ganger.wait_for_end(client.port());
    assert_eq!((end.field("end"), end.field("container")), ("DQ", "-"), "{end:?}");
    drop((rule, silence));
    wait_until(DEADLINE, "it is back", || ganger.count("contact made") == 2);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_daemon_whose_containers_reset_every_connection_costs_those_on_it_and_others_serve() {
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    Ride::run(GANGER, &fleet, &two("rst", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(hosts, 1);
        let rule = fleet.meddle(&hosts[0], Packets::ContainersReset);
        for held in &mut held {
            held.client.send("is anybody there?\n");
            if held.host == hosts[0].name {
                assert_eq!(held.client.ending(), Ending::Reset(Vec::new()));
                assert_eq!(ride.ganger.wait_for_end(held.client.port()).field("end"), "SD");
            } else {
                assert_eq!(held.client.line(), "is anybody there?");
            }
        }
        ride.served_more();
        drop(rule);
        ride.served_on(&hosts[0]);
        held.remove(held.iter().position(|held| held.host == hosts[1].name).unwrap()).ends_well();
        assert_eq!(ride.said("contact lost", &hosts[0]), 0);
    });
}

#[test]
fn where_ports_have_a_proxy_a_nat_table_that_is_flushed_costs_nothing() {
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    Ride::run(GANGER, &fleet, &two("nat", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(hosts, 1);
        let flushed = fleet.flush_nat(&hosts[0]);
        held.iter_mut().for_each(|held| held.client.echo("the kernel remembers"));
        (0..3).for_each(|_| ride.served_on(&hosts[0]));
        drop(flushed);
        ride.served_on(&hosts[0]);
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!((ride.said("contact lost", &hosts[0]), ride.crowd.refused()), (0, 0));
    });
}

#[test]
fn where_ports_have_none_a_nat_table_that_is_flushed_costs_clients_until_it_is_back() {
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    let _altered = fleet.without_proxy(&hosts[0]);
    // The engine holds each port, so that a connection comes about, and is silent.
    let idle = format!("{FIELDS}, timeouts: (idle: \"3s\")");
    let config = two("silent", &fleet).changed("id", &idle, STRICT);
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let flushed = fleet.flush_nat(&hosts[0]);
        wait_until(DEADLINE, "a client has met with it", || ride.crowd.refused() > 0);
        ride.served_on(&hosts[1]);
        drop(flushed);
        ride.served_on(&hosts[0]);
        assert_eq!(ride.said("contact lost", &hosts[0]), 0);
    });
}

#[test]
fn a_container_in_stock_that_is_taken_off_its_network_costs_no_client() {
    let fleet = Fleet::take(2);
    let config = two("off", &fleet).fixture(
        "still",
        "warm: 1, max: 2, network: Bridge, reach: Published, ready: Tcp(linger: \"20ms\"), \
         connect: (timeout: \"15s\")",
        &[],
    );
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let (host, old) = ride.stocked("still", None);
        let _ = host.docker(&["network", "disconnect", "--force", "bridge", &old]);
        let mut client = Client::connect(config.port("still"));
        client.echo("served all the same");
        let own = client.port();
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        let end = ride.ganger.wait_for_end(own);
        assert_eq!(end.field("end"), "--");
        assert_ne!(end.field("container"), &old[..12]);
        let _ = ride.stocked("still", Some(&old));
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_client_whose_link_is_down_is_given_up() {
    let fleet = Fleet::take(2);
    let hosts = fleet.hosts();
    let config = Config::new("gone").everywhere().daemon(hosts[1].daemon(6)).fixture(
        "echo",
        "warm: 1, max: 4, network: Sealed, client: (keepalive: \"10s\")",
        &[],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let mut client = Client::connect_from(&hosts[0], config.port("echo"));
    client.echo("hello");
    let cut = fleet.cut(&hosts[0]);
    // Long before the idle time-out of 10 minutes.
    let end = ganger.wait_for_ends(1).remove(0);
    assert!(end.field("client").starts_with(&hosts[0].address()), "{end:?}");
    assert_eq!((end.field("end"), end.reason()), ("cD", "the client vanished"), "{end:?}");
    drop(cut);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn packets_that_are_lost_now_and_then_cost_nothing_but_time() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two("lossy", &fleet), QUEUE, |ride| {
        let held = ride.hold(&fleet.hosts()[..2], 1);
        let rule = fleet.meddle(host, Packets::Lossy);
        (0..3).for_each(|_| ride.served_on(host));
        held.into_iter().for_each(|held| held.ends_well());
        drop(rule);
        assert_eq!((ride.said("contact lost", host), ride.crowd.refused()), (0, 0));
    });
}
