//! The guardian: whatever ends the program, its containers end with it, without
//! another start.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Consul, Fleet, Ganger, Host, SURE, engine_now, labelled, under_load, wait_until,
};
use rustix::process::{Pid, Signal, getpgid, getsid, kill_process, kill_process_group};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
/// How soon a guardian ends that is told to: long before it would be sure that nothing comes late.
const TOLD: Duration = Duration::from_secs(20);

/// A service on every host.
fn everywhere(name: &str, fleet: &Fleet) -> Config {
    let fields = "warm: 4, max: 24, network: Sealed";
    let config = Config::new(name);
    let config = fleet.all().iter().fold(config, |config, host| config.daemon(host.daemon(40)));
    config.fixture("id", fields, &["identify"])
}

/// A sealed echo service on one host.
fn one(name: &str, host: &Host, fields: &str) -> Config {
    let fields = format!("network: Sealed, {fields}");
    Config::new(name).daemon(host.daemon(40)).fixture("echo", &fields, &[])
}

/// The guardian of a program.
fn guardian(ganger: &Ganger) -> Pid {
    let children = ganger.children();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn is_there(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn count(fleet: &Fleet, label: &str) -> usize {
    labelled(fleet.all(), label).len()
}

/// Fails unless everything of a program that was killed just now goes.
fn assert_cleared(fleet: &Fleet, ganger: &Ganger) {
    let boot = ganger.boot();
    wait_until(DEADLINE, "nothing of the killed program is left", || count(fleet, &boot) == 0);
}

/// Fails unless that stays so until its guardian is sure of it and ends.
fn assert_stays_cleared(fleet: &Fleet, ganger: &mut Ganger) {
    ganger.wait_for_guardian(SURE);
    assert_eq!(count(fleet, &ganger.boot()), 0);
    assert_eq!(ganger.count("may be left"), 0, "{:#?}", ganger.lines());
}

#[test]
fn a_program_that_is_killed_under_load_leaves_nothing_and_others_keep_theirs() {
    // As many as it launches leave no room for those of others.
    let fleet = Fleet::take(3);
    let (config, other) =
        (everywhere("killed", &fleet).guarded_in_full(), one("other", fleet.local(), "warm: 2"));
    let (mut ganger, mut bystander) = (config.serve(GANGER, &fleet), other.serve(GANGER, &fleet));
    let (port, boot) = (config.port("id"), ganger.boot());
    let theirs = || {
        let found = labelled(fleet.all(), &bystander.label()).into_iter();
        found.map(|(_, container)| container.id).collect::<Vec<_>>()
    };
    let before = theirs();

    under_load(port, || {
        assert!(count(&fleet, &boot) > 0, "there is something to remove");
        ganger.kill();
    });
    assert_cleared(&fleet, &ganger);
    assert_stays_cleared(&fleet, &mut ganger);
    assert_eq!(theirs(), before);
    assert_eq!(bystander.stop(), 0);
}

#[test]
fn a_create_that_comes_to_life_after_the_kill_is_removed() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    // A launch that is given up takes the place of another until it is known to be gone.
    let config = one("late", host, "warm: 0, max: 1");
    let mut ganger = config.serve(GANGER, &fleet);
    let (label, since) = (ganger.boot(), engine_now());
    let frozen = fleet.freeze(host);
    let client = Client::connect(config.port("echo"));
    // The engine has the request when the list has been missed as well.
    ganger.wait_for_line(DEADLINE, |line| line.contains("launch failed"));
    ganger.kill();
    drop(client);
    ganger.wait_for_line(DEADLINE, |line| line.contains("removing its containers"));
    drop(frozen);
    let said = |line: &str| line.contains("nothing is left of the process");
    let _ = ganger.wait_for_line(SURE, said);
    let history = host.history(&label, &since);
    assert!(history.iter().any(|event| event.starts_with("create")), "{history:?}");
    assert_eq!(count(&fleet, &label), 0);
    ganger.wait_for_guardian(DEADLINE);
}

#[test]
fn neither_a_signal_to_the_guardian_nor_its_death_leaves_anything_behind() {
    let fleet = Fleet::shared();
    let config = one("replaced", fleet.local(), "warm: 3, max: 4");
    let mut ganger = config.serve(GANGER, &fleet);
    let first = guardian(&ganger);
    assert_eq!(getsid(Some(first)).unwrap(), first, "its session is its own");
    assert_eq!(getpgid(Some(first)).unwrap(), first);
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", first.as_raw_nonzero()));
    // Root may lack the capability for it.
    let permitted =
        Command::new("sh").args(["-c", "echo -900 > /proc/self/oom_score_adj"]).status();
    assert_eq!(score.unwrap().trim() == "-900", permitted.unwrap().success());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(first, signal).unwrap();
        // Time enough to end, and to be missed: some launches.
        for _ in 0..4 {
            Client::connect(config.port("echo")).echo("served");
        }
    }
    assert_eq!(ganger.count("the guardian ended"), 0, "{:#?}", ganger.lines());
    assert_eq!(guardian(&ganger), first);
    kill_process(first, Signal::KILL).unwrap();
    ganger.wait_for_line(DEADLINE, |line| line.contains("the guardian ended"));
    wait_until(DEADLINE, "another guardian is ready", || {
        ganger.count("the guardian is ready") == 2
    });
    assert_ne!(guardian(&ganger), first);
    ganger.kill();
    assert_cleared(&fleet, &ganger);
}

#[test]
fn what_kills_the_whole_process_group_does_not_reach_the_guardian() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = one("group", fleet.local(), "warm: 3, max: 4");
    let (instance, text) = (config.instance(), config.to_string());
    // setsid(1) becomes the program, which then leads a group.
    let mut ganger = Ganger::start("setsid", &fleet, instance, &text, &[GANGER, "run"]);
    ganger.wait_until_stocked("echo");
    let leader = i32::try_from(ganger.pid()).ok().and_then(Pid::from_raw).unwrap();
    let guardian = guardian(&ganger);
    kill_process_group(leader, Signal::KILL).unwrap();
    assert_cleared(&fleet, &ganger);
    // Nobody else would: with its process it has left the harness's sight.
    kill_process(guardian, Signal::TERM).unwrap();
    ganger.wait_for_guardian(DEADLINE);
}

#[test]
fn a_new_start_and_the_guardian_of_the_last_one_do_not_disturb_each_other() {
    let fleet = Fleet::shared();
    let config = one("again", &fleet.hosts()[2], "warm: 3, max: 6");
    let mut first = config.serve(GANGER, &fleet);
    first.kill();
    let mut second = config.start(GANGER, &fleet);
    second.wait_until_stocked("echo");
    let stock = || {
        let found = labelled(fleet.all(), &second.boot()).into_iter();
        found.map(|(_, container)| container.id).collect::<Vec<_>>()
    };
    let before = stock();
    assert_eq!(before.len(), 3);
    assert_cleared(&fleet, &first);
    assert_stays_cleared(&fleet, &mut first);
    assert_eq!(stock(), before);
    for ganger in [&first, &second] {
        assert_eq!(ganger.count("another process runs"), 0, "{:#?}", ganger.lines());
    }
    let mut client = Client::connect(config.port("echo"));
    client.echo("served");
    drop(client);
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_stop_in_good_order_takes_the_guardian_along() {
    let fleet = Fleet::shared();
    for signal in [Signal::TERM, Signal::INT] {
        let mut ganger = one("stop", fleet.local(), "warm: 2, max: 4").serve(GANGER, &fleet);
        let guardian = guardian(&ganger);
        // As a terminal or a service manager does that signals all there is.
        kill_process(guardian, signal).unwrap();
        ganger.signal(signal);
        assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
        assert!(!is_there(guardian));
        ganger.assert_nothing_left();
        assert_eq!(ganger.count("removing its containers"), 0, "{:#?}", ganger.lines());
    }
}

#[test]
fn without_a_guardian_there_is_none() {
    let fleet = Fleet::shared();
    let config = one("alone", fleet.local(), "warm: 1, max: 2").with("guardian: false");
    let mut ganger = config.serve(GANGER, &fleet);
    assert_eq!(ganger.children(), []);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn what_a_stop_cannot_remove_the_guardian_does() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    // More than are removed at a time: what an engine was asked for, it does.
    let config = Config::new("later").daemon(host.daemon(12));
    let config = config.fixture("echo", "network: Sealed, warm: 12, max: 12", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let (label, guardian) = (ganger.label(), guardian(&ganger));
    let frozen = fleet.freeze(host);
    let signals = [
        (Signal::TERM, "stopping"),
        (Signal::INT, "unless told again"),
        (Signal::TERM, "leaving at once"),
    ];
    for (signal, said) in signals {
        ganger.signal(signal);
        ganger.wait_for_line(DEADLINE, |line| line.contains(said));
    }
    ganger.wait_for_line(DEADLINE, |line| line.contains("removing its containers"));
    drop(frozen);
    wait_until(DEADLINE, "nothing is left", || count(&fleet, &label) == 0);
    // Its process is gone: from now on it can be stopped, too.
    kill_process(guardian, Signal::TERM).unwrap();
    ganger.wait_for_guardian(TOLD);
    assert_eq!(ganger.wait(DEADLINE).code(), Some(128 + 15));
}

#[test]
fn a_daemon_that_has_joined_or_left_is_cleared_as_well() {
    let fleet = Fleet::shared();
    let consul = Consul::start(&fleet, "dc1", None);
    let (leaves, joins) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    let servers = consul.url();
    let config = Config::new("discovered")
        .discovery(format!(
            "Consul(servers: [{servers:?}], service: \"docker\", max_containers: 4, insecure: true)"
        ))
        .fixture("echo", "warm: 2, max: 8, network: Bridge", &[]);
    consul.register("docker", leaves, 40);
    let mut ganger = config.serve(GANGER, &fleet);
    let boot = ganger.boot();
    let on = |host: &Host| host.containers(&boot).len();
    // The client stays on the daemon that leaves.
    let mut client = Client::connect(config.port("echo"));
    client.echo("here I stay");
    consul.register("docker", joins, 40);
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains("joined the fleet") && line.contains(&joins.name)
    });
    consul.deregister(leaves);
    wait_until(DEADLINE, "the stock is where it is to be", || (on(leaves), on(joins)) == (1, 2));
    client.echo("still here");
    // Neither is needed for it.
    drop(consul);
    fs::remove_file(
        std::env::temp_dir().join(format!("ganger-test-{}/ganger.ron", config.instance())),
    )
    .unwrap();
    ganger.kill();
    assert_cleared(&fleet, &ganger);
}
