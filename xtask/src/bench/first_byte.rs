//! The time to the first byte, cold, warm and direct, from outside.
//!
//! The kinds are measured in turn, so that what the machine does meanwhile falls on all of them;
//! they are compared with each other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::engine::{BenchEngine, Inside};
use super::figures::{FigureKind, Figures};
use super::server::Server;
use crate::child::Interrupts;
use crate::wait;

/// Connections through a reused container, and directly to it, in each round.
const TURNS: u32 = 20;
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// An answer over the bridge that is later than this does not come.
const UNANSWERED: Duration = Duration::from_secs(5);
/// How long the launches and removals of a round may take.
const REST: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;

/// A measured connection.
struct Sample {
    /// From before connect(2) to the echo of the first byte.
    time: Duration,
    /// Our end of it.
    client: SocketAddr,
}

/// Measures; returns what is printed.
pub(super) fn measure(
    engine: &BenchEngine,
    rounds: u32,
    interrupts: &Interrupts,
) -> Result<String> {
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
    server.stop()?;
    figures.report()
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
