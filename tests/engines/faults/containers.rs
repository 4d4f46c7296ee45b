//! Containers and images to which somebody else does something.

use std::time::Duration;

use ganger_test_support::{
    Client, Config, Container, Ending, Fleet, Host, Ride, STRICT, fixture_as, labelled, wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const QUEUE: Duration = Duration::from_secs(15);

/// A fault: its name, and what does it to a container on a host.
type Blow = (&'static str, fn(&Host, &str));

fn stop(host: &Host, id: &str) {
    let _ = host.docker(&["stop", "--time", "0", id]);
}

#[test]
fn a_container_in_stock_to_which_something_happens_is_replaced() {
    let fleet = Fleet::take(1);
    let fields = "warm: 1, max: 2, network: Sealed";
    let config = Config::new("stock")
        .daemon(fleet.hosts()[0].daemon(10))
        .fixture("id", "warm: 2, max: 6, network: Sealed", STRICT)
        .fixture("still", fields, &[])
        .fixture("hungry", &format!("{fields}, limits: (memory: \"16MiB\")"), &["--eat-memory"]);
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let blows: [Blow; 4] = [
            ("it is removed", Host::remove),
            ("it is stopped", stop),
            ("it is paused", Host::pause),
            ("its shim is killed", Host::kill_shim),
        ];
        let mut used: Option<String> = None;
        for (what, blow) in blows {
            let (host, old) = ride.stocked("still", used.as_deref());
            blow(host, &old);
            let (_, new) = ride.stocked("still", Some(&old));
            let mut client = Client::connect(config.port("still"));
            client.echo("served all the same");
            let own = client.port();
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
            let end = ride.ganger.wait_for_end(own);
            assert_eq!((end.field("end"), end.field("container")), ("--", &new[..12]), "{what}");
            used = Some(new);
        }
        // The container uses up its memory without a client.
        let (host, old) = ride.stocked("hungry", None);
        host.say(&old, "eat");
        let _ = ride.stocked("hungry", Some(&old));
        let told = "a container ended in stock service=hungry ";
        let line = ride.ganger.wait_for_line(QUEUE, |line| line.contains(told));
        // Whichever of the two events comes first.
        let told = ["exited with code 137", "out of memory"].iter().any(|how| line.contains(how));
        assert!(told, "{line}");
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_leased_container_that_somebody_ends_resets_its_client_and_is_told_as_a_death() {
    let fleet = Fleet::take(1);
    let hosts = &fleet.hosts()[..1];
    let config = Config::new("leased").daemon(hosts[0].daemon(8)).fixture(
        "id",
        "warm: 2, max: 8, network: Sealed",
        STRICT,
    );
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let blows: [Blow; 3] = [
            ("it is removed", Host::remove),
            ("it is stopped", stop),
            ("its shim is killed", Host::kill_shim),
        ];
        for (what, blow) in blows {
            let mut held = ride.hold(hosts, 1).remove(0);
            blow(&hosts[0], &held.container);
            // Not an end, which a client could take for that of an answer.
            assert_eq!(held.client.ending(), Ending::Reset(Vec::new()), "{what}");
            let end = ride.ganger.wait_for_end(held.client.port());
            assert_eq!((end.field("end"), end.field("daemon")), ("DD", &*hosts[0].name), "{what}");
        }
        ride.served_more();
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn a_leased_container_that_falls_silent_before_it_has_answered_is_replaced() {
    let fleet = Fleet::take(1);
    let config = Config::new("silent")
        .daemon(fleet.hosts()[0].daemon(10))
        .fixture("id", "warm: 2, max: 6, network: Sealed", STRICT)
        .fixture(
            "still",
            "warm: 1, max: 3, network: Sealed, connect: (timeout: \"15s\"), \
             timeouts: (first_byte: \"3s\")",
            &[],
        );
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let blows: [Blow; 2] = [("it is frozen", Host::freeze), ("it is paused", Host::pause)];
        let mut used: Option<String> = None;
        for (what, blow) in blows {
            let (host, old) = ride.stocked("still", used.as_deref());
            let mut client = Client::connect(config.port("still"));
            wait_until(DEADLINE, "it is leased and there is another one", || {
                let found = labelled(fleet.all(), &ride.ganger.label());
                let ready = |container: &Container| {
                    container.label("io.ganger.service") == Some("still")
                        && container.state == "running"
                };
                found.iter().filter(|(_, container)| ready(container)).count() == 2
            });
            blow(host, &old);
            client.echo("is anybody there?");
            let own = client.port();
            assert_eq!(client.finish(), Ending::Closed(Vec::new()), "{what}");
            let end = ride.ganger.wait_for_end(own);
            assert_eq!(end.field("end"), "--", "{what}");
            assert_ne!(end.field("container"), &old[..12], "{what}");
            used = Some(end.field("container").to_owned());
            let _ = ride.stocked("still", Some(&old));
        }
        assert_eq!(ride.crowd.refused(), 0);
    });
}

#[test]
fn an_image_that_is_removed_is_missed_by_name_and_used_again_when_it_is_back() {
    const DOOMED: &str = "ganger.test/doomed:1";

    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let archive = fixture_as(DOOMED);
    host.load(&archive);
    let id = host.docker(&["images", "--quiet", "--no-trunc", DOOMED]);
    let fields = "warm: 1, max: 2, network: Sealed, queue: (length: 8, timeout: \"2s\")";
    let config = Config::new("rmi").daemon(host.daemon(8)).image("doomed", DOOMED, fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("doomed");

    // While it cannot launch, for an engine keeps the image of a container that runs.
    ganger.signal(Signal::STOP);
    wait_until(DEADLINE, "the image is gone", || {
        for (host, container) in labelled(fleet.all(), &ganger.label()) {
            host.remove(&container.id);
        }
        let _ = host.try_docker(&["image", "rm", "--force", &id]);
        host.try_docker(&["image", "inspect", &id]).is_err()
    });
    ganger.signal(Signal::CONT);
    wait_until(DEADLINE, "a client is refused for want of the image", || {
        let mut client = Client::connect(port);
        assert_eq!(client.ending(), Ending::Reset(Vec::new()));
        let end = ganger.wait_for_end(client.port());
        end.reason().contains(&format!("docker pull {DOOMED}"))
    });

    host.load(&archive);
    wait_until(DEADLINE, "a client is served", || {
        let mut client = Client::connect(port);
        client.try_send("hello\n").and_then(|()| client.try_line()).is_ok()
    });
    assert_eq!(ganger.stop(), 0);
    let _ = host.docker(&["image", "rm", "--force", &id]);
}
