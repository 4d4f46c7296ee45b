//! Fresh containers that a runtime makes without the engine (`sandbox: Cell`), beside the engine's.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::targets::{Measured, Point, Series, Targets, median};
use crate::child::Interrupts;
use crate::{fleet, packages};

/// How often each is measured, in turn, and how many starts at a time.
const TURNS: usize = 5;
const STARTS: &str = "20";
/// The runtimes, with how many times faster a cell of each is to answer.
const RUNTIMES: [(&str, f64); 2] = [("crun", 15.0), ("runc", 4.0)];
/// The longest that a lease of a cell that was created ahead is to take, in milliseconds.
const LEASE: f64 = 4.0;
/// The engine's own step, which a cell does without.
const CREATE: &str = "create";

pub(super) fn measure(socket: &Path, interrupts: &Interrupts, targets: &mut Targets) -> Result<()> {
    for (runtime, faster) in RUNTIMES {
        let path = match runtime {
            "crun" => fleet::path_with_crun()?,
            _ => packages::search_path(),
        };
        let (mut ratios, mut cells, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            interrupts.check()?;
            let sweep = ["--kinds", "cold", "--sweep", "sandbox=Fresh,Cell"];
            let args = [&sweep[..], &["--network", "Sealed", "--rounds", STARTS]].concat();
            let measured = Measured::on(&path, socket, &args)?;
            let [fresh, cell] = &measured.points[..] else { anyhow::bail!("one is missing") };
            let plain = cell.phases.iter().any(|step| step.name == CREATE);
            ensure!(!plain, "the engine has made containers that were to be cells");
            ratios.push(first(fresh)?.median()? / first(cell)?.median()?);
            cells.push(first(cell)?.median()?);
            slowest.push(first(cell)?.p99()?);
        }
        let what = format!("cold start, Sealed, p50: `sandbox: Fresh` / `Cell` by {runtime}");
        targets.at_least(&what, median(&ratios)?, faster);
        let (p50, p99) = (median(&cells)?, median(&slowest)?);
        let what = format!("cold start of a cell by {runtime}, p50 and p99");
        targets.note(&what, &format!("{p50:.1} and {p99:.1} ms"), "", true);
        leases(runtime, (&path, socket), interrupts, targets)?;
    }
    Ok(())
}

/// Leases from a stock that is started, and from one that is created.
fn leases(
    runtime: &str,
    (path, socket): (&str, &Path),
    interrupts: &Interrupts,
    targets: &mut Targets,
) -> Result<()> {
    let (mut started, mut created) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        interrupts.check()?;
        let sweep = ["--kinds", "warm", "--sweep", "stock=Started,Created"];
        let args = [&sweep[..], &["--network", "Sealed", "--rounds", STARTS]].concat();
        let measured = Measured::on(path, socket, &args)?;
        let [of_started, of_created] = &measured.points[..] else {
            anyhow::bail!("one is missing")
        };
        started.push(first(of_started)?.median()?);
        created.push(first(of_created)?.median()?);
    }
    let (started, created) = (median(&started)?, median(&created)?);
    let what = format!("lease of a cell by {runtime}, p50: from a stock started, and created");
    let (target, met) = match runtime {
        "crun" => (format!("<= {LEASE} ms"), created <= LEASE),
        _ => (String::new(), true),
    };
    targets.note(&what, &format!("{started:.2} and {created:.2} ms"), &target, met);
    Ok(())
}

fn first(point: &Point) -> Result<&Series> {
    point.series.first().context("nothing was measured")
}
