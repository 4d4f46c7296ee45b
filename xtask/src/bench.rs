//! `cargo xtask bench`: all that Ganger is to reach, on a real engine, from outside and beside its
//! peers, part by part. Each part is a section of docs/benchmarks.md.

mod beside;
mod cells;
mod cold;
mod document;
mod engine;
mod figures;
mod first_byte;
mod ganger;
mod refill;
mod server;
mod stock;
mod targets;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Deserialize;

use self::engine::{BenchEngine, machine};
use self::targets::Targets;
use crate::BenchArgs;
use crate::child::Interrupts;
use crate::command;
use crate::fleet::{Fleet, Site};
use crate::{machine, packages};

/// Rounds of leases beside HAProxy.
const LEASE_ROUNDS: usize = 5;

/// A part of the benchmark, in the order of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// The time to the first byte, cold, warm and direct.
    FirstByte,
    /// Leases of containers beside HAProxy.
    Leases,
    /// Cold starts, with sandboxes of their own and pooled ones.
    Starts,
    /// Fresh containers that are cells beside the engine's.
    Cells,
    /// Fresh containers a second beside a bare loop.
    Refills,
    /// Stocks that size themselves, in simulated time.
    Stocks,
    /// The pool alone, without an engine.
    Pool,
    /// The data path alone, beside HAProxy, nginx and docker-proxy.
    Peers,
}

/// Measures, prints, and with `--write` keeps each section in the documentation as soon as it is
/// measured.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    command::run(&mut command::cargo(&["build", "--release", "--package", "ganger"]))?;
    packages::ensure_peers()?;
    let interrupts = Interrupts::take()?;
    let wanted = |part: &&BenchPart| args.part.is_empty() || args.part.contains(part);
    let (on_engine, alone): (Vec<_>, Vec<_>) =
        BenchPart::value_variants().iter().filter(wanted).partition(|part| part.needs_engine());
    let measure = |part: BenchPart, engine: Option<&BenchEngine>| {
        interrupts.check()?;
        let section = part.measure(engine, args.rounds, &interrupts)?;
        println!("{section}");
        if args.write { document::keep(part, &section) } else { Ok(()) }
    };
    if !on_engine.is_empty() {
        let (fleet, socket) = engine_to_use(&interrupts)?;
        let engine = BenchEngine::new(socket);
        let measured = on_engine.into_iter().try_for_each(|part| measure(part, Some(&engine)));
        if let Some(fleet) = fleet {
            fleet.down()?;
        }
        measured?;
    }
    alone.into_iter().try_for_each(|part| measure(part, None))
}

// === impl BenchPart ===

impl BenchPart {
    fn needs_engine(self) -> bool {
        !matches!(self, Self::Stocks | Self::Pool | Self::Peers)
    }

    /// The heading of its section.
    fn heading(self) -> &'static str {
        match self {
            Self::FirstByte => "# Time to the first byte",
            Self::Leases => "# Leases beside HAProxy",
            Self::Starts => "# Cold starts",
            Self::Cells => "# Cells",
            Self::Refills => "# Refills",
            Self::Stocks => "# Stocks",
            Self::Pool => "# The pool alone",
            Self::Peers => "# Beside other proxies",
        }
    }

    /// Measures; returns the section.
    fn measure(
        self,
        engine: Option<&BenchEngine>,
        rounds: u32,
        interrupts: &Interrupts,
    ) -> Result<String> {
        let name = self.to_possible_value().context("a part has a name")?;
        let version = engine.map(BenchEngine::version).transpose()?;
        let version = version.map(|version| format!(", Docker {version}")).unwrap_or_default();
        let rounds_given = match self {
            Self::FirstByte => format!(" --rounds {rounds}"),
            _ => String::new(),
        };
        let how = format!(
            "Command: `cargo xtask bench --part {}{rounds_given}`. Machine: {}{version}.",
            name.get_name(),
            machine()?,
        );
        let engine = || engine.context("this part needs an engine");
        let mut targets = Targets::default();
        let text = match self {
            Self::FirstByte => first_byte::measure(engine()?, rounds, interrupts)?,
            Self::Leases => beside::measure(engine()?, LEASE_ROUNDS, interrupts)?,
            Self::Starts => {
                cold::measure(engine()?.socket(), interrupts, &mut targets)?;
                targets.text()
            }
            Self::Cells => {
                cells::measure(engine()?.socket(), interrupts, &mut targets)?;
                targets.text()
            }
            Self::Refills => {
                refill::measure(engine()?, interrupts, &mut targets)?;
                targets.text()
            }
            Self::Stocks => {
                let tables = stock::measure(&mut targets)?;
                format!("{}\n{tables}", targets.text())
            }
            Self::Pool => {
                for name in ["lease", "ledger"] {
                    interrupts.check()?;
                    targets.of_benchmark(name)?;
                }
                targets.text()
            }
            Self::Peers => beside_peers()?,
        };
        let about = match self {
            Self::FirstByte => {
                "From connect(2) to the echo of one byte, by the echo image in Docker containers on\n\
                 its default network, one connection at a time, nothing being launched or removed\n\
                 meanwhile. `cold`, `warm` and `reused` are through Ganger, `direct` is not. Compare\n\
                 the figures of one run only.\n\n"
            }
            Self::Leases => {
                "From connect(2) to the echo of one byte, and its close. Ganger leases reused containers\n\
                 (`ganger`), with `preconnect: Tcp` (`hot`) and fresh ones from stock (`strict`); HAProxy\n\
                 leads to the same program on loopback, and over the bridge to the containers that\n\
                 `ganger` leases (`bridge`). Targets are against the former.\n\n"
            }
            Self::Peers => {
                "Each is a process of its own in front of one backend on loopback. Compare the figures of\n\
                 one run only. Where the machine's congestion control is bbr, only Ganger's own connections\n\
                 have another (docs/decisions/0028).\n\n"
            }
            Self::Starts | Self::Cells | Self::Refills => {
                "Medians of five ratios of what was measured in turn.\n\n"
            }
            Self::Stocks => {
                "By `ganger simulate`, of launches that take 250 ms, four at a time.\n\n"
            }
            Self::Pool => "",
        };
        Ok(format!("{}\n\n{about}{how}\n\n{}\n", self.heading(), text.trim()))
    }
}

/// The output of `benches/peers.rs`.
fn beside_peers() -> Result<String> {
    let mut command = command::cargo(&["bench", "--package", "ganger", "--bench", "peers"]);
    command::say(&command::line(&command));
    let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    command::check(&command, output.status)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The engine of the fleet that there is, or the machine's, or one of our own.
fn engine_to_use(interrupts: &Interrupts) -> Result<(Option<Fleet>, PathBuf)> {
    #[derive(Deserialize)]
    struct Record {
        hosts: Vec<Host>,
    }
    #[derive(Deserialize)]
    struct Host {
        socket: PathBuf,
    }

    if let Some(path) = std::env::var_os("GANGER_FLEET").map(PathBuf::from) {
        let record = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let record: Record = serde_json::from_str(&record)?;
        let host = record.hosts.into_iter().next().context("the fleet has no host")?;
        return Ok((None, host.socket));
    }
    let socket = Site::demo().root_socket();
    Ok((machine::engine(Site::demo(), interrupts)?, socket))
}
