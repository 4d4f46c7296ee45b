//! Images packed from scratch, on real engines.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ganger_test_support::{
    FIXTURE, Fleet, Host, checksum, echo_image, labelled, pattern, unique, wait_until,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Everything that a container is denied by default.
const HARDENED: [&str; 9] = [
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--read-only",
    "--user=65534:65534",
    "--pids-limit=64",
    "--memory=64m",
    "--memory-swap=64m",
    "--restart=no",
    "--log-opt=max-size=1m",
];

/// Publishes the service's port where its host is reached.
fn publish(host: &Host) -> String {
    format!("--publish={}::7000", host.address())
}

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends, ends, and returns all that comes back.
fn exchange(mut stream: TcpStream, data: &[u8]) -> Vec<u8> {
    stream.write_all(data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn the_echo_image_runs_hardened_on_every_host() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let (reference, _) = echo_image();
    for host in fleet.all() {
        let publish = publish(host);
        let echo = host.run(&[&HARDENED[..], &[&publish, reference]].concat());
        wait_until(DEADLINE, "echo listens", || echo.logs().contains("listening"));
        let answer = exchange(connect(echo.published(7000)), b"over the whole way\n");
        assert_eq!(answer, b"over the whole way\n", "on {}", host.name);
    }
}

#[test]
fn the_echo_image_needs_no_network() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let (reference, _) = echo_image();
    let host = fleet.local();
    let echo = host.run(&[&HARDENED[..], &["--network=none", reference]].concat());
    wait_until(DEADLINE, "echo listens", || echo.logs().contains("listening"));
    assert_eq!(echo.inspect("{{.State.Running}} {{.RestartCount}}"), "true 0");
}

#[test]
fn an_image_has_the_same_id_on_every_host() {
    let fleet = Fleet::shared();
    fleet.load_images();
    for reference in [echo_image().0, FIXTURE] {
        let ids = fleet.all().iter().map(|host| {
            host.docker(&["image", "inspect", "--format={{.Id}} {{.Architecture}}", reference])
        });
        let mut ids: Vec<_> = ids.collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{reference}: {ids:?}");
    }
}

#[test]
fn the_fixture_says_which_container_it_is_and_counts_its_connections() {
    let fleet = Fleet::shared();
    fleet.load_images();
    for host in fleet.hosts() {
        let label = unique("io.ganger.test");
        let (publish, label_option) = (publish(host), format!("--label={label}=yes"));
        let options = [&publish, label_option.as_str()];
        let fixture =
            host.run(&[&HARDENED[..], &options, &[FIXTURE, "identify", "--log", "ready"]].concat());
        wait_until(DEADLINE, "the fixture is ready", || fixture.logs() == "ready\n");
        for number in 1..=2 {
            let answer = exchange(connect(fixture.published(7000)), b"and echo");
            let expected = format!("{} {number}\nand echo", &fixture.id[..12]);
            assert_eq!(String::from_utf8_lossy(&answer), expected);
        }
        let found = labelled(fleet.all(), &label);
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].0.name, &found[0].1.id), (&host.name, &fixture.id));
        assert_eq!(found[0].1.label(&label), Some("yes"));
    }
}

#[test]
fn the_fixture_s_streams_are_what_the_support_expects() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let host = &fleet.hosts()[0];
    let publish = publish(host);
    let run = |args: &[&str]| {
        let fixture = host.run(&[&[publish.as_str(), FIXTURE, "--log", "ready"], args].concat());
        wait_until(DEADLINE, "the fixture is ready", || fixture.logs() == "ready\n");
        fixture
    };
    let expected: Vec<u8> = (0..100_000).map(pattern).collect();
    let source = run(&["--source", "100000"]);
    assert_eq!(exchange(connect(source.published(7000)), b""), expected);
    let sink = run(&["--sink"]);
    let answer = exchange(connect(sink.published(7000)), &expected);
    assert_eq!(String::from_utf8_lossy(&answer), format!("{}\n", checksum(&expected)));
}
