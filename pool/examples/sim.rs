//! Runs the simulation of the ledger over many seeds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::process::ExitCode;

use ganger_pool::testing::sim;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        let value = at.and_then(|at| arguments.get(at + 1)).map(|value| value.parse());
        value.unwrap_or(Ok(default))
    };
    let (Ok(seeds), Ok(first), Ok(steps)) =
        (number("--seeds", 1_000), number("--first", 0), number("--steps", 2_000))
    else {
        eprintln!("usage: sim [--seeds N] [--first SEED] [--steps N]");
        return ExitCode::from(2);
    };
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    let mut total = sim::Report::default();
    for seed in first..first + seeds {
        match sim::run(seed, steps) {
            Ok(report) => {
                total.events += report.events;
                total.launches += report.launches;
                total.hedges += report.hedges;
                total.leases += report.leases;
                total.refusals += report.refusals;
                total.switchovers += report.switchovers;
                total.rollbacks += report.rollbacks;
                // Each at its place.
                total.digest = total.digest.rotate_left(1) ^ report.digest;
            }
            Err(violation) => {
                eprintln!("{violation}replay: cargo xtask sim --first {seed} --seeds 1");
                return ExitCode::FAILURE;
            }
        }
    }
    let sim::Report { events, launches, hedges, leases, refusals, switchovers, rollbacks, digest } =
        total;
    println!(
        "{seeds} seeds from {first}: {events} events, {launches} launches ({hedges} hedges), {leases} leases, \
         {refusals} refusals, {switchovers} switchovers, {rollbacks} rollbacks; invariants I1 to I11 hold; actions \
         {digest:016x}"
    );
    ExitCode::SUCCESS
}
