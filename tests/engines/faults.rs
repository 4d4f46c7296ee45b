//! Daemons that hang, die and come back while clients come and go.

mod containers;
mod limits;
mod network;
mod shim;

use std::time::{Duration, Instant};

use ganger_test_support::{Config, Ending, Fleet, Ride, STRICT, wait_until};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const QUEUE: Duration = Duration::from_secs(15);
/// The same where the program stands still while an engine is stopped and started.
const ASLEEP: Duration = Duration::from_secs(120);

/// A sealed service on the first two hosts.
fn two(name: &str, fleet: &Fleet) -> Config {
    let hosts = fleet.hosts()[..2].iter();
    let config = hosts.fold(Config::new(name), |config, host| config.daemon(host.daemon(6)));
    let fields = "warm: 4, max: 12, network: Sealed, queue: (length: 32, timeout: \"15s\")";
    config.fixture("id", fields, STRICT)
}

#[test]
fn a_dockerd_that_hangs_costs_no_client_and_no_container() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two("hang", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(&fleet.hosts()[..2], 1);
        let frozen = fleet.freeze(host);
        ride.says("contact lost", host, 1);
        held.iter_mut().for_each(|held| held.client.echo("while it hangs"));
        ride.served_more();
        drop(frozen);
        ride.is_back(host);
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_dockerd_that_hangs_for_a_moment_is_not_given_up() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[1];
    Ride::run(GANGER, &fleet, &two("moment", &fleet), QUEUE, |ride| {
        let (frozen, since) = (fleet.freeze(host), Instant::now());
        wait_until(DEADLINE, "a second is over", || since.elapsed() > Duration::from_secs(1));
        drop(frozen);
        ride.served_on(host);
        assert_eq!((ride.said("contact lost", host), ride.crowd.refused()), (0, 0));
    });
}

#[test]
fn a_dockerd_that_is_killed_costs_open_connections_only_when_it_is_started_again() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two("dead", &fleet), QUEUE, |ride| {
        let mut held = ride.hold(&fleet.hosts()[..2], 1);
        let gone = fleet.kill_daemon(host);
        ride.says("contact lost", host, 1);
        held.iter_mut().for_each(|held| held.client.echo("while it is dead"));
        ride.served_more();
        // As it starts, it kills what the dead one had.
        drop(gone);
        ride.is_back(host);
        for mut held in held {
            if held.host == host.name {
                assert_eq!(held.client.ending(), Ending::Reset(Vec::new()));
                assert_eq!(ride.ganger.wait_for_end(held.client.port()).field("end"), "DD");
            } else {
                held.ends_well();
            }
        }
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_dockerd_that_is_restarted_in_good_order_loses_its_containers_and_no_other() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[1];
    Ride::run(GANGER, &fleet, &two("restart", &fleet), QUEUE, |ride| {
        let held = ride.hold(&fleet.hosts()[..2], 1);
        let gone = fleet.stop_daemon(host);
        ride.says("contact lost", host, 1);
        ride.served_more();
        for mut held in held {
            if held.host == host.name {
                // Not a client that could take it for whole.
                assert_eq!(held.client.ending(), Ending::Reset(Vec::new()));
            } else {
                held.ends_well();
            }
        }
        drop(gone);
        ride.is_back(host);
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn of_a_daemon_that_comes_back_as_another_one_nothing_is_taken_to_be_there() {
    let fleet = Fleet::take(1);
    let hosts = &fleet.hosts()[..1];
    let config = Config::new("other")
        .daemon(hosts[0].daemon(8))
        .fixture(
            "id",
            "warm: 2, max: 6, network: Sealed, queue: (length: 32, timeout: \"120s\")",
            STRICT,
        )
        .fixture("still", "warm: 1, max: 2, network: Sealed", &[]);
    Ride::run(GANGER, &fleet, &config, ASLEEP, |ride| {
        let mut held = ride.hold(hosts, 1).remove(0);
        let (host, first) = ride.stocked("still", None);
        // Without a word: events tell nothing, only lists do.
        ride.ganger.signal(Signal::STOP);
        let another = fleet.another(host);
        ride.ganger.signal(Signal::CONT);
        let (_, second) = ride.stocked("still", Some(&first));
        ride.served_more();
        held.client.echo("its process lives");
        ride.ganger.signal(Signal::STOP);
        drop(another);
        ride.ganger.signal(Signal::CONT);
        // The first engine's containers died as it started, and are removed.
        let (_, third) = ride.stocked("still", Some(&second));
        assert_ne!(third, first);
        assert_eq!(held.client.ending(), Ending::Reset(Vec::new()));
        ride.served_more();
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn behind_a_containerd_that_hangs_launches_go_elsewhere() {
    let fleet = Fleet::take(2);
    let host = &fleet.hosts()[0];
    Ride::run(GANGER, &fleet, &two("grey", &fleet), QUEUE, |ride| {
        let held = ride.hold(&fleet.hosts()[..2], 1);
        let frozen = fleet.freeze_containerd(host);
        // The daemon answers: it fails by its launches.
        ride.says("launch failed", host, 1);
        ride.served_more();
        drop(frozen);
        ride.served_on(host);
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_program_that_is_stopped_for_a_while_serves_on_as_if_nothing_had_been() {
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    let config =
        hosts.iter().fold(Config::new("asleep"), |config, host| config.daemon(host.daemon(6)));
    let config = config
        .fixture(
            "id",
            "warm: 4, max: 10, network: Sealed, queue: (length: 32, timeout: \"120s\")",
            STRICT,
        )
        .fixture("still", "warm: 1, max: 2, network: Sealed", &[]);
    Ride::run(GANGER, &fleet, &config, ASLEEP, |ride| {
        let mut held = ride.hold(hosts, 1);
        let (host, dead) = ride.stocked("still", None);
        ride.ganger.signal(Signal::STOP);
        let since = Instant::now();
        // Nobody hears of it.
        host.kill(&dead);
        held.iter_mut().for_each(|held| held.client.send("in your sleep\n"));
        // Longer than three lists have to come.
        wait_until(DEADLINE, "it was long enough", || since.elapsed() > Duration::from_secs(20));
        ride.ganger.signal(Signal::CONT);
        held.iter_mut().for_each(|held| assert_eq!(held.client.line(), "in your sleep"));
        hosts.iter().for_each(|host| ride.served_on(host));
        let _ = ride.stocked("still", Some(&dead));
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
    });
}
