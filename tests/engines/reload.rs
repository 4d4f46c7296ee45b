//! The configuration is read again while clients come, are there, and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ganger_test_support::{
    Client, Config, Ending, FIXTURE, Fleet, StopOnDrop, fixture_as, labelled, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(120);

fn every_host(name: &str, fleet: &Fleet, capacity: u32) -> Config {
    fleet.all().iter().fold(Config::new(name), |config, host| config.daemon(host.daemon(capacity)))
}

/// Connects, is told by whom it is served, and leaves in good order.
fn ask(port: u16) -> String {
    let mut client = Client::connect(port);
    let line = client.line();
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    line
}

/// 10 new clients a second, until told to stop; what each was told.
#[expect(clippy::disallowed_methods, reason = "a rate is what it is asked for")]
fn visits(port: u16, stop: &AtomicBool) -> Vec<String> {
    let (began, mut told) = (Instant::now(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        told.push(ask(port));
        let due = began + Duration::from_millis(100) * u32::try_from(told.len()).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    told
}

#[test]
fn a_switchover_under_load_is_noticed_by_nobody() {
    let fleet = Fleet::shared();
    let fields = "warm: 8, max: 80, reuse: 100000, network: Sealed, max_surge: 3, \
                  queue: (length: 64, timeout: \"50s\")";
    let config = every_host("roll", &fleet, 40);
    let config = config.fixture("echo", fields, &["--banner", "one"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let mut held: Vec<_> = (0..50).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.line(), "one"));
    let held_by: BTreeSet<_> =
        held.iter().map(|client| format!("127.0.0.1:{}", client.port())).collect();
    let label = ganger.label();

    let (stop, mut before) = (AtomicBool::new(false), 0);
    let told = thread::scope(|scope| {
        let done = StopOnDrop(&stop);
        let visitors = scope.spawn(|| visits(port, &stop));
        // Held clients came all at once, before there was stock for them; visitors are
        // served from stock once there is enough.
        wait_until(DEADLINE, "a stock for the visitors", || {
            let ends = ganger.ends_after(0);
            before = ends.len();
            before >= 10 && ends[before - 10..].iter().all(|end| end.field("start") != "cold")
        });
        ganger.reload(&config.clone().changed("echo", fields, &["--banner", "two"]).to_string());
        ganger.wait_for_line(DEADLINE, |line| line.contains("switched over"));
        held.iter_mut().for_each(|client| client.echo("still here"));
        assert_eq!(ask(port), "two");
        drop(done);
        visitors.join().unwrap()
    });
    assert!(told.iter().any(|told| told == "one"), "the load began too late");
    for client in held {
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let ends = ganger.wait_for_ends(50 + told.len() + 1);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    for end in ends[before..].iter().filter(|end| !held_by.contains(end.field("client"))) {
        assert_ne!(end.field("start"), "cold", "the stock was empty: {end:?}");
    }
    // The old ones go when nobody has them.
    wait_until(DEADLINE, "the old ones to go", || {
        let left = labelled(fleet.all(), &label);
        left.iter().all(|(_, container)| container.label("io.ganger.generation") == Some("2"))
    });
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn what_does_not_work_is_rolled_back_with_the_reason() {
    let fleet = Fleet::shared();
    let fields = "warm: 2, max: 8, network: Sealed";
    let config = every_host("broken", &fleet, 40).fixture("echo", fields, &["--banner", "one"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let broken: [(&str, &[&str], &str); 3] = [
        (fields, &["--log-start", "no such flag", "--exit", "3"], "no such flag"),
        ("warm: 2, max: 8, network: Named(\"absent\")", &["--banner", "two"], "absent"),
        (
            "warm: 2, max: 8, network: Sealed, timeouts: (start: \"2s\")",
            &["--delay", "60s"],
            "timeouts.start",
        ),
    ];
    for (fields, command, reason) in broken {
        let before = ganger.count("rolled back");
        ganger.reload(&config.clone().changed("echo", fields, command).to_string());
        wait_until(DEADLINE, "the way back", || ganger.count("rolled back") > before);
        let lines = ganger.lines();
        let said = lines.iter().rfind(|line| line.contains("rolled back")).unwrap();
        assert!(said.contains(reason), "{said}");
        assert_eq!(ask(port), "one");
    }
    let ends = ganger.wait_for_ends(3);
    assert!(ends.iter().all(|end| end.field("start") == "warm"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn an_image_that_is_nowhere_is_rolled_back_and_says_how_it_comes_to_be_used() {
    const LATE: &str = "ganger.test/late:1";

    let fleet = Fleet::shared();
    let host = &fleet.hosts()[0];
    // A run that failed may have left it.
    let _ = host.try_docker(&["image", "rm", "--force", LATE]);
    let fields = "warm: 1, max: 4, network: Sealed, pull: Never";
    let config =
        Config::new("late").daemon(host.daemon(40)).fixture("echo", fields, &["--banner", "one"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let changed = config.clone().changed("echo", fields, &["--banner", "two"]);
    let changed = changed.to_string().replace(FIXTURE, LATE);
    ganger.reload(&changed);
    let said = ganger.wait_for_line(DEADLINE, |line| line.contains("rolled back"));
    for part in [
        "the one before goes on: no daemon that answers can run the new one, and none is asked \
         again before the next reload",
        "the image ganger.test/late:1 is not on daemon",
        "`docker pull ganger.test/late:1` there, `ganger push ganger.test/late:1 --to",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(ask(config.port("echo")), "one");
    host.load(&fixture_as(LATE));
    ganger.reload(&changed);
    ganger.wait_for_line(DEADLINE, |line| line.contains("switched over"));
    assert_eq!(ask(config.port("echo")), "two");
    assert_eq!(ganger.stop(), 0);
    let _ = host.docker(&["image", "rm", "--force", LATE]);
    ganger.assert_nothing_left();
}

#[test]
fn a_canary_that_fails_its_clients_is_rolled_back_after_a_few() {
    let fleet = Fleet::shared();
    let fields = "warm: 4, max: 16, network: Sealed, canary: 0.25";
    let config = every_host("canary", &fleet, 40).fixture("echo", fields, &["--banner", "one"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let broken = ["--banner", "two", "--exit-on-data", "3"];
    ganger.reload(&config.clone().changed("echo", fields, &broken).to_string());
    ganger.wait_for_line(DEADLINE, |line| line.contains("stage=\"canary\""));
    let [mut served, mut failed] = [0, 0];
    wait_until(DEADLINE, "the way back", || {
        let mut client = Client::connect(port);
        if client.line() == "one" {
            client.echo("hello");
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
            served += 1;
        } else {
            client.send("hello\n");
            assert_eq!(client.ending(), Ending::Reset(Vec::new()));
            failed += 1;
        }
        ganger.count("rolled back") > 0
    });
    let said = ganger.wait_for_line(DEADLINE, |line| line.contains("rolled back"));
    assert!(said.contains("connections to it"), "{said}");
    // Clients of the canary's stock failed, and some before the third failure was known.
    assert!((3..=6).contains(&failed) && served > failed, "{failed} failed, {served} were served");
    assert_eq!(ask(port), "one");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn a_file_with_mistakes_changes_nothing() {
    let fleet = Fleet::shared();
    let fields = "warm: 1, max: 4, network: Sealed";
    let config = every_host("wrong", &fleet, 40).fixture("echo", fields, &["--banner", "one"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let mut held = Client::connect(port);
    assert_eq!(held.line(), "one");
    ganger.wait_until_stocked("echo");

    let text = config.to_string();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port();
    let absent = "Consul(servers: [\"http://127.0.0.1:1\"], service: \"d\", max_containers: 1)";
    let mistakes = [
        (config.clone().discovery(absent.to_owned()).to_string(), "discovery does not answer"),
        (text.replace("warm: 1", "worm: 1"), "did you mean `warm`"),
        (text.replace(config.instance(), "another"), "`instance` is another now"),
        (text.replace(&format!(":{port}"), &format!(":{taken}")), "cannot listen on"),
        (text.replace("daemons:", "guardian: false, daemons:"), "`guardian` cannot be changed"),
    ];
    for (text, said) in mistakes {
        let before = ganger.count("nothing has changed");
        ganger.reload(&text);
        wait_until(DEADLINE, "a verdict", || ganger.count("nothing has changed") > before);
        assert!(ganger.count(said) > 0, "{said}: {:#?}", ganger.lines());
        assert_eq!(ask(port), "one");
    }
    held.echo("still here");
    assert_eq!(held.finish(), Ending::Closed(Vec::new()));
    assert_eq!(ganger.count("rolling out"), 0);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn services_and_daemons_come_go_and_move() {
    let fleet = Fleet::shared();
    let fields = "warm: 1, max: 4, network: Sealed";
    let [first, second, ..] = fleet.hosts() else { panic!("the fleet has hosts") };
    let config = Config::new("move")
        .daemon(first.daemon(40))
        .fixture("stays", fields, &["--banner", "stays"])
        .fixture("goes", fields, &["--banner", "goes"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let mut held: Vec<_> = ["stays", "goes"].map(|name| Client::connect(config.port(name))).into();
    held.iter_mut().for_each(|client| drop(client.line()));

    let next = config.clone().moved("stays").without("goes").without_daemons();
    let next = next.daemon(second.daemon(40)).fixture("comes", fields, &["--banner", "comes"]);
    ganger.reload(&next.to_string());
    let line =
        ganger.wait_for_line(DEADLINE, |line| line.contains("the configuration is reloaded"));
    for said in [
        "services added: 1; services changed: 1; services removed: 1; daemons added: 1; daemons \
         removed: 1",
        "sessions=2",
    ] {
        assert!(line.contains(said), "{line}");
    }
    assert_eq!(ask(next.port("comes")), "comes");
    assert_eq!(ask(next.port("stays")), "stays");
    for (name, port) in [("stays", config.port("stays")), ("goes", config.port("goes"))] {
        assert!(Client::try_connect(port).is_err(), "{name} is still there at its old place");
    }
    // Held clients are still connected, on the daemon that left.
    held.iter_mut().for_each(|client| client.echo("still here"));
    for client in held {
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let label = ganger.label();
    wait_until(DEADLINE, "the first daemon to be empty", || first.containers(&label).is_empty());
    let ends = ganger.wait_for_ends(4);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn a_daemon_that_comes_back_at_another_place_leaves_nothing_where_it_was() {
    let fleet = Fleet::shared();
    let fields = "warm: 1, max: 4, network: Sealed";
    let [first, second, ..] = fleet.hosts() else { panic!("the fleet has hosts") };
    let config = Config::new("back").daemon(first.daemon(40)).fixture("echo", fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let (port, label) = (config.port("echo"), ganger.label());
    let mut held = Client::connect(port);
    held.echo("one");
    wait_until(DEADLINE, "a full stock", || first.containers(&label).len() == 2);

    // Out by one reload, in at another place by the next.
    let another = |daemon: String| config.clone().without_daemons().daemon(daemon).to_string();
    let reloaded = |daemon: String| {
        let before = ganger.count("the configuration is reloaded");
        ganger.reload(&another(daemon));
        wait_until(DEADLINE, "a reload", || ganger.count("the configuration is reloaded") > before);
    };
    reloaded(second.daemon(40));
    reloaded(first.daemon(40).replace(&first.url(), &second.url()));
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains(&format!("joined the fleet daemon={}~2", first.name))
    });
    Client::connect(port).echo("two");
    held.echo("three");
    // Only what is leased is left there, and that until it ends.
    wait_until(DEADLINE, "the stock to go", || first.containers(&label).len() == 1);
    held.echo("four");
    assert_eq!(held.finish(), Ending::Closed(Vec::new()));
    wait_until(DEADLINE, "the old one to be empty", || first.containers(&label).is_empty());
    let ends = ganger.wait_for_ends(2);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert!(!second.containers(&label).is_empty());
    // Also when it comes back there while one is leased, and the program ends before the client.
    let mut held = Client::connect(port);
    held.echo("five");
    reloaded(first.daemon(40));
    held.echo("six");
    assert_eq!(held.finish(), Ending::Closed(Vec::new()));
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
