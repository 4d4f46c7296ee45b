//! The test support does to daemons and to the program what it says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ganger_test_support::{FIXTURE, Fleet, Ganger, labelled, unique, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

/// Stands in for the program: a shell script, which gets `--config FILE`.
fn script(fleet: &Fleet, instance: &str, script: &str) -> Ganger {
    Ganger::start("/bin/sh", fleet, instance, "(config)", &["-c", script])
}

/// Runs a container of this instance, and forgets about it.
fn leave_one(fleet: &Fleet, instance: &str) {
    let label = format!("--label=io.ganger.instance={instance}");
    let _ = fleet.local().docker(&["run", "--detach", "--network=none", &label, FIXTURE]);
}

#[test]
fn a_program_is_heard_and_ends_when_it_is_told_to() {
    let fleet = Fleet::shared();
    let mut program = script(
        &fleet,
        &unique("polite"),
        "trap 'echo bye >&2; exit 5' TERM; cat \"$1\"; echo; while :; do sleep 0.05; done",
    );
    assert_eq!(program.wait_for_line(DEADLINE, |line| line.starts_with("(c")), "(config)");
    assert_eq!(program.stop(), 5);
    assert_eq!(program.lines(), ["(config)", "bye"]);
}

#[test]
#[should_panic(expected = "ganger ended without printing the line")]
fn a_program_that_ends_too_early_is_noticed() {
    let fleet = Fleet::shared();
    script(&fleet, &unique("brief"), "echo hello").wait_for_line(DEADLINE, |line| line == "ready");
}

#[test]
#[should_panic(expected = "left behind")]
fn a_program_that_leaves_a_container_behind_is_caught() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let instance = unique("messy");
    let mut program = script(&fleet, &instance, "echo ready; exec sleep 60");
    program.wait_for_line(DEADLINE, |line| line == "ready");
    leave_one(&fleet, &instance);
    program.kill();
    program.assert_nothing_left();
}

#[test]
fn what_a_program_leaves_behind_is_removed_after_it() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let instance = unique("gone");
    let program = script(&fleet, &instance, "exec sleep 60");
    leave_one(&fleet, &instance);
    let label = program.label();
    assert_eq!(labelled(fleet.all(), &label).len(), 1);
    drop(program);
    assert_eq!(labelled(fleet.all(), &label).len(), 0);
}

#[test]
fn a_frozen_daemon_answers_again_when_it_thaws_and_a_cut_one_when_it_heals() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let address: std::net::SocketAddr = format!("{}:2375", host.address()).parse().unwrap();
    let answers = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(300))?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        stream.read_exact(&mut [0; 12])
    };
    wait_until(DEADLINE, "the daemon answers", || answers().is_ok());
    let frozen = fleet.freeze(host);
    assert!(answers().is_err());
    drop(frozen);
    wait_until(DEADLINE, "the daemon has thawed", || answers().is_ok());
    let cut = fleet.cut(host);
    assert!(answers().is_err());
    drop(cut);
    wait_until(DEADLINE, "the daemon is reached again", || answers().is_ok());
    let gone = fleet.kill_daemon(host);
    assert!(answers().is_err());
    drop(gone);
    wait_until(DEADLINE, "the daemon is there again", || answers().is_ok());
}

#[test]
#[should_panic(expected = "faults are for hosts that a test took")]
fn a_host_that_tests_share_is_not_harmed() {
    // Not at the same time: a small fleet has no others to take.
    let shared = Fleet::shared().local().clone();
    let _ = Fleet::take(1).freeze(&shared);
}

#[test]
fn behind_a_frozen_containerd_the_api_answers_but_nothing_starts() {
    let fleet = Fleet::take(1);
    fleet.load_images();
    let host = &fleet.hosts()[0];
    let frozen = fleet.freeze_containerd(host);
    let _ = host.docker(&["ps"]);
    let start = ["run", "--detach", "--rm", "--network=none", FIXTURE, "--exit", "0"];
    let (done, started) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(host.try_docker(&start)).unwrap());
        assert!(started.recv_timeout(Duration::from_secs(2)).is_err(), "it hangs");
        drop(frozen);
        started.recv_timeout(DEADLINE).unwrap().unwrap();
    });
}
