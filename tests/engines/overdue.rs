//! The deadline of containers: who may remove what nobody else may reach again.

use std::time::{Duration, UNIX_EPOCH};

use ganger_test_support::{Client, Config, FIXTURE, Fleet, Ganger, Host, Running, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const LABEL: &str = "io.ganger.deadline";
const LAUNCH: &str = "io.ganger.launch";
const DAY: u64 = 24 * 60 * 60;

fn one(name: &str, host: &Host, fields: &str) -> Config {
    let fields = format!("warm: 2, max: 4, network: Sealed, {fields}");
    Config::new(name).daemon(host.daemon(40)).fixture("echo", &fields, &[])
}

/// A container with these labels, as if somebody else had launched it.
fn labelled<'h>(host: &'h Host, labels: &[&str]) -> Running<'h> {
    let value = |key| {
        let mut labels = labels.iter();
        labels.find_map(|label| label.strip_prefix(key)?.strip_prefix('=')).unwrap_or("none")
    };
    // Its name says that they are its own.
    let (service, launch) = (value("io.ganger.service"), value("io.ganger.launch"));
    let name = format!("--name=ganger-{service}-{launch}");
    let labels: Vec<_> = labels.iter().map(|label| format!("--label={label}")).collect();
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    host.run(&[&labels[..], &[&name, "--network=none", FIXTURE]].concat())
}

/// The output of `ganger reap --overdue`, run by another instance, and its exit code.
fn reap(fleet: &Fleet, host: &Host, args: &[&str]) -> (Option<i32>, String) {
    let config = one("peer", host, "max_surge: 1");
    let (instance, text) = (config.instance(), config.to_string());
    let args = [&["reap", "--overdue"], args].concat();
    let mut reap = Ganger::start(GANGER, fleet, instance, &text, &args);
    let code = reap.wait(DEADLINE).code();
    (code, reap.lines().join("\n"))
}

#[test]
fn a_peer_removes_what_is_overdue_and_nothing_else() {
    let fleet = Fleet::shared();
    let host = &fleet.hosts()[1];
    let with_deadline = "overdue_after: \"24h\", timeouts: (session: \"1m\")";
    let killed = |name: &str, fields: &str| {
        let mut ganger = one(name, host, fields).with("guardian: false").serve(GANGER, &fleet);
        ganger.kill();
        ganger
    };
    let (dated, timeless) = (killed("dated", with_deadline), killed("timeless", "max_surge: 1"));
    let in_time = host.containers(&dated.label());
    assert_eq!((in_time.len(), host.containers(&timeless.label()).len()), (2, 2));
    assert!(host.containers(&timeless.label()).iter().all(|one| one.label(LABEL).is_none()));
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    for container in &in_time {
        let deadline: u64 = container.label(LABEL).unwrap().parse().unwrap();
        assert!((now + DAY - 600..=now + DAY).contains(&deadline), "{deadline}, now {now}");
    }

    // Labels as of the killed program, a day later.
    let late = format!("{LABEL}={}", now - 1);
    let launch = format!("{LAUNCH}={}", in_time[0].label(LAUNCH).unwrap().replace('-', "-9"));
    let own = in_time[0].labels.iter().filter(|(key, _)| ![LABEL, LAUNCH].contains(&key.as_str()));
    let own: Vec<_> = own.map(|(key, value)| format!("{key}={value}")).collect();
    let own = own.iter().map(String::as_str);
    let labels: Vec<_> = own.chain([late.as_str(), launch.as_str()]).collect();
    let overdue = labelled(host, &labels);
    let foreign = labelled(host, &[&late]);
    let there = |id: &str| host.try_docker(&["inspect", "--format={{.Id}}", id]).is_ok();

    let (code, said) = reap(&fleet, host, &["--dry-run"]);
    assert!(code == Some(0) && said.ends_with("overdue: 1 containers would be removed"), "{said}");
    assert!(there(&overdue.id));
    let (code, said) = reap(&fleet, host, &[]);
    assert!(code == Some(0) && said.ends_with("overdue: 1 of 1 containers removed"), "{said}");
    assert!(said.contains(&overdue.id[..12]) && !there(&overdue.id));
    assert!(there(&foreign.id), "what is not Ganger's is nobody's to remove");
    let left: Vec<_> = host.containers(&dated.label()).into_iter().map(|one| one.id).collect();
    assert_eq!(left, [&*in_time[0].id, &in_time[1].id]);
    assert_eq!(host.containers(&timeless.label()).len(), 2);
}

#[test]
fn what_runs_retires_its_containers_before_their_deadline() {
    let fleet = Fleet::shared();
    let host = &fleet.hosts()[1];
    // Containers can be leased for two seconds of `overdue_after`.
    let times = "timeouts: (start: \"10s\", session: \"1s\"), connect: (timeout: \"1s\")";
    let config = one("retires", host, &format!("overdue_after: \"134s\", {times}"));
    let mut ganger = config.serve(GANGER, &fleet);
    let label = ganger.label();
    let first = host.containers(&label);
    wait_until(DEADLINE, "all of the first stock are retired", || {
        let now = host.containers(&label);
        first.iter().all(|one| now.iter().all(|other| other.id != one.id))
    });
    Client::connect(config.port("echo")).echo("from another");

    // Without the setting, the existing containers could be leased for too long.
    let fields = format!("warm: 2, max: 4, network: Sealed, {times}");
    ganger.reload(&config.clone().changed("echo", &fields, &[]).to_string());
    let said = "service echo: with these settings containers that are there may be in use when";
    ganger.wait_for_line(DEADLINE, |line| line.contains(said));
    ganger.wait_for_line(DEADLINE, |line| line.contains("nothing has changed"));

    // A reload in between that keeps to the deadline does not help.
    let between = format!("{fields}, max_age: \"1s\"");
    ganger.reload(&config.clone().changed("echo", &between, &[]).to_string());
    ganger.wait_for_line(DEADLINE, |line| line.contains("the configuration is reloaded"));
    ganger.reload(&config.clone().changed("echo", &fields, &[]).to_string());
    wait_until(DEADLINE, "the second refusal", || ganger.count("nothing has changed") == 2);
    assert_eq!(ganger.stop(), 0);
}
