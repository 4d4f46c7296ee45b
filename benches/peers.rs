//! The data path beside HAProxy, nginx, docker-proxy and a direct connection, all in
//! front of one backend, each a process of its own, one after the other in each round.
//!
//! The ways are compared with each other, within one round; absolute figures
//! change from day to day. Ganger leases from a supply that always has something:
//! `lease` measures the cost of the pool's own lease.

#![expect(clippy::expect_used, reason = "a failure is to end the benchmark")]
#![expect(clippy::print_stdout, reason = "it is read on a terminal")]

#[path = "peers/backend.rs"]
mod backend;
#[path = "peers/load.rs"]
mod load;
#[path = "peers/pin.rs"]
mod pin;
#[path = "support/proxied.rs"]
mod proxied;
#[path = "peers/report.rs"]
mod report;
#[path = "peers/ways.rs"]
mod ways;

use std::net::SocketAddr;
use std::time::Duration;
use std::{env, process, thread};

use load::Sorted;
use pin::Pinned;
use report::{EVERY_BYTE, Report};
use rustix::process::{Resource, Rlimit, setrlimit};
use ways::{Child, Way};

/// Rounds, unless `GANGER_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 5;
/// How long nothing happens before a block of connections.
const REST: Duration = Duration::from_millis(150);

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["backend"] => backend::run(),
        ["ganger", to] => ways::ganger(to.parse().expect("an address"), false),
        ["ganger-hot", to] => ways::ganger(to.parse().expect("an address"), true),
        _ => compare(),
    }
}

/// Raises the limit for what each holds: with its backend's, two for a connection.
fn raise_files() {
    let many = Some(4 * load::Idle::COUNT as u64);
    // Without the right to it, the least of what there is decides.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: many, maximum: many });
}

fn compare() {
    raise_files();
    let rounds = env::var("GANGER_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok());
    let backend = ways::Child::start_self(&["backend"]);
    let ways = Way::all(backend.address());
    let mut report = Report::default();
    let count = rounds.unwrap_or(ROUNDS);
    for way in ways.iter().filter(|way| way.name == "ganger") {
        report.note(way.name, EVERY_BYTE, f64::from(u8::from(load::every_byte(way.address))));
    }
    for round in 0..count {
        // Each way is first, second, … in turn.
        let turn: Vec<_> = ways.iter().cycle().skip(round % ways.len()).take(ways.len()).collect();
        say_progress(round, count, "one at a time");
        one_at_a_time(&turn, ["set-up p50", "set-up p99", "ping-pong p50"], &mut report);
        say_progress(round, count, "one at a time, on one processor");
        let on_one = ["set-up p50, one cpu", "set-up p99, one cpu", "ping-pong p50, one cpu"];
        let processes = ways.iter().flat_map(Way::pids).chain([backend.id(), process::id()]);
        let pinned = Pinned::new(processes.collect());
        one_at_a_time(&turn, on_one, &mut report);
        drop(pinned);
        for way in turn {
            say_progress(round, count, way.name);
            settle(&backend);
            many_at_a_time(way, &mut report);
            if round == 0 {
                hold_idle(way, &mut report);
            }
        }
    }
    println!("{}", report.text());
}

#[expect(clippy::print_stderr, reason = "the report alone goes to stdout")]
fn say_progress(round: usize, rounds: usize, name: &str) {
    eprintln!("round {} of {rounds}: {name}", round + 1);
}

/// Operations of microseconds are measured in short blocks, of each way in turn: within a second
/// the machine is the same to all of them.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn one_at_a_time(ways: &[&Way], names: [&'static str; 3], report: &mut Report) {
    let mut times: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); ways.len()];
    for _ in 0..load::BLOCKS {
        for (way, (set_ups, _)) in ways.iter().zip(&mut times) {
            // Connections are made ahead meanwhile, and earlier ones end.
            thread::sleep(REST);
            load::set_up(way.address, set_ups);
        }
        for (way, (_, pings)) in ways.iter().zip(&mut times) {
            thread::sleep(REST);
            load::ping_pong(way.address, pings);
        }
    }
    for (way, (set_ups, pings)) in ways.iter().zip(times) {
        let [p50, p99, ping] = names;
        let set_ups = Sorted::new(set_ups);
        report.note(way.name, p50, set_ups.quantile(50));
        report.note(way.name, p99, set_ups.quantile(99));
        report.note(way.name, ping, Sorted::new(pings).quantile(50));
    }
}

/// Waits until the backend has ended its work for the way before.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn settle(backend: &Child) {
    let mut threads = backend.threads();
    loop {
        thread::sleep(2 * REST);
        let now = backend.threads();
        if now == threads {
            return;
        }
        threads = now;
    }
}

fn many_at_a_time(way: &Way, report: &mut Report) {
    let to: SocketAddr = way.address;
    let mut note = |what, value| report.note(way.name, what, value);
    note("set-ups at 64", load::set_ups_at_a_time(to, 64));
    let cpu = || way.cpu();
    let before = cpu();
    let (bytes, seconds) = load::bulk(to);
    note("one stream", bytes / seconds);
    note("one stream, cpu", (cpu() - before) / bytes);
    let before = cpu();
    let (bytes, seconds) = load::both_ways(to, 8);
    note("8 both ways", bytes / seconds);
    note("8 both ways, cpu", (cpu() - before) / bytes);
}

/// Once: a process keeps the memory that it once had.
fn hold_idle(way: &Way, report: &mut Report) {
    let mut note = |what, value| report.note(way.name, what, value);
    let rest = way.memory().filter(|_| way.holds_many());
    if let Some((rss, fds)) = rest {
        let idle = load::Idle::hold(way.address);
        let each = |now: f64, before: f64| (now - before).max(0.0) / load::Idle::COUNT as f64;
        let (held, open) = way.memory().unwrap_or((rss, fds));
        note("idle, bytes", each(held, rss));
        note("idle, descriptors", each(open, fds));
        let _held = idle.used();
        let (held, _) = way.memory().unwrap_or((rss, fds));
        note("idle after use, bytes", each(held, rss));
    }
}
