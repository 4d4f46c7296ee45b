//! Daemons on other machines whose packets do not come through.

use std::time::{Duration, Instant};

use ganger_test_support::{Config, Ending, Fleet, Packets, Ride, STRICT, wait_until};

const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const DEADLINE: Duration = Duration::from_secs(60);
const QUEUE: Duration = Duration::from_secs(15);

/// A service on the first two hosts, which are reached over the network.
fn two(name: &str, fleet: &Fleet) -> Config {
    let hosts = fleet.hosts()[..2].iter();
    let config = hosts.fold(Config::new(name), |config, host| config.daemon(host.remote_daemon(6)));
    let fields = "warm: 4, max: 12, network: Bridge, reach: Published, ready: Tcp(linger: \"20ms\"), \
                  queue: (length: 32, timeout: \"15s\")";
    config.fixture("id", fields, STRICT)
}

#[test]
fn packets_that_are_dropped_for_a_moment_cost_nothing() {
    let fleet = Fleet::exclusive();
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

#[test]
fn a_daemon_whose_packets_are_dropped_costs_the_connections_on_it_and_no_client_more() {
    let fleet = Fleet::exclusive();
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two("dark", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(&fleet.hosts()[..2], 1);
        let rule = fleet.meddle(host, Packets::Dropped);
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
        drop(rule);
        ride.is_back(host);
        let well = held.into_iter().filter(|held| held.host != host.name);
        well.for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_daemon_whose_api_alone_is_out_of_reach_costs_no_open_connection() {
    let fleet = Fleet::exclusive();
    let host = &fleet.hosts()[1];
    Ride::run(GANGER, &fleet, &two("api", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(&fleet.hosts()[..2], 1);
        let rule = fleet.meddle(host, Packets::ApiDropped);
        ride.says("contact lost", host, 1);
        held.iter_mut().for_each(|held| held.client.echo("without it"));
        ride.served_more();
        drop(rule);
        ride.is_back(host);
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn packets_that_are_lost_now_and_then_cost_nothing_but_time() {
    let fleet = Fleet::exclusive();
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
