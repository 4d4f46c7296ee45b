//! The project's task runner: `cargo xtask VERB`. CI calls the same verbs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to people on a terminal")]

#[cfg(target_os = "linux")]
mod axe;
mod bench;
mod checks;
mod child;
mod command;
#[cfg(target_os = "linux")]
mod consul;
#[cfg(target_os = "linux")]
mod deb;
mod demo;
#[cfg(target_os = "linux")]
mod fleet;
#[cfg(not(target_os = "linux"))]
#[path = "fleet_elsewhere.rs"]
mod fleet;
#[cfg(target_os = "linux")]
mod images;
mod machine;
#[cfg(target_os = "linux")]
mod packages;
mod postgres;
mod schemathesis;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod suite;
#[cfg(target_os = "linux")]
mod vm;
mod wait;

#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// Ganger's task runner.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts, stops and shows a fleet of container engines on this machine. A second one
    /// beside it has a number of its own: GANGER_FLEET_NUMBER=1, up to 9.
    #[command(subcommand)]
    Fleet(FleetVerb),
    /// Runs `ganger demo`: on the engine that DOCKER_HOST names, the machine's, or
    /// its own when there is none.
    Demo,
    /// Runs every test, with a fleet for those on real engines.
    Test(TestArgs),
    /// Makes images of stock services from Debian's packages, in target/images; needs root.
    #[cfg(target_os = "linux")]
    Images,
    /// Makes a Debian package of the release build, in target/debian; installs cargo-deb below
    /// target/ where it is missing.
    #[cfg(target_os = "linux")]
    Deb {
        /// Who is named as the package's maintainer, as "NAME <ADDRESS>".
        #[arg(long)]
        maintainer: Option<String>,
    },
    /// Format, lints, documentation, and every test.
    Ci,
    /// Runs the ledger through random histories and checks its invariants.
    Sim(SimArgs),
    /// Measures all that Ganger is to reach, beside its peers, part by part; needs root.
    /// On the fleet that GANGER_FLEET names, the machine's engine, or its own.
    #[cfg(target_os = "linux")]
    Bench(BenchArgs),
    /// Churn on a fleet with a random fault every few seconds, and what has to hold
    /// whatever happens; needs root. On the fleet that GANGER_FLEET names, or its own.
    #[cfg(target_os = "linux")]
    Soak(SoakArgs),
    /// Boots a Debian 13 with systemd and its Docker in a virtual machine, and runs in it what
    /// cannot be run beside: the systemd unit, the demo, chosen tests on its engine; needs root.
    #[cfg(target_os = "linux")]
    Vm {
        /// Only what has one of these in its name.
        filters: Vec<String>,
    },
    /// What `vm` runs in the machine.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    VmInside {
        /// What it is to do there.
        plan: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum FleetVerb {
    /// Starts what is not running; needs root. To run one test on it:
    /// GANGER_FLEET=/run/ganger-fleet/fleet.json cargo test --test NAME
    Up(UpArgs),
    /// Stops every daemon and deletes everything of theirs.
    Down,
    /// Shows the daemons.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What the fleet is to be.
#[derive(Debug, Args)]
struct UpArgs {
    /// Daemons with a network namespace and an address of their own. One more,
    /// host-0, runs in the machine's own namespace.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=200))]
    hosts: u8,
    /// What a host runs, as 4=podman-trixie; may be given for several. `docker` is the
    /// machine's own; docker-trixie, docker-sid, podman-trixie and podman-sid are those of
    /// newer Debian suites, fetched and unpacked below target/, not installed.
    #[arg(long, value_name = "HOST=KIND", value_parser = fleet::assignment)]
    engine: Vec<(u8, fleet::Kind)>,
    /// How many containers each host is to hold, for whoever writes a
    /// configuration for it; 4, 8, 12 ... when not given.
    #[arg(long, value_delimiter = ',')]
    capacity: Vec<u32>,
    /// Containers outlive their daemon.
    #[arg(long)]
    live_restore: bool,
    /// Published ports go through docker-proxy.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    userland_proxy: bool,
}

/// Which tests are run.
#[derive(Debug, Default, Args)]
pub(crate) struct TestArgs {
    /// Leaves out the tests that need real engines (tiers T4 and T5).
    #[arg(long)]
    without_engines: bool,
    /// Only those of stock services in images, which are made first, with real clients.
    #[arg(long, conflicts_with = "without_engines")]
    images: bool,
    /// Only tests whose name contains this; without --images none of those.
    filter: Option<String>,
}

/// Which histories are simulated.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// How many.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// How much is measured.
#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Rounds of one cold start, one from stock, and 20 each of a reused
    /// container and directly to it.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Writes the figures to docs/benchmarks.md as well, in the place of those before.
    #[arg(long)]
    write: bool,
    /// Measures this part alone. May be given several times.
    #[arg(long)]
    part: Vec<bench::BenchPart>,
}

/// How long, and which faults.
#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// How long it goes on.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Chooses the faults and their order. When they hit is up to the clock, so a run
    /// is repeated only roughly.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Fleet(FleetVerb::Up(args)) => {
            let settings = fleet::Settings {
                live_restore: args.live_restore,
                userland_proxy: args.userland_proxy,
            };
            postgres::ensure()?;
            let fleet = fleet::Fleet::lock(fleet::Site::tests()?)?;
            fleet.up(args.hosts, &args.engine, &args.capacity, settings)?;
        }
        Verb::Fleet(FleetVerb::Down) => fleet::Fleet::lock(fleet::Site::tests()?)?.down()?,
        Verb::Fleet(FleetVerb::Status { json }) => fleet::status(&fleet::Site::tests()?, json)?,
        Verb::Demo => return demo::run(),
        Verb::Test(args) => return checks::test(&args),
        #[cfg(target_os = "linux")]
        Verb::Images => drop(images::Images::ensure(&child::Interrupts::take()?)?),
        #[cfg(target_os = "linux")]
        Verb::Deb { maintainer } => deb::run(maintainer.as_deref()).map(drop)?,
        Verb::Ci => return checks::ci(),
        Verb::Sim(args) => return checks::sim(&args),
        #[cfg(target_os = "linux")]
        Verb::Bench(args) => bench::run(&args)?,
        #[cfg(target_os = "linux")]
        Verb::Soak(args) => return soak::run(&args),
        #[cfg(target_os = "linux")]
        Verb::Vm { filters } => return vm::run(filters),
        #[cfg(target_os = "linux")]
        Verb::VmInside { plan } => return vm::inside(&plan),
    }
    Ok(ExitCode::SUCCESS)
}
