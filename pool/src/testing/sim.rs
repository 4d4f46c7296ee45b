//! Random histories of the ledger against a model world.
//!
//! The world knows what really exists on each daemon, loses replies, kills
//! containers, cuts daemons off and lets clients come and go. After each event
//! it checks the orders of the ledger against invariants I1 to I11.

mod world;

use std::fmt;

use super::Rng;
use world::World;

/// The results of a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Events the ledger was told of.
    pub events: u64,
    /// Launches it ordered.
    pub launches: u64,
    /// Of them, hedges: launches because another took unusually long.
    pub hedges: u64,
    /// Leases it gave.
    pub leases: u64,
    /// Waiters it refused.
    pub refusals: u64,
    /// Generations that took the place of others.
    pub switchovers: u64,
    /// Generations that were rolled back.
    pub rollbacks: u64,
    /// A hash of all that the ledger ordered, in order: of one version of Rust the same for the
    /// same actions.
    pub digest: u64,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Replays the history.
    pub seed: u64,
    /// Which invariant, and how.
    pub what: String,
    /// The last events before it.
    pub history: Vec<String>,
}

/// Runs one history of so many steps, then heals all faults, waits for calm,
/// and drains.
///
/// # Errors
/// The first invariant that did not hold.
pub fn run(seed: u64, steps: u32) -> Result<Report, Box<Violation>> {
    let mut world = World::new(Rng::new(seed));
    let outcome = world
        .populate()
        .and_then(|()| (0..steps).try_for_each(|_| world.step()))
        .and_then(|()| world.calm_down())
        .and_then(|()| world.drain());
    match outcome {
        Ok(()) => Ok(world.report()),
        Err(what) => Err(Box::new(Violation { seed, what, history: world.history() })),
    }
}

// === impl Violation ===

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        self.history.iter().try_for_each(|event| writeln!(f, "    {event}"))
    }
}
