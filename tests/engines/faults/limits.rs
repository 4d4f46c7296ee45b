//! Daemons that run short of what their containers share.

use std::time::Duration;

use ganger_test_support::{Config, Fleet, Host, Ride, STRICT, labelled, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const QUEUE: Duration = Duration::from_secs(30);
const NETWORK: &str = "ganger-test-small";

/// A network of the test, on one host.
struct Network<'a>(&'a Host);

// === impl Network ===

impl<'a> Network<'a> {
    fn create(host: &'a Host, subnet: &str) -> Self {
        let _ = host.docker(&["network", "create", "--subnet", subnet, NETWORK]);
        Self(host)
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        // A panic while one unwinds would end the whole run.
        let _ = self.0.try_docker(&["network", "rm", NETWORK]);
    }
}

/// The first of two hosts has room for `fits` containers, though it is said to have room
/// for more: with those in use, it says `why`, and the second serves.
fn falls_short(fleet: &Fleet, network: &str, fits: usize, why: &str) {
    let hosts = &fleet.hosts()[..2];
    let config = Config::new("short")
        .daemon(hosts[0].remote_daemon(12))
        .daemon(hosts[1].remote_daemon(4))
        .fixture(
            "id",
            &format!(
                "warm: 4, max: 16, network: {network}, reach: Published, \
                 ready: Tcp(linger: \"20ms\"), queue: (length: 32, timeout: \"30s\")"
            ),
            STRICT,
        );
    Ride::run(GANGER, fleet, &config, QUEUE, |ride| {
        let held = ride.hold(&hosts[..1], fits);
        ride.says(why, &hosts[0], 1);
        ride.served_on(&hosts[1]);
        held.into_iter().for_each(|held| held.ends_well());
        ride.served_on(&hosts[0]);
        assert_eq!((ride.said("contact lost", &hosts[0]), ride.crowd.refused()), (0, 0));
    });
}

#[test]
fn a_daemon_without_a_free_port_says_so_and_others_serve() {
    let fleet = Fleet::take(2);
    let _altered = fleet.few_ports(&fleet.hosts()[0], 4);
    falls_short(&fleet, "Bridge", 4, "it has no free port");
}

#[test]
fn a_network_without_a_free_address_is_told_and_others_serve() {
    let fleet = Fleet::take(2);
    let hosts = fleet.hosts();
    // Five beside the gateway.
    let _small = Network::create(&hosts[0], "10.99.99.0/29");
    let _large = Network::create(&hosts[1], "10.99.98.0/24");
    falls_short(&fleet, &format!("Named({NETWORK:?})"), 5, "its network has no free address");
}

#[test]
fn a_daemon_whose_disk_is_full_launches_nothing_and_removes_what_it_has() {
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    let altered = fleet.small_disk(&hosts[0], 64);
    let config =
        hosts.iter().fold(Config::new("full"), |config, host| config.daemon(host.remote_daemon(6)));
    let fields = "warm: 4, max: 12, network: Bridge, reach: Published, \
                  ready: Tcp(linger: \"20ms\"), queue: (length: 32, timeout: \"30s\")";
    let config = config.fixture("id", fields, STRICT);
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let held = ride.hold(hosts, 1);
        let filler = altered.fill();
        wait_until(DEADLINE, "it says that its disk is full", || {
            filler.fill();
            ride.said("its disk is full", &hosts[0]) > 0
        });
        ride.served_on(&hosts[1]);
        let old: Vec<_> = held.iter().filter(|held| held.host == hosts[0].name).collect();
        let old = old[0].container.clone();
        held.into_iter().for_each(|held| held.ends_well());
        wait_until(DEADLINE, "it is removed all the same", || {
            labelled(&hosts[..1], &ride.ganger.label()).iter().all(|(_, c)| c.id != old)
        });
        drop(filler);
        ride.served_on(&hosts[0]);
        assert_eq!((ride.said("contact lost", &hosts[0]), ride.crowd.refused()), (0, 0));
    });
}
