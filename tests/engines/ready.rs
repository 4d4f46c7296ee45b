//! Services that are slow, that fail, or that end at the worst moment.

use std::thread;
use std::time::{Duration, Instant};

use ganger_test_support::{
    Client, Config, Ending, FIXTURE, Fleet, Ganger, HEALTHY, SICK, labelled, pattern, wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
/// Both ways to reach a container. On host 0 the second leads through docker-proxy.
const REACHES: [&str; 2] = ["Namespace", "Published"];

/// On the machine's own host.
fn local(name: &str, fleet: &Fleet) -> Config {
    Config::new(name).daemon(fleet.local().daemon(16))
}

/// Waits until a program has so many containers, all running and none of them
/// one whose connection has ended, and returns their ids.
fn stocked(fleet: &Fleet, ganger: &Ganger, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    wait_until(DEADLINE, "the containers are there", || {
        let all = fleet.local().containers(&ganger.label());
        let good = all.iter().all(|c| c.state == "running" && ganger.count(&c.id[..12]) == 0);
        found = all.into_iter().map(|container| container.id).collect();
        good && found.len() == count
    });
    found
}

#[test]
fn a_slow_service_behind_docker_proxy_is_not_shown_to_anybody_before_it_listens() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let fields = "warm: 2, max: 6, network: Bridge, reach: Published, connect: (timeout: \"30s\")";
    let config = local("slow", &fleet).fixture("echo", fields, &["--delay", "3s"]);
    let mut ganger = config.start(GANGER, &fleet);
    let port = config.port("echo");
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    // Cold: nothing is ready yet, and each is the first to use its container.
    thread::scope(|scope| {
        for number in 0..5 {
            scope.spawn(move || Client::connect(port).echo(&format!("client {number}")));
        }
    });
    ganger.wait_until_stocked("echo");
    for number in 5..7 {
        Client::connect(port).echo(&format!("client {number}"));
    }
    for end in ganger.wait_for_ends(7) {
        assert_eq!(end.field("end"), "--", "{end:?}");
    }
    assert_eq!(ganger.count("launch failed"), 0);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_service_that_listens_later_than_it_was_said_to_loses_neither_client_nor_container() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let fields = "warm: 1, max: 1, network: Sealed, ready: Started";
    let config = local("late", &fleet).fixture("echo", fields, &["--delay", "1s"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let there = stocked(&fleet, &ganger, 1);
    let mut client = Client::connect(config.port("echo"));
    let port = client.port();
    client.echo("is anybody there?");
    drop(client);
    let end = ganger.wait_for_end(port);
    assert_eq!(end.field("end"), "--", "{end:?}");
    assert_eq!(end.field("container"), &there[0][..12], "{end:?}");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_service_that_exits_at_once_is_refused_with_the_reason_and_backs_off() {
    let fleet = Fleet::shared();
    fleet.load_images();
    // A client that waited in the queue would wait longer than it can.
    let fields = "warm: 4, max: 8, network: Sealed, queue: (length: 64, timeout: \"10m\")";
    let command = ["--log-start", "cannot read /etc/service.conf", "--exit", "3"];
    let config = local("broken", &fleet).fixture("broken", fields, &command).fixture(
        "good",
        "warm: 1, max: 4, network: Sealed",
        &[],
    );
    let since = Instant::now();
    let mut ganger = config.start(GANGER, &fleet);
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening service=good"));
    Client::connect(config.port("good")).echo("hello");

    let mut clients = 0;
    wait_until(DEADLINE, "ten seconds are over", || {
        let mut client = Client::connect(config.port("broken"));
        assert_eq!(client.ending(), Ending::Reset(Vec::new()));
        let end = ganger.wait_for_end(client.port());
        assert_eq!(end.field("end"), "DL", "{end:?}");
        assert!(end.reason().contains("exited with code 3"), "{end:?}");
        clients += 1;
        // The daemon is not to blame, and its other service is not in the way.
        Client::connect(config.port("good")).echo("all is well here");
        since.elapsed() > Duration::from_secs(10)
    });
    for line in ganger.lines().iter().filter(|line| line.contains("launch failed")) {
        assert!(line.contains("exited with code 3"), "{line}");
        assert!(line.contains("last log line: cannot read /etc/service.conf"), "{line}");
    }
    assert_eq!(ganger.count("cannot be reached"), 0);

    // Eight at once, for which there is room, and one after each pause of 0.1, 0.2, 0.4 ...
    // seconds that fits into the time; without pauses it is one in 100 ms.
    let pauses = (since.elapsed().as_secs_f64() / 0.1 + 1.0).log2().ceil() as usize;
    let launches = ganger.count("launch failed");
    assert!((3..=9 + pauses).contains(&launches), "{launches} launches for {clients} clients");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn what_a_container_says_before_it_ends_names_the_setting_to_look_at() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let cases = [
        ("right", "chown: /data: Operation not permitted", "see `privileges`"),
        ("file", "cannot create /run/pid: Read-only file system", "see `tmpfs`"),
        ("memory", "java.lang.OutOfMemoryError: Java heap space", "see `limits.memory`"),
    ];
    let config = cases.iter().fold(local("hints", &fleet), |config, (name, said, _)| {
        let command = ["--log-start", said, "--exit", "1"];
        config.fixture(name, "warm: 1, max: 1, network: Sealed", &command)
    });
    let mut ganger = config.start(GANGER, &fleet);
    for (name, said, setting) in cases {
        let service = format!(" service={name} ");
        let line = ganger.wait_for_line(DEADLINE, |line| {
            line.contains("launch failed") && line.contains(&service)
        });
        assert!(line.contains(said) && line.contains(setting), "{line}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn containers_that_die_in_stock_are_no_client_s_loss() {
    let fleet = Fleet::shared();
    for reach in REACHES {
        // A frozen container takes a connection, and says nothing.
        let fields = format!(
            "warm: 2, max: 8, network: Bridge, reach: {reach}, connect: (timeout: \"20s\"), \
             timeouts: (first_byte: \"3s\")"
        );
        let config = local("stock", &fleet).fixture("echo", &fields, &[]);
        let mut ganger = config.serve(GANGER, &fleet);
        let port = config.port("echo");
        for round in 0..4 {
            let stock = stocked(&fleet, &ganger, 2);
            // In turn: it may hear of the deaths before the client comes; it
            // cannot; the containers are not dead, but frozen.
            let (verb, unaware) = [("kill", false), ("kill", true), ("pause", false)][round % 3];
            if unaware {
                ganger.signal(Signal::STOP);
            }
            match verb {
                "pause" => stock.iter().take(2).for_each(|id| fleet.local().pause(id)),
                _ => _ = fleet.local().docker(&[verb, &stock[0], &stock[1]]),
            }
            let mut client = Client::connect(port);
            if unaware {
                ganger.signal(Signal::CONT);
            }
            client.echo("served all the same");
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        }
        for end in ganger.wait_for_ends(4) {
            assert_eq!(end.field("end"), "--", "{end:?}");
        }
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn a_container_that_dies_before_its_first_byte_is_replaced_and_nobody_notices() {
    let fleet = Fleet::shared();
    for reach in REACHES {
        let fields = format!("warm: 1, max: 4, network: Bridge, reach: {reach}");
        let config = local("early", &fleet).fixture("echo", &fields, &[]);
        let mut ganger = config.serve(GANGER, &fleet);
        let port = config.port("echo");
        for says_first in [false, true] {
            let leased = stocked(&fleet, &ganger, 1).remove(0);
            let mut client = Client::connect(port);
            // When the stock is filled up again, the first one is the client's.
            stocked(&fleet, &ganger, 2);
            if says_first {
                // The container has what the client says, and does not come to answer it.
                fleet.local().pause(&leased);
                client.send("hello\n");
                fleet.local().remove(&leased);
                assert_eq!(client.line(), "hello");
            } else {
                fleet.local().kill(&leased);
                client.echo("hello");
            }
            client.echo("and on");
            let own = client.port();
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
            let end = ganger.wait_for_end(own);
            assert_ne!(end.field("container"), &leased[..12], "{end:?}");
            assert_eq!((end.field("end"), end.field("in")), ("--", "13"));
        }
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn a_stream_that_was_cut_is_not_taken_for_one_that_ended() {
    const LENGTH: usize = 300_000;

    let fleet = Fleet::shared();
    let expected: Vec<u8> = (0..LENGTH as u64).map(pattern).collect();
    let length = LENGTH.to_string();
    let dies =
        ["--log-start", "the cause", "--log", "last words", "--reply-then-exit", "3", &length];
    for reach in REACHES {
        let fields = format!("warm: 1, max: 4, network: Bridge, reach: {reach}");
        let config = local("stream", &fleet)
            .fixture("dies", &fields, &dies)
            .fixture("ends", &fields, &["--reply-then-exit", "0", &length])
            .fixture("echo", &fields, &[]);
        let mut ganger = config.serve(GANGER, &fleet);

        let mut client = Client::connect(config.port("dies"));
        client.send("go");
        assert_eq!(client.ending(), Ending::Reset(expected.clone()), "{reach}");
        let end = ganger.wait_for_end(client.port());
        assert_eq!(end.field("end"), "DD", "{end:?}");
        let said = "exited with code 3; last log lines: the cause | last words";
        assert!(end.reason().contains(said), "{end:?}");

        // Some services end with their only connection.
        let mut client = Client::connect(config.port("ends"));
        client.send("go");
        assert_eq!(client.ending(), Ending::Closed(expected.clone()), "{reach}");
        let own = client.port();
        drop(client);
        assert_eq!(ganger.wait_for_end(own).field("end"), "--");

        let mut client = Client::connect(config.port("echo"));
        client.echo("hello");
        let all = labelled(fleet.all(), &ganger.label());
        for (host, container) in all {
            if container.label("io.ganger.service") == Some("echo") {
                let _ = host.try_docker(&["kill", &container.id]);
            }
        }
        assert_eq!(client.ending(), Ending::Reset(Vec::new()), "{reach}");
        let end = ganger.wait_for_end(client.port());
        assert_eq!(end.field("end"), "DD", "{end:?}");
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn every_strategy_shows_when_a_service_can_serve() {
    let fleet = Fleet::shared();
    fleet.load_images();
    // The text of `--log-start` is not what is waited for.
    let slow = ["--delay", "1s", "--log-start", "getting there", "--log", "ready to accept"];
    let banner = ["--banner", "SSH-2.0-fixture", "--delay", "1s"];
    // The service logs the text as it starts, and again when it can serve.
    let twice = ["--delay", "1s", "--log-start", "ready to accept", "--log", "ready to accept"];
    let strategies: [(&str, &str, &str, &[&str]); 9] = [
        ("tcp", "Tcp(linger: \"20ms\")", FIXTURE, &slow),
        ("banner", "Banner(\"SSH-\")", FIXTURE, &banner),
        ("exchange", "Exchange(send: \"PING\\r\\n\", expect: \"PING\")", FIXTURE, &slow),
        ("log", "Log(\"ready to\")", FIXTURE, &slow),
        ("twice", "Log(\"ready to\", times: 2)", FIXTURE, &twice),
        ("exec", "Exec([\"/fixture\", \"--check\"])", FIXTURE, &slow),
        // Unhealthy at first.
        (
            "tested",
            "Healthcheck(test: [\"/fixture\", \"--check\"], interval: \"100ms\", retries: 1)",
            FIXTURE,
            &slow,
        ),
        ("health", "Healthcheck", HEALTHY, &slow),
        // Nothing is waited for, so that it must be quick.
        ("started", "Started", FIXTURE, &[]),
    ];
    for reach in REACHES {
        // The log says which step of a launch is done.
        let mut config = local("ready", &fleet).env("GANGER_LOG", "info,ganger::steps=debug");
        for (name, ready, image, command) in &strategies {
            let fields =
                format!("warm: 1, max: 2, network: Bridge, reach: {reach}, ready: {ready}");
            config = config.image(name, image, &fields, command);
        }
        let mut ganger = config.start(GANGER, &fleet);
        let talk = |name: &str| {
            let mut client = Client::connect(config.port(name));
            if name == "banner" {
                assert_eq!(client.line(), "SSH-2.0-fixture");
            }
            client.echo("hello");
            let own = client.port();
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
            let end = ganger.wait_for_end(own);
            assert_eq!(end.field("end"), "--", "{end:?}");
            end
        };
        // Who waits for a container gets it in the moment that it is ready.
        thread::scope(|scope| {
            for (name, ..) in strategies.iter().filter(|(name, ..)| *name != "started") {
                let line = format!("listening service={name} ");
                ganger.wait_for_line(DEADLINE, |said| said.contains(&line));
                scope.spawn(|| talk(name));
            }
        });
        for (name, ..) in &strategies {
            // A client that does not wait for it takes the next one out of the launch, again and
            // again. Ready is known here a moment before the pool has it in stock.
            wait_until(DEADLINE, "one is in stock", || {
                let used = ganger.ends_after(0);
                let unused = |id: &str| used.iter().all(|end| end.field("container") != id);
                let steps = ganger.lines();
                let ready = |id: &str| {
                    steps.iter().any(|line| line.contains("step=\"ready\"") && line.contains(id))
                };
                labelled(fleet.all(), &ganger.label()).iter().any(|(_, container)| {
                    let id = &container.id[..12];
                    let own = container.label("io.ganger.service") == Some(name);
                    own && unused(id) && ready(id)
                }) && talk(name).field("start") == "warm"
            });
        }
        assert_eq!(ganger.count("launch failed"), 0, "{reach}");
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn a_service_that_does_not_get_ready_says_why() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let start = "timeouts: (start: \"10s\")";
    let cases: [(&str, &str, &str, &[&str], &str); 9] = [
        ("tcp", "Tcp()", FIXTURE, &["--port", "7001"], "nothing listens on port 7000"),
        (
            "banner",
            "Banner(\"SSH-\")",
            FIXTURE,
            &["--banner", "HTTP"],
            r#"it says "HTTP" instead of "SSH-""#,
        ),
        ("log", "Log(\"ready\")", FIXTURE, &["--log", "not quite"], "last log line: not quite"),
        ("health", "Healthcheck", SICK, &[], "its HEALTHCHECK fails: not today"),
        ("none", "Healthcheck", FIXTURE, &[], "its image has no HEALTHCHECK"),
        (
            "once",
            "Log(\"ready\", times: 2)",
            FIXTURE,
            &["--log", "ready"],
            "it has logged the text 1 of 2 times",
        ),
        (
            "exec",
            "Exec([\"/fixture\", \"--log-start\", \"not today\", \"--exit\", \"3\"])",
            FIXTURE,
            &[],
            "--exit 3` exits with code 3: not today",
        ),
        ("absent", "Exec([\"/pg_isready\"])", FIXTURE, &[], "no such file or directory"),
        (
            "http",
            "Http(\"/health\")",
            FIXTURE,
            &["--http", "600s"],
            "it answers GET /health with 503 instead of 200",
        ),
    ];
    let mut config = local("never", &fleet);
    for (name, ready, image, command, _) in &cases {
        let fields = format!("warm: 1, max: 1, network: Sealed, ready: {ready}, {start}");
        config = config.image(name, image, &fields, command);
    }
    let mut ganger = config.start(GANGER, &fleet);
    for (name, _, _, _, why) in &cases {
        let service = format!(" service={name} ");
        let line = ganger.wait_for_line(DEADLINE, |line| {
            line.contains("launch failed") && line.contains(&service)
        });
        // In the log, a text is quoted.
        let line = line.replace("\\\"", "\"");
        assert!(line.contains(why), "{name}: {line}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_service_that_listens_where_no_connection_leads_is_told_from_one_that_is_ready() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let (six, loopback) = ("for IPv6 alone", "of loopback alone");
    let cases = [
        ("six-inside", "Namespace", "::", six),
        ("six-outside", "Published", "::", six),
        ("loopback", "Published", "127.0.0.1", loopback),
    ];
    let mut config = local("nowhere", &fleet);
    for (name, reach, address, _) in cases {
        let fields =
            format!("warm: 1, max: 1, network: Bridge, reach: {reach}, timeouts: (start: \"5s\")");
        config = config.fixture(name, &fields, &["--address", address]);
    }
    let mut ganger = config.start(GANGER, &fleet);
    for (name, _, _, why) in cases {
        let service = format!(" service={name} ");
        let line = ganger.wait_for_line(DEADLINE, |line| {
            let of_it = line.contains(&service);
            of_it && (line.contains("launch failed") || line.contains("stock is full"))
        });
        assert!(line.contains("launch failed") && line.contains(why), "{name}: {line}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_service_by_http_is_shown_to_nobody_before_it_answers_as_it_should() {
    let fleet = Fleet::shared();
    fleet.load_images();
    for reach in REACHES {
        let fields = format!(
            "warm: 1, max: 1, reuse: 3, network: Bridge, reach: {reach}, ready: Http(\"/health\")"
        );
        let config = local("http", &fleet).fixture("http", &fields, &["--http", "2s"]);
        let mut ganger = config.start(GANGER, &fleet);
        ganger.wait_for_line(DEADLINE, |line| line.contains("listening service=http "));
        let mut kinds = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(config.port("http"));
            client.send("GET / HTTP/1.1\r\n\r\n");
            assert_eq!(client.line(), "HTTP/1.1 200 OK\r", "{reach}");
            let own = client.port();
            drop(client.finish());
            let end = ganger.wait_for_end(own);
            assert_eq!(end.field("end"), "--", "{end:?}");
            kinds.push(end.field("start").to_owned());
        }
        assert_eq!(kinds[1..], ["reused", "reused", "reused"], "{reach}");
        assert_eq!(ganger.count("launch failed"), 0, "{reach}");
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn a_program_says_between_leases_whether_a_container_is_fit() {
    let fleet = Fleet::shared();
    for reach in REACHES {
        let fields = format!(
            "warm: 1, max: 1, reuse: 9, network: Bridge, reach: {reach}, \
             ready: Exec([\"/fixture\", \"--check\"])"
        );
        let config = local("fit", &fleet).fixture("echo", &fields, &[]);
        let mut ganger = config.serve(GANGER, &fleet);
        let mut first = None;
        for round in 0..3 {
            let mut client = Client::connect(config.port("echo"));
            client.echo("hello");
            let own = client.port();
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
            let end = ganger.wait_for_end(own);
            assert_eq!(end.field("end"), "--", "{end:?}");
            let container = end.field("container").to_owned();
            assert_eq!(first.get_or_insert(container.clone()), &container, "{reach} {round}");
        }
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn a_text_is_found_however_much_was_logged_before_it() {
    let fleet = Fleet::shared();
    fleet.load_images();
    for reach in REACHES {
        // Its log keeps a sixtieth of that.
        let command =
            ["--log-start", "ready to go", "--chatter", "64000000", "--log", "ready to go"];
        let fields = format!(
            "warm: 1, max: 1, network: Bridge, reach: {reach}, \
             ready: Log(\"ready to go\", times: 2), timeouts: (start: \"5m\")"
        );
        let config = local("chatter", &fleet).fixture("echo", &fields, &command);
        let mut ganger = config.start(GANGER, &fleet);
        ganger.wait_until_stocked("echo");
        Client::connect(config.port("echo")).echo("hello");
        assert_eq!(ganger.count("launch failed"), 0, "{reach}");
        assert_eq!(ganger.stop(), 0);
    }
}
