//! How many fresh containers a second clients get, beside a loop that creates, starts and removes
//! the same containers, each while the next one is launched, and does nothing else.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::engine::BenchEngine;
use super::server::Server;
use super::targets::{Measured, Targets, median};
use crate::child::Interrupts;

/// How often both are measured, in turn, and for how long at a time.
const TURNS: usize = 5;
const SECONDS: u64 = 12;
const LEAST: f64 = 0.95;
/// A network like that of a run, for the loop.
const NETWORK: &str = "ganger-bench-loop";
const ICC: &str = "com.docker.network.bridge.enable_icc";

pub(super) fn measure(
    engine: &BenchEngine,
    interrupts: &Interrupts,
    targets: &mut Targets,
) -> Result<()> {
    let mut server = Server::start(engine)?;
    let mut recipe = engine.recipe(server.instance())?;
    server.stop()?;
    // The network of the run that made the recipe's container has gone with it.
    let network = json!({ "Name": NETWORK, "Options": { ICC: "false" } });
    engine.post("/networks/create", &network.to_string())?;
    recipe["HostConfig"]["NetworkMode"] = NETWORK.into();
    let measured = compare(engine, &recipe, interrupts, targets);
    let removed = engine.delete(&format!("/networks/{NETWORK}")).map(drop);
    // The first failure tells more: what it left may be on the network.
    measured.and(removed)
}

/// `recipe` is what the containers of the loop are created from.
fn compare(
    engine: &BenchEngine,
    recipe: &Value,
    interrupts: &Interrupts,
    targets: &mut Targets,
) -> Result<()> {
    for at_a_time in [1, 4] {
        let mut ratios = Vec::new();
        for _ in 0..TURNS {
            let bare = bare(engine, recipe, at_a_time, interrupts)?;
            interrupts.check()?;
            let (clients, duration) = (at_a_time.to_string(), format!("{SECONDS}s"));
            let args = ["--refill", &clients, "--duration", &duration];
            let measured = Measured::by(engine.socket(), &args)?;
            let refill = measured.refill.first().and_then(|point| point.series.first());
            ratios.push(refill.context("no refill")?.rate / bare);
        }
        let what = format!(
            "fresh containers a second, {at_a_time} at a time: `ganger bench --refill` / a bare loop"
        );
        targets.at_least(&what, median(&ratios)?, LEAST);
    }
    Ok(())
}

fn done<T>(worker: ScopedJoinHandle<'_, Result<T>>) -> Result<()> {
    worker.join().unwrap_or_else(|_| bail!("a worker has panicked")).map(drop)
}

/// Containers a second.
fn bare(
    engine: &BenchEngine,
    recipe: &Value,
    at_a_time: u32,
    interrupts: &Interrupts,
) -> Result<f64> {
    let (recipe, count) = (recipe.to_string(), AtomicU32::new(0));
    let began = Instant::now();
    let work = || {
        // Each is removed while the next one is launched.
        thread::scope(|scope| {
            let mut removal = None;
            while began.elapsed() < Duration::from_secs(SECONDS) && !interrupts.came() {
                let created = engine.post("/containers/create", &recipe)?;
                let id = created["Id"].as_str().context("its id")?.to_owned();
                let started = engine.post(&format!("/containers/{id}/start"), "");
                let path = format!("/containers/{id}?force=1&v=1");
                let next = scope.spawn(move || engine.delete(&path));
                removal.replace(next).map_or(Ok(()), done)?;
                started?;
                count.fetch_add(1, Relaxed);
            }
            removal.map_or(Ok(()), done)
        })
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(done)
    })?;
    Ok(f64::from(count.load(Relaxed)) / began.elapsed().as_secs_f64())
}
