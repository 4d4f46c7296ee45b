//! `ganger simulate`: what other stocks would have cost and met.

mod trace;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ganger_pool::core::{Auto, Policy};
use ganger_pool::replay::{Arrival, ReplayDaemon, ReplayTally, replay};

use super::out::say;
use super::{Exit, Failure};
use crate::config::{is_stdin, origin, time};

/// The fixed stocks unless `--warm` is given.
const STOCKS: [u32; 7] = [0, 1, 2, 4, 8, 16, 32];

/// What is replayed, and against what.
#[derive(Debug, Args)]
pub(super) struct Simulation {
    /// Records of connections, as `access_log` has them written, or lines `service,arrived,held` in
    /// seconds; `-` is standard input
    trace: PathBuf,
    /// Of this service only
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Fixed stocks to compare, at most --max [default: 0,1,2,4,8,16,32]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    warm: Vec<u32>,
    /// The least that the stock that sizes itself keeps
    #[arg(long, value_name = "N", default_value_t = 1)]
    min: u32,
    /// How many clients may wait for others to leave
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: u32,
    /// What the stock that sizes itself aims at
    #[arg(long = "hit-rate", value_name = "SHARE", default_value = "0.999", value_parser = misses)]
    misses: u32,
    /// How often a container may be leased again
    #[arg(long, value_name = "N", default_value_t = 0)]
    reuse: u32,
    /// The most containers
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,
    /// How long each launch takes
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = time)]
    launch: Duration,
    /// How many launches go on at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    launches: u32,
    /// How long a client waits
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    patience: Duration,
}

/// The share that may be missed, of [`Auto::SCALE`].
fn misses(hit_rate: &str) -> Result<u32, String> {
    let (least, most) = (Auto::HIT_RATES.start(), Auto::HIT_RATES.end());
    let misses = hit_rate.parse().ok().and_then(Auto::misses_at);
    misses.ok_or_else(|| format!("a share from {least} to {most} is expected"))
}

/// Replays each service of a trace against each stock, and prints a table.
pub(super) fn simulate(simulation: &Simulation) -> Result<Exit, Failure> {
    let max = simulation.max;
    if let Some(more) = simulation.warm.iter().chain([&simulation.min]).find(|n| **n > max) {
        let message =
            format!("a stock of {more} is above --max {max}: lower one or raise the other");
        return Err(Failure::new(Exit::Usage, message));
    }
    let stocks = match &simulation.warm[..] {
        [] => STOCKS.into_iter().filter(|stock| *stock <= max).collect(),
        given => given.to_vec(),
    };
    let path = origin(&simulation.trace);
    let failed = |why: String| Failure::new(Exit::Failed, format!("{path}: {why}"));
    let text = match is_stdin(&simulation.trace) {
        true => io::read_to_string(io::stdin().lock()),
        false => fs::read_to_string(&simulation.trace),
    };
    let text = text.map_err(|error| failed(error.to_string()))?;
    let mut services = trace::read(&text).map_err(failed)?;
    if let Some(name) = &simulation.service {
        services.retain(|service, _| service == name);
    }
    if services.is_empty() {
        let of = simulation.service.as_ref().map_or(String::new(), |name| format!(" of {name}"));
        return Err(failed(format!("there is no connection{of} in it")));
    }
    for (service, arrivals) in &services {
        let time = arrivals.last().map_or(Duration::ZERO, |last| last.at);
        say(&format!("{service}: {} arrivals in {:.0} s", arrivals.len(), time.as_secs_f64()));
        say("   warm  hit rate  mean wait  container-s ready   in all  launches  refused");
        for warm in &stocks {
            simulation.row(&warm.to_string(), *warm, None, arrivals);
        }
        let auto = Auto { misses: simulation.misses, min: simulation.min, max };
        simulation.row("Auto", auto.min, Some(auto), arrivals);
    }
    Ok(Exit::Ok)
}

// === impl Simulation ===

impl Simulation {
    fn row(&self, name: &str, warm: u32, auto: Option<Auto>, arrivals: &[Arrival]) {
        let (reuse, max, queue_length) = (self.reuse, self.max, self.queue);
        let policy = Policy { warm, auto, reuse, max, queue_length, ..Policy::default() };
        let daemon =
            ReplayDaemon { capacity: max, max_launches: self.launches, launch: self.launch };
        let tally = replay(&policy, &[daemon], arrivals, self.patience);
        say(&shown(name, &tally));
    }
}

fn shown(name: &str, tally: &ReplayTally) -> String {
    format!(
        "{name:>7}  {:>7.3}%  {:>7.1}ms  {:>17.0}  {:>7.0}  {:>8}  {:>7}",
        100.0 * tally.hit_rate(),
        1e3 * tally.mean_wait().as_secs_f64(),
        tally.ready,
        tally.total,
        tally.launches,
        tally.refused
    )
}
