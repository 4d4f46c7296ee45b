//! The cost of a cold start beside the engine's calls, and what a pooled sandbox saves of it.

use std::path::Path;

use anyhow::{Context, Result};

use super::targets::{Measured, Point, Targets, median};
use crate::child::Interrupts;

/// How often each is measured, in turn, and how many starts at a time.
const TURNS: usize = 5;
const STARTS: &str = "10";
/// The engine's calls, which take as long as they take.
const CALLS: [&str; 2] = ["create", "start"];
/// The most that may be added to them, in milliseconds.
const MOST: f64 = 5.0;
/// The least that a pooled sandbox saves.
const FASTER: f64 = 2.0;

pub(super) fn measure(socket: &Path, interrupts: &Interrupts, targets: &mut Targets) -> Result<()> {
    for network in ["Bridge", "Sealed"] {
        let (mut more, mut faster) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            interrupts.check()?;
            let sweep = ["--kinds", "cold", "--sweep", "sandbox=Fresh,Pooled"];
            let args = [&sweep[..], &["--network", network, "--rounds", STARTS]].concat();
            let measured = Measured::by(socket, &args)?;
            let [fresh, pooled] = &measured.points[..] else { anyhow::bail!("one is missing") };
            faster.push(cold(fresh)? / cold(pooled)?);
            let steps = fresh
                .phases
                .iter()
                .filter(|step| step.name != "remove" && !CALLS.contains(&step.name.as_str()));
            more.push(steps.map(|step| step.median()).sum::<Result<f64>>()?);
        }
        let more = median(&more)?;
        targets.note(
            &format!("cold start, {network}: the steps but {}, sum of p50", CALLS.join(" and ")),
            &format!("{more:.1} ms"),
            &format!("<= {MOST} ms"),
            more <= MOST,
        );
        let what = format!("cold start, {network}, p50: `sandbox: Fresh` / `Pooled`");
        targets.at_least(&what, median(&faster)?, FASTER);
    }
    Ok(())
}

fn cold(point: &Point) -> Result<f64> {
    point.series.first().context("no cold start")?.median()
}
