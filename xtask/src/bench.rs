//! `cargo xtask bench`: how long the first byte takes, cold, warm and direct, on
//! a real engine, from outside and in one run; then what else is to be reached, and the data
//! path beside its peers.
//!
//! The kinds are measured in turn, so that what the machine does meanwhile
//! falls on all of them; they are compared with each other.

mod beside;
mod cells;
mod cold;
mod engine;
mod figures;
mod ganger;
mod refill;
mod server;
mod stock;
mod targets;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use self::engine::{BenchEngine, Inside, machine};
use self::figures::{FigureKind, Figures};
use self::server::Server;
use self::targets::Targets;
use crate::BenchArgs;
use crate::child::Interrupts;
use crate::command;
use crate::fleet::{Fleet, Site};
use crate::{machine, packages, wait};

/// Connections through a reused container, and directly to it, in each round.
const TURNS: u32 = 20;
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// An answer over the bridge that is later than this does not come.
const UNANSWERED: Duration = Duration::from_secs(5);
/// How long the launches and removals of a round may take.
const REST: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;
/// Rounds of leases beside HAProxy.
const LEASE_ROUNDS: usize = 5;

/// A measured connection.
struct Sample {
    /// From before connect(2) to the echo of the first byte.
    time: Duration,
    /// Our end of it.
    client: SocketAddr,
}

/// Measures, prints, and with `--write` keeps the figures in the documentation.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    command::run(&mut command::cargo(&["build", "--release", "--package", "ganger"]))?;
    packages::ensure_peers()?;
    let interrupts = Interrupts::take()?;
    let (fleet, socket) = engine_to_use(&interrupts)?;
    let engine = BenchEngine::new(socket);
    let result = if args.leases {
        leases(&engine, &interrupts).map(|text| {
            print!("{text}");
            None
        })
    } else if args.cells {
        let mut targets = Targets::default();
        cells::measure(engine.socket(), &interrupts, &mut targets).map(|()| {
            print!("{}", targets.text());
            None
        })
    } else {
        on_engine(&engine, args.rounds, &interrupts).map(Some)
    };
    if let Some(fleet) = fleet {
        fleet.down()?;
    }
    let Some((first_bytes, leases, mut targets)) = result? else { return Ok(()) };
    let stocks = stock::measure(&mut targets)?;
    for name in ["lease", "ledger"] {
        interrupts.check()?;
        targets.of_benchmark(name)?;
    }
    let own = format!(
        "{first_bytes}\n{leases}# Targets\n\nOf cold starts and refills, medians of five ratios of what was measured in turn. \
         Command:\nas above.\n\n{}\n# Stocks\n\nBy `ganger simulate`, of launches that take 250 ms, four at a \
         time.\n\n{stocks}",
        targets.text(),
    );
    print!("{own}");
    interrupts.check()?;
    let peers = beside_peers()?;
    print!("{peers}");
    if args.write {
        let path = command::root().join("docs/benchmarks.md");
        fs::create_dir_all(path.with_file_name(""))?;
        fs::write(&path, own + &peers).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The output of `benches/peers.rs`.
fn beside_peers() -> Result<String> {
    let mut command = command::cargo(&["bench", "--package", "ganger", "--bench", "peers"]);
    command::say(&command::line(&command));
    let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    command::check(&command, output.status)?;
    Ok(format!(
        "# Beside other proxies\n\nEach is a process of its own in front of one backend on loopback. Compare the \
         figures of one\nrun only. Where the machine's congestion control is bbr, only Ganger's own connections have \
         another\n(docs/decisions/0028).\n\nCommand: `{}`, which is a part of the above.\n\n{}",
        command::line(&command),
        String::from_utf8(output.stdout)?.trim_start()
    ))
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

/// First bytes, leases beside HAProxy, and the targets of starts.
fn on_engine(
    engine: &BenchEngine,
    rounds: u32,
    interrupts: &Interrupts,
) -> Result<(String, String, Targets)> {
    let mut targets = Targets::default();
    let (text, recipe) = first_bytes(engine, rounds, interrupts)?;
    command::say(&text);
    let leases = leases(engine, interrupts)?;
    command::say(&leases);
    cold::measure(engine.socket(), interrupts, &mut targets)?;
    cells::measure(engine.socket(), interrupts, &mut targets)?;
    refill::measure(engine, &recipe, interrupts, &mut targets)?;
    Ok((text, leases, targets))
}

/// Leases of containers beside HAProxy.
fn leases(engine: &BenchEngine, interrupts: &Interrupts) -> Result<String> {
    let (machine, version) = (machine()?, engine.version()?);
    let tables = beside::measure(engine, LEASE_ROUNDS, interrupts)?;
    Ok(format!(
        "# Leases beside HAProxy\n\nFrom connect(2) to the echo of one byte, and its close. Ganger leases \
         reused containers\n(`ganger`), with `preconnect: Tcp` (`hot`) and fresh ones from stock (`strict`); \
         HAProxy\nleads to the same program on loopback. Command: `cargo xtask bench --leases`, which is a \
         part of\n`cargo xtask bench`. Machine: {machine}, Docker {version}.\n\n{tables}"
    ))
}

/// The figures, and what the containers were made from.
fn first_bytes(
    engine: &BenchEngine,
    rounds: u32,
    interrupts: &Interrupts,
) -> Result<(String, Value)> {
    let machine = machine()?;
    let mut server = Server::start(engine)?;
    let mut figures = Figures::default();
    for round in 0..rounds {
        interrupts.check()?;
        println!("round {} of {rounds}", round + 1);
        for kind in [FigureKind::Cold, FigureKind::Warm] {
            at_rest(engine, &server)?;
            through(&mut server, kind, &mut figures)?;
        }
        at_rest(engine, &server)?;
        same_container(engine, &mut server, &mut figures)?;
    }
    let recipe = engine.recipe(server.instance())?;
    server.stop()?;
    let text = figures.report(&format!("{machine}, Docker {}", engine.version()?))?;
    Ok((text, recipe))
}

/// Measures through Ganger. Returns the container that served, if it did so in the
/// way that is to be measured.
fn through(server: &mut Server, kind: FigureKind, figures: &mut Figures) -> Result<Option<String>> {
    let sample = first_byte(server.address(kind)?)?;
    let end = server.end_of(sample.client)?;
    ensure!(end.end == "--", "a connection ended with {}: {:?}", end.end, end.reason);
    Ok(figures.note(kind, &end.start, sample.time).then_some(end.container))
}

/// Measures through Ganger, and directly to the container that served, in turn.
fn same_container(engine: &BenchEngine, server: &mut Server, figures: &mut Figures) -> Result<()> {
    let mut known = BTreeMap::new();
    for turn in 0..=TURNS {
        let mut unused = Figures::default();
        // The first turn finds the container as the pause before has left it.
        let figures = if turn == 0 { &mut unused } else { &mut *figures };
        let Some(id) = through(server, FigureKind::Reused, figures)? else {
            continue;
        };
        let (inside, address) = match known.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let container = engine.container(entry.key())?;
                entry.insert((Inside::of(container.pid)?, container.address))
            }
        };
        let mut kinds = [FigureKind::Inside, FigureKind::Bridge];
        if turn % 2 == 0 {
            kinds.reverse();
        }
        for kind in kinds {
            let sample = match kind {
                FigureKind::Inside => {
                    inside.run(|| first_byte((Ipv4Addr::LOCALHOST, PORT).into()))?
                }
                _ => over_bridge((*address, PORT).into(), figures)?,
            };
            figures.note(kind, kind.start(), sample.time);
        }
    }
    Ok(())
}

/// Measures directly. Some such connections are never answered (seen here, and not
/// explained: the container sends, and the host receives nothing). An unanswered one is
/// counted, and another takes its place.
fn over_bridge(address: SocketAddr, figures: &mut Figures) -> Result<Sample> {
    for _ in 0..2 {
        match first_byte_within(address, UNANSWERED) {
            Err(error) if is_late(&error) => figures.note_unanswered(),
            sample => return sample,
        }
    }
    first_byte(address)
}

fn is_late(error: &anyhow::Error) -> bool {
    let late = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    error.downcast_ref::<io::Error>().is_some_and(late)
}

fn first_byte(address: SocketAddr) -> Result<Sample> {
    first_byte_within(address, FIRST_BYTE)
}

fn first_byte_within(address: SocketAddr, limit: Duration) -> Result<Sample> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).with_context(|| address.to_string())?;
    stream.write_all(&[7])?;
    stream.set_read_timeout(Some(limit))?;
    stream.read_exact(&mut [0]).with_context(|| format!("{address} does not answer"))?;
    Ok(Sample { time: start.elapsed(), client: stream.local_addr()? })
}

/// Waits until nothing is being launched or removed, so that one connection is
/// not measured while another's container comes or goes.
fn at_rest(engine: &BenchEngine, server: &Server) -> Result<()> {
    let mut last = Ok(false);
    let rest = wait::until(REST, || {
        last = engine.rests(server.instance(), server.stock());
        matches!(last, Ok(true) | Err(_)).then_some(())
    });
    last?;
    rest.context("the stock does not fill up")
}
