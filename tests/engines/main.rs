//! The built program and its images on real engines.
//!
//! All are in one binary, so that tests of every subject run beside each other: mostly they wait.
//! Each takes the hosts that it harms for itself, by
//! [`Fleet::take`](ganger_test_support::Fleet::take), or shares those that nobody harms.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

mod admin;
mod bench;
mod bulk;
mod cells;
mod clients;
mod consul;
mod database;
mod faults;
mod fleet;
mod fleet_down;
mod guardian;
mod handover;
mod image;
mod isolation;
mod kinds;
mod labels;
mod overdue;
mod preconnect;
mod push;
mod reach;
mod ready;
mod register;
mod registry;
mod reload;
mod restart;
mod sandbox;
mod secrets;
mod sharing;
mod strict;
mod support;
mod swarm;
mod tls;

/// The built program.
const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
