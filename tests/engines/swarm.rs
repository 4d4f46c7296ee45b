//! A fleet that is discovered from a real Docker Swarm.

use std::time::Duration;

use ganger_test_support::{Client, Config, Ending, Fleet, Host, Swarm, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn nodes_are_daemons_and_one_that_is_drained_takes_no_more() {
    let fleet = Fleet::take(2);
    let [manager, worker, ..] = fleet.hosts() else { panic!("the fleet has two hosts") };
    let swarm = Swarm::start(&[manager, worker]);
    let url = manager.tcp_url.as_deref().expect("an address");
    let discovery =
        format!("Swarm(manager: {url:?}, port: 2375, max_containers: 2, insecure: true)");
    let config = Config::new("swarm").discovery(discovery);
    let config = config.fixture("echo", "warm: 2, max: 4, network: Bridge", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let (port, label) = (config.port("echo"), ganger.label());
    let on = |host: &Host| host.containers(&label).len();

    let mut held: Vec<_> = (0..4).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| client.echo("one for each place"));
    assert_eq!((on(manager), on(worker)), (2, 2));

    swarm.set_availability(worker, "drain");
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains("the daemon left the fleet; it is being drained")
    });
    held.iter_mut().for_each(|client| client.echo("still here"));
    for client in held {
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    wait_until(DEADLINE, "the worker is empty", || on(worker) == 0);
    let mut client = Client::connect(port);
    client.echo("on the manager");
    assert_eq!(on(worker), 0);
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));

    swarm.set_availability(worker, "active");
    let mut held: Vec<_> = (0..4).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| client.echo("one for each place again"));
    assert_eq!((on(manager), on(worker)), (2, 2));
    for client in held {
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let ends = ganger.wait_for_ends(9);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
