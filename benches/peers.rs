//! The data path beside HAProxy, nginx, docker-proxy and a direct connection, all in
//! front of one backend, each a process of its own, one after the other in each round.
//!
//! What is compared are they with each other, within one round; absolute figures
//! change from day to day. Ganger leases from a supply that always has something:
//! what the pool's own lease costs, `lease` measures.

#![expect(clippy::expect_used, reason = "a failure is to end the benchmark")]
#![expect(clippy::print_stdout, reason = "it is read on a terminal")]

#[path = "peers/backend.rs"]
mod backend;
#[path = "peers/load.rs"]
mod load;
#[path = "support/proxied.rs"]
mod proxied;
#[path = "peers/report.rs"]
mod report;
#[path = "peers/ways.rs"]
mod ways;

use std::env;
use std::net::SocketAddr;

use report::Report;
use rustix::process::{Resource, Rlimit, setrlimit};
use ways::Way;

/// Rounds, unless `GANGER_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 5;

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

/// So that each may hold what is held: with its backend's, two for a connection.
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
    for round in 0..count {
        for at in 0..ways.len() {
            // Each is first, second, … in turn.
            let Some(way) = ways.get((at + round) % ways.len()) else { continue };
            say_progress(round, count, way.name);
            measure(way, &mut report);
        }
    }
    println!("{}", report.text());
}

#[expect(clippy::print_stderr, reason = "the report alone goes to stdout")]
fn say_progress(round: usize, rounds: usize, name: &str) {
    eprintln!("round {} of {rounds}: {name}", round + 1);
}

fn measure(way: &Way, report: &mut Report) {
    let to: SocketAddr = way.address;
    let mut note = |what, value| report.note(way.name, what, value);
    let (p50, p99) = load::set_up(to);
    note("set-up p50", p50);
    note("set-up p99", p99);
    note("set-ups at 64", load::set_ups_at_a_time(to, 64));
    note("ping-pong p50", load::ping_pong(to));
    let cpu = || way.cpu();
    let before = cpu();
    let (bytes, seconds) = load::bulk(to);
    note("one stream", bytes / seconds);
    note("one stream, cpu", (cpu() - before) / bytes);
    let before = cpu();
    let (bytes, seconds) = load::both_ways(to, 8);
    note("8 both ways", bytes / seconds);
    note("8 both ways, cpu", (cpu() - before) / bytes);
    let rest = way.memory().filter(|_| way.holds_many());
    if let Some((rss, fds)) = rest {
        let idle = load::Idle::hold(to);
        let each = |now: f64, before: f64| (now - before).max(0.0) / load::Idle::COUNT as f64;
        let (held, open) = way.memory().unwrap_or((rss, fds));
        note("idle, bytes", each(held, rss));
        note("idle, descriptors", each(open, fds));
        idle.used();
        let (held, _) = way.memory().unwrap_or((rss, fds));
        note("idle after use, bytes", each(held, rss));
    }
}
