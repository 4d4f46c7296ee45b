//! A restart, or another program in its place: no client is refused meanwhile.

use std::net::TcpListener;
use std::time::Duration;

use ganger_test_support::{
    AdminClient, Client, Config, Ending, Fleet, Traffic, labelled, wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
/// Each container serves one client after the other: 50 a second cannot have one each here.
const SHARED: &str =
    "network: Sealed, reuse: 100000, warm: 3, queue: (length: 1000, timeout: \"60s\")";

#[test]
fn with_a_socket_of_the_service_manager_nobody_is_refused_during_a_restart() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let host = &fleet.hosts()[2];
    let config = Config::new("activated")
        .daemon(host.daemon(40))
        .fixture("echo", &format!("{SHARED}, max: 12"), &[])
        .with("drain_timeout: \"10m\"");
    let port = config.port("echo");
    // As systemd does: it stays open whatever becomes of the process.
    let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut first = config.start_activated(GANGER, &fleet, "echo", &socket);
    let mut second = None;
    Traffic::during(port, |traffic| {
        let mut long: Vec<_> = (0..4).map(|_| Client::connect(port)).collect();
        long.iter_mut().for_each(|client| client.echo("before"));
        traffic.wait_for(100);
        first.signal(Signal::TERM);
        first.wait_for_line(DEADLINE, |line| line.contains("stopping"));
        wait_until(DEADLINE, "only who is served has a container", || {
            labelled(fleet.all(), &first.label()).len() == long.len()
        });
        for mut client in long {
            client.echo("while it drains");
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        }
        assert_eq!(first.wait(DEADLINE).code(), Some(0));
        first.assert_nothing_left();
        assert_eq!(first.count_ends(|end| end.field("end") != "--"), 0);
        second = Some(config.start_activated(GANGER, &fleet, "echo", &socket));
        traffic.wait_for(200);
    });
    let mut second = second.unwrap();
    assert_eq!(second.stop(), 0);
    assert_eq!(second.count_ends(|end| end.field("end") != "--"), 0);
    // Nobody accepts, and nobody is refused.
    let _waits = Client::connect(port);
}

#[test]
fn with_a_socket_of_the_service_manager_who_waits_in_the_queue_at_the_end_is_served() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("queued")
        .daemon(fleet.hosts()[2].daemon(40))
        .fixture("echo", "network: Sealed, warm: 1, max: 1", &[])
        .with("drain_timeout: \"10m\"");
    let socket = TcpListener::bind(("127.0.0.1", config.port("echo"))).unwrap();
    let mut ganger = config.start_activated(GANGER, &fleet, "echo", &socket);
    ganger.wait_until_stocked("echo");
    let mut served = Client::connect(config.port("echo"));
    served.echo("before");
    let mut waits = Client::connect(config.port("echo"));
    let admin = AdminClient::of(config.instance());
    wait_until(DEADLINE, "one waits", || admin.get("/api/v1/services/echo")["waiting"] == 1);
    ganger.signal(Signal::TERM);
    ganger.wait_for_line(DEADLINE, |line| line.contains("stopping"));
    served.echo("while it drains");
    assert_eq!(served.finish(), Ending::Closed(Vec::new()));
    waits.echo("in a container that was launched for it");
    assert_eq!(waits.finish(), Ending::Closed(Vec::new()));
    assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
    ganger.assert_nothing_left();
}

#[test]
fn a_socket_that_fits_nothing_is_closed_and_one_that_listens_elsewhere_is_a_mistake() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("misnamed").daemon(fleet.hosts()[2].daemon(40)).fixture(
        "echo",
        "network: Sealed, warm: 1, max: 2",
        &[],
    );
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ganger = config.start_activated(GANGER, &fleet, "other", &socket);
    let said = ganger.wait_for_line(DEADLINE, |line| line.contains("it is closed here"));
    assert!(said.contains("name=\"other\""), "{said}");
    ganger.wait_until_stocked("echo");
    Client::connect(config.port("echo")).echo("by a socket of its own");
    assert_eq!(ganger.stop(), 0);

    let mut ganger = config.start_activated(GANGER, &fleet, "echo", &socket);
    assert_eq!(ganger.wait(DEADLINE).code(), Some(1));
    let (wrong, right) = (socket.local_addr().unwrap(), config.port("echo"));
    let expected = format!("it listens on {wrong}, and `listen` is 127.0.0.1:{right}");
    assert_eq!(ganger.count(&expected), 1, "{:#?}", ganger.lines());
    ganger.assert_nothing_left();
}
