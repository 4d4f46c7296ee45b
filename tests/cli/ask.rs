//! Verbs for a running Ganger, where there is none: what is refused, and what is said.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

/// Every verb that asks.
const VERBS: &[&[&str]] = &[
    &["status"],
    &["containers"],
    &["daemons"],
    &["sessions"],
    &["explain", "7"],
    &["config"],
    &["config", "--service", "echo", "--set"],
    &["events"],
    &["failures"],
    &["failures", "7", "--json"],
    &["events", "--follow"],
    &["drain", "--service", "echo", "--yes"],
    &["drain", "--process", "--yes"],
    &["resume", "--daemon", "local"],
    &["scale", "echo", "--warm", "1"],
    &["reload"],
    &["roll", "echo", "--yes"],
    &["rollback", "echo", "-y"],
    &["retire", "1", "--yes"],
    &["cut", "1", "--yes"],
];

#[test]
fn without_a_running_ganger_every_verb_says_so() {
    let dir = Dir::new();
    let file = dir.write("c.ron", &absent("unasked").to_string());
    for verb in VERBS {
        let asked = dir.ganger(&[verb, &["--socket", "none.sock"][..]].concat());
        asked.expect(4, &["no Ganger answers at none.sock", "`--socket` names another"]);
        assert_eq!(asked.out, "", "{verb:?}");
        // The socket is looked for where the configuration has it.
        dir.ganger(&[verb, &["--config", &file][..]].concat())
            .expect(4, &["no Ganger answers at /run/ganger/unasked"]);
        dir.ganger(verb).expect(3, &["no configuration"]);
    }
    // A HEALTHCHECK knows two exit codes only.
    dir.ganger(&["health", "--socket", "none.sock"]).expect(1, &["no Ganger answers"]);
}

#[test]
fn what_is_hard_to_take_back_needs_somebody_who_agrees() {
    let dir = Dir::new();
    for (verb, what) in [
        (&["drain", "--daemon", "a", "--service", "b"][..], "drain service b, daemon a"),
        (&["drain", "--process"], "stop the whole process"),
        (&["roll", "echo"], "replace every container of echo"),
        (&["rollback", "echo"], "give the rollout of echo up"),
        (&["retire", "1", "2"], "retire 2 containers"),
        (&["cut", "7"], "cut 1 connection"),
    ] {
        let refused = dir.ganger(&[verb, &["--socket", "none.sock"][..]].concat());
        let told = format!("`--yes` is needed to {what}: standard input is no terminal");
        refused.expect(2, &[&told]);
    }
}

/// The program's output on a terminal where this is typed, and its exit code.
fn answered(command: &mut Command, typed: &str) -> (Option<i32>, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap();
    let its = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    command.stdin(OwnedFd::from(its.try_clone().unwrap())).stderr(OwnedFd::from(its));
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    // The command's copies would keep it open.
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = ours.read(&mut part) {
        said.extend_from_slice(&part[..count]);
    }
    (child.wait().unwrap().code(), String::from_utf8(said).unwrap())
}

#[test]
fn on_a_terminal_it_asks() {
    let dir = Dir::new();
    let mut cut = dir.command(&["cut", "7", "--socket", "none.sock"]);
    for typed in ["n\n", "\n", "what\n"] {
        let (code, said) = answered(&mut cut, typed);
        assert!(said.contains("Cut 1 connection? [y/N] "), "{said}");
        assert!(said.contains("nothing was changed"), "{typed:?}: {said}");
        assert_eq!(code, Some(1));
    }
    let (code, said) = answered(&mut cut, "y\n");
    assert!(said.contains("no Ganger answers at none.sock"), "agreed to, so it is tried: {said}");
    assert_eq!(code, Some(4));
}

#[test]
fn orders_that_make_no_sense_are_wrong_command_lines() {
    let dir = Dir::new();
    for (verb, said) in [
        (&["drain"][..], "--process"),
        (&["drain", "--process", "--daemon", "a"], "cannot be used with"),
        (&["drain", "--daemon", "a", "--deadline", "soon"], "--deadline"),
        (&["resume", "--socket", "none.sock"], "--service NAME or --daemon NAME"),
        (&["scale", "echo"], "--warm"),
        (&["scale", "echo", "--warm", "some"], "--warm"),
        (&["top", "--socket", "none.sock"], "`top` needs a terminal"),
        (&["roll"], "SERVICE"),
        (&["retire"], "N"),
        (&["cut", "x"], "invalid value"),
        (&["status", "--wide", "--json"], "cannot be used with"),
        (&["failures", "x"], "invalid value"),
        (&["failures", "1", "--service", "echo"], "cannot be used with"),
    ] {
        dir.ganger(verb).expect(2, &[said]);
    }
}

#[test]
fn clients_who_got_no_container_are_a_failure_that_is_counted() {
    let dir = Dir::new();
    let socket = dir.0.join("admin.sock").display().to_string();
    let config = absent("unserved").with(&format!("admin: (socket: {socket:?})"));
    let (instance, text) = (config.instance(), config.to_string());
    let mut ganger = Ganger::start_alone(GANGER, instance, &text, &["run"]);
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    for _ in 0..2 {
        assert_ne!(Client::connect(config.port("echo")).finish(), Ending::Closed(Vec::new()));
    }
    let failures = |args: &[&str]| {
        let asked = dir.ganger(&[&["failures", "--socket", &socket], args].concat());
        asked.expect(0, &[]);
        asked.out
    };
    wait_until(DEADLINE, "both are told of", || failures(&["1"]).contains("2 times, from "));
    let whole = failures(&["1"]);
    for said in ["failure 1 of echo: ", "phase      lease", "fault      daemon", "end        DQ"] {
        assert!(whole.contains(said), "{whole}");
    }
    assert!(whole.contains(NOWHERE), "why there is no container: {whole}");
    let table = failures(&["--service", "echo"]);
    assert!(table.starts_with("ID  AGO") && table.contains("echo     lease  daemon"), "{table}");
    assert_eq!(failures(&["-q", "--state", "lease"]), "1\n");
    assert_eq!(failures(&["-q", "--daemon", "local"]), "", "none had been chosen");
    let told = failures(&["--json"]);
    assert!(told.contains("\"count\": 2") && told.contains("\"limits\": {"), "{told}");
    let absent = dir.ganger(&["failures", "7", "--socket", &socket]);
    absent.expect(1, &["there is no failure \"7\", or it is not kept any more"]);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn events_are_followed_from_one_process_to_the_next() {
    let dir = Dir::new();
    let socket = dir.0.join("admin.sock").display().to_string();
    let config = absent("followed").with(&format!("admin: (socket: {socket:?})"));
    let (instance, text) = (config.instance(), config.to_string());
    let start = || {
        let ganger = Ganger::start_alone(GANGER, instance, &text, &["run"]);
        ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
        ganger
    };
    let mut first = start();
    let mut follow = dir.command(&["events", "--follow", "--socket", &socket]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = BufReader::new(follow.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("contact-failed")));
    assert_eq!(first.stop(), 0);
    let mut second = start();
    assert_eq!(said.next().as_deref(), Some("another process answers: its events follow"));
    let failed = lines.find(|line| {
        assert!(!line.contains("than is kept"), "of the second nothing is left out");
        line.contains("contact-failed")
    });
    assert!(failed.is_some());
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(second.stop(), 0);
}
