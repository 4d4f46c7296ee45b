//! Starts, stops and crashes: nothing is left behind, whatever happens.

use std::time::{Duration, Instant};

use ganger_test_support::{
    Client, Config, Ending, Fleet, Ganger, Host, Watch, engine_now, labelled, under_load,
    wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// A sealed echo service on one host.
fn one(name: &str, host: &Host, fields: &str) -> Config {
    let fields = format!("network: Sealed, {fields}");
    Config::new(name).daemon(host.daemon(40)).fixture("echo", &fields, &[])
}

/// Without the guardian, which would do what the next start, or a reap by hand,
/// is to be seen doing. Only these two are left when the machine itself fails.
const ALONE: &str = "guardian: false";

/// Another verb of the program with the same configuration; returns its exit
/// code and what it printed.
fn verb(fleet: &Fleet, config: &Config, args: &[&str]) -> (Option<i32>, String) {
    let mut program = Ganger::start(GANGER, fleet, config.instance(), &config.to_string(), args);
    let code = program.wait(DEADLINE).code();
    let printed = program.lines().join("\n");
    // Dropped, it would take the containers and the configuration with it.
    std::mem::forget(program);
    (code, printed)
}

#[test]
fn what_a_killed_run_left_is_gone_before_the_next_one_accepts() {
    let fleet = Fleet::shared();
    let fields = "warm: 4, max: 24, network: Sealed";
    let config = fleet
        .all()
        .iter()
        .fold(Config::new("killed"), |config, host| config.daemon(host.daemon(40)))
        .fixture("id", fields, &["identify"])
        .with(ALONE);
    let mut first = config.serve(GANGER, &fleet);
    let (port, boot) = (config.port("id"), first.boot());

    // Under load: containers are launched, leased and removed as it is killed.
    under_load(port, || first.kill());
    let left = labelled(fleet.all(), &boot);
    // A paused container resists removal; the engine may be about to remove some.
    let paused = left.iter().any(|(host, c)| host.try_docker(&["pause", &c.id]).is_ok());
    assert!(paused, "{left:#?}");

    let began = Instant::now();
    let mut second = config.start(GANGER, &fleet);
    let mut client = None;
    wait_until(DEADLINE, "the second run accepts", || {
        client = Client::try_connect(port).ok();
        client.is_some()
    });
    let still: Vec<_> = labelled(fleet.all(), &boot)
        .into_iter()
        .filter(|(_, c)| left.iter().any(|(_, before)| before.id == c.id))
        .collect();
    assert!(still.is_empty(), "of an earlier run, while clients are accepted: {still:#?}");
    // An engine may carry out a call of the killed process later than that.
    wait_until(DEADLINE, "nothing of the first run is left", || {
        labelled(fleet.all(), &boot).is_empty()
    });
    println!(
        "{} containers of the killed run were gone {:?} after the start",
        left.len(),
        began.elapsed()
    );
    assert_ne!(second.boot(), boot);
    assert!(client.unwrap().line().ends_with(" 1"));
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_create_that_comes_to_life_after_it_was_given_up_is_removed() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let fields = "warm: 0, max: 1, network: Sealed, queue: (length: 8, timeout: \"120s\")";
    let config = Config::new("ghost").daemon(host.daemon(1)).fixture("id", fields, &["identify"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let (port, boot) = (config.port("id"), ganger.boot());
    let since = engine_now();

    let frozen = fleet.freeze(host);
    let waiting = Client::connect(port);
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("launch failed"));
    assert!(line.contains("launch=1 ") && line.contains("did not answer"), "{line}");
    let watch = Watch::start(std::slice::from_ref(host), &boot);
    drop(frozen);

    let ghost = format!("{}-1", boot.split_once('=').unwrap().1);
    wait_until(DEADLINE, "the create has come to life and is removed", || {
        let history = host.history(&boot, &since);
        let happened = |what: &str| history.iter().any(|event| *event == format!("{what} {ghost}"));
        assert!(!happened("start"), "{history:?}");
        happened("create") && happened("destroy")
    });
    // Its place is free now, and was kept until then.
    drop(waiting);
    let mut served = None;
    wait_until(DEADLINE, "clients are served again", || {
        let mut client = Client::connect(port);
        served = client.try_line().ok().map(|line| (client, line));
        served.is_some()
    });
    let (client, line) = served.unwrap();
    assert!(line.ends_with(" 1"), "{line}");
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    assert_eq!(ganger.stop(), 0);
    assert_eq!(watch.stop()[&host.name], 1, "the most containers at once, where one is allowed");
}

#[test]
fn a_create_of_a_killed_run_that_comes_to_life_later_is_removed() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let config = one("late", host, "warm: 0, max: 1").with(ALONE);
    let mut first = config.serve(GANGER, &fleet);
    let (port, boot) = (config.port("echo"), first.boot());
    let since = engine_now();
    let frozen = fleet.freeze(host);
    let client = Client::connect(port);
    // The engine has the request when the list has been missed as well.
    first.wait_for_line(DEADLINE, |line| line.contains("launch failed"));
    first.kill();
    drop(client);

    let mut second = config.start(GANGER, &fleet);
    second.wait_for_line(DEADLINE, |line| line.contains("listening"));
    drop(frozen);
    // The container may be kept until no run that goes on can want to start it: 40 s.
    wait_until(2 * DEADLINE, "the create has come to life and is removed", || {
        let history = host.history(&boot, &since);
        let happened = |what: &str| history.iter().any(|event| event.starts_with(what));
        happened("create") && happened("destroy")
    });
    second.wait_until_stocked("echo");
    let mut client = Client::connect(port);
    client.echo("served");
    drop(client);
    assert!(labelled(fleet.all(), &boot).is_empty());
    assert_eq!(second.stop(), 0);
}

#[test]
fn connections_may_end_in_peace_and_nothing_is_left() {
    let fleet = Fleet::shared();
    let config = one("drain", &fleet.hosts()[0], "warm: 2, max: 6").with("drain_timeout: \"10m\"");
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let mut client = Client::connect(port);
    client.echo("before");
    // As timeout(1) does: to the process, and to its group.
    ganger.signal(Signal::TERM);
    ganger.signal(Signal::TERM);
    ganger.wait_for_line(DEADLINE, |line| line.contains("stopping"));
    wait_until(DEADLINE, "nobody else is let in", || !Client::is_listening(port));
    // The stock goes at once; who is served stays.
    wait_until(DEADLINE, "the stock is gone", || labelled(fleet.all(), &ganger.label()).len() == 1);
    client.echo("while it drains");
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
    ganger.assert_nothing_left();
}

#[test]
fn a_connection_that_stays_is_cut_after_the_drain_time_out() {
    let fleet = Fleet::shared();
    let config = one("cut", &fleet.hosts()[1], "warm: 1, max: 4").with("drain_timeout: \"1s\"");
    let mut ganger = config.serve(GANGER, &fleet);
    let mut client = Client::connect(config.port("echo"));
    client.echo("before");
    assert_eq!(ganger.stop(), 5);
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    let end = ganger.wait_for_end(client.port());
    assert_eq!((end.field("end"), end.reason()), ("KD", "cut by the operator"));
}

#[test]
fn a_second_signal_ends_it_at_once_and_still_nothing_is_left() {
    let fleet = Fleet::shared();
    let config = one("twice", &fleet.hosts()[2], "warm: 3, max: 4").with("drain_timeout: \"1h\"");
    let mut ganger = config.serve(GANGER, &fleet);
    let mut client = Client::connect(config.port("echo"));
    client.echo("before");
    ganger.signal(Signal::INT);
    ganger.wait_for_line(DEADLINE, |line| line.contains("stopping"));
    client.echo("while it drains");
    assert_eq!(ganger.stop(), 5);
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
}

#[test]
fn a_third_signal_ends_it_whatever_is_left() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let config = one("thrice", host, "warm: 2, max: 4").with("drain_timeout: \"1h\"").with(ALONE);
    let mut ganger = config.serve(GANGER, &fleet);
    let mut client = Client::connect(config.port("echo"));
    client.echo("before");
    // The replacement is launched, too: a create on its way would come true after the reap.
    let running = |host: &Host, label: &str| {
        host.containers(label).iter().filter(|container| container.state == "running").count()
    };
    wait_until(DEADLINE, "nothing is launched", || running(host, &ganger.label()) == 3);
    // Nothing can be removed until it is over.
    let frozen = fleet.freeze(host);
    for (signal, said) in [(Signal::TERM, "stopping"), (Signal::INT, "unless told again")] {
        ganger.signal(signal);
        ganger.wait_for_line(DEADLINE, |line| line.contains(said));
    }
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    ganger.signal(Signal::TERM);
    assert_eq!(ganger.wait(DEADLINE).code(), Some(128 + 15));
    assert_eq!(ganger.count("`ganger reap` removes what is left"), 1);
    drop(frozen);
    let (code, printed) = verb(&fleet, &config, &["reap"]);
    assert_eq!(code, Some(0), "{printed}");
    ganger.assert_nothing_left();
}

#[test]
fn launches_under_way_are_not_left_either() {
    let fleet = Fleet::shared();
    fleet.load_images();
    for _ in 0..3 {
        let config = one("early", &fleet.hosts()[1], "warm: 8, max: 8");
        let mut ganger = config.start(GANGER, &fleet);
        let label = ganger.label();
        wait_until(DEADLINE, "the first is launched", || {
            !labelled(fleet.hosts(), &label).is_empty()
        });
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn launches_that_are_not_wanted_any_more_are_not_reported_as_failed() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let host = &fleet.hosts()[2];
    let fields = "network: Sealed, warm: 2, max: 2, ready: Log(\"never said\")";
    let config = Config::new("unwanted").daemon(host.daemon(40));
    let config = config.fixture("echo", fields, &["--log", "not quite"]);
    let mut ganger = config.start(GANGER, &fleet);
    wait_until(DEADLINE, "both have logged", || {
        let launched = labelled(std::slice::from_ref(host), &ganger.label());
        launched.iter().filter(|(_, one)| host.logs(&one.id).contains("not quite")).count() == 2
    });
    assert_eq!(ganger.stop(), 0);
    for said in ["last log lines", "launch failed"] {
        assert_eq!(ganger.count(said), 0, "{:#?}", ganger.lines());
    }
}

#[test]
fn two_processes_do_not_run_as_one_instance() {
    let fleet = Fleet::shared();
    let config = one("twin", &fleet.hosts()[0], "warm: 1, max: 2");
    let mut ganger = config.serve(GANGER, &fleet);
    let expected = format!("is running already as process {}", ganger.pid());
    for args in [&["run"][..], &["reap"]] {
        let (code, printed) = verb(&fleet, &config, args);
        assert_eq!(code, Some(1), "{args:?}: {printed}");
        assert!(printed.contains(&expected), "{args:?}: {printed}");
    }
    // To look is allowed.
    let (code, printed) = verb(&fleet, &config, &["reap", "--dry-run"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(&expected) && printed.contains("1 containers would be"), "{printed}");
    // The first has not noticed.
    let mut client = Client::connect(config.port("echo"));
    client.echo("still here");
    drop(client);
    assert_eq!(ganger.wait_for_ends(1)[0].field("start"), "warm");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn two_processes_of_one_name_that_cannot_see_each_other_are_told_and_both_serve_on() {
    let fleet = Fleet::shared();
    let host = &fleet.hosts()[2];
    let config = one("double", host, "warm: 2, max: 4");
    let mut first = config.serve(GANGER, &fleet);
    // Another network namespace is as good as another machine.
    let namespace = format!("--net=/run/netns/{}", host.netns.as_deref().unwrap());
    let args = [namespace.as_str(), GANGER, "run"];
    let text = config.to_string();
    let mut second = Ganger::start("nsenter", &fleet, config.instance(), &text, &args);
    let told = |one: &Ganger, other: &Ganger| {
        let said = ["another process runs under our instance name", &other.boot()];
        one.wait_for_line(DEADLINE, |line| said.iter().all(|said| line.contains(said)));
    };
    // The second takes what it finds for an earlier run's; the first one launches anew.
    second.wait_until_stocked("echo");
    told(&second, &first);
    told(&first, &second);

    // Neither touches what the other has from then on.
    let stock = |ganger: &Ganger| labelled(std::slice::from_ref(host), &ganger.boot()).len();
    wait_until(DEADLINE, "both have their stock", || (stock(&first), stock(&second)) == (2, 2));
    second.signal(Signal::TERM);
    assert_eq!(second.wait(DEADLINE).code(), Some(0));
    assert_eq!((stock(&first), stock(&second)), (2, 0));
    let mut client = Client::connect(config.port("echo"));
    client.echo("still here");
    drop(client);
    assert_eq!(first.wait_for_ends(1)[0].field("start"), "warm");
    assert_eq!(first.count("another process runs"), 1);
    assert_eq!(first.stop(), 0);
}

#[test]
fn what_cannot_be_removed_is_named_and_reaped_later() {
    let fleet = Fleet::take(2);
    let (host, other) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    let config = Config::new("left").daemon(host.daemon(2)).daemon(other.daemon(2));
    let config = config.fixture("echo", "network: Sealed, warm: 4, max: 4", &[]).with(ALONE);
    let mut ganger = config.serve(GANGER, &fleet);
    let label = ganger.label();
    let count = |host: &Host| host.containers(&label).len();
    assert_eq!((count(host), count(other)), (2, 2));

    let frozen = fleet.freeze(host);
    ganger.signal(Signal::TERM);
    assert_eq!(ganger.wait(2 * DEADLINE).code(), Some(1));
    let said = format!("containers may be left on {} (2: ", host.name);
    assert!(ganger.lines().iter().any(|line| line.contains(&said)), "{:#?}", ganger.lines());
    // A daemon that does not answer is no reason to leave the others' behind.
    assert_eq!(count(other), 0);
    let (code, printed) = verb(&fleet, &config, &["reap"]);
    assert_eq!(code, Some(4), "{printed}");
    drop(frozen);

    // The engine may carry out now what was asked for before the process ended.
    let (code, printed) = verb(&fleet, &config, &["reap"]);
    assert_eq!(code, Some(0), "{printed}");
    ganger.assert_nothing_left();
}

#[test]
fn what_a_killed_run_left_is_removed_by_hand() {
    // Each has room for no more than its half: a network without a container is counted as well.
    let fleet = Fleet::take(2);
    let (host, other) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    // On a network of Ganger's own, which shows when they are gone.
    let config = Config::new("reap")
        .daemon(host.daemon(2))
        .daemon(other.daemon(2))
        .fixture("echo", "warm: 4, max: 4", &[])
        .with(ALONE);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.kill();
    let left = labelled(fleet.all(), &ganger.label());
    assert_eq!(left.len(), 4);
    left[0].0.pause(&left[0].1.id);

    let (code, printed) = verb(&fleet, &config, &["reap", "--dry-run"]);
    let instance = config.instance();
    let expected = format!("instance {instance}: 4 containers would be removed");
    assert!(code == Some(0) && printed.ends_with(&expected), "{printed}");
    assert_eq!(labelled(fleet.all(), &ganger.label()).len(), 4);

    let (code, printed) = verb(&fleet, &config, &["reap", "--instance", "another"]);
    assert!(
        code == Some(0) && printed.ends_with("another: 0 of 0 containers removed"),
        "{printed}"
    );
    assert_eq!(labelled(fleet.all(), &ganger.label()).len(), 4);

    let (code, printed) = verb(&fleet, &config, &["reap"]);
    let all = "4 of 4 containers, and 2 of 2 networks and volumes removed";
    let expected = format!("instance {instance}: {all}");
    assert!(code == Some(0) && printed.ends_with(&expected), "{printed}");
    ganger.assert_nothing_left();
}
