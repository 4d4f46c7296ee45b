//! `cargo xtask soak`: clients of every kind on a real fleet, a random fault
//! every few seconds, and what has to hold whatever happens.
//!
//! Clients check what they are told, the clerk checks how each connection ended
//! against the program's log and the book of faults, and each minute the fleet is
//! left alone for a moment and looked at.

#![expect(clippy::print_stdout, reason = "it talks to people on a terminal")]

mod book;
mod chaos;
mod checks;
mod clerk;
mod clients;
mod forgotten;
mod growth;
mod ids;
mod places;
mod program;
mod random;
mod setup;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::Parser;
use ganger_test_support::{Fleet, StopOnDrop, fixture_image};
use parking_lot::Mutex;
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::book::{Book, Effect, Target};
use crate::chaos::Chaos;
use crate::clerk::{Clerk, Visit};
use crate::growth::Growth;
use crate::ids::Ids;
use crate::places::Places;
use crate::program::{Program, so_by};
use crate::random::Random;
use crate::setup::{Service, is_remote};
use crate::tally::{Tally, listed, say};

const MINUTE: Duration = Duration::from_secs(60);
/// Clients at a time, of each service.
const CLIENTS: u64 = 6;
/// Minutes, at the most, until all is concluded once the faults are over.
const CONCLUSION: u32 = 15;
/// Until the program has drained and removed everything.
const STOP: Duration = Duration::from_secs(60);

/// The built program under load on a real fleet, with a random fault every few seconds.
#[derive(Debug, Parser)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Chooses the faults. When they hit is up to the clock: a run is repeated roughly.
    #[arg(long)]
    seed: Option<u64>,
}

/// The state that all threads share.
#[derive(Debug)]
pub(crate) struct World {
    program: Program,
    book: Book,
    tally: Tally,
    ids: Ids,
    /// Connections that have ended, for the clerk.
    inbox: Mutex<Vec<Visit>>,
    /// No more clients, no more faults.
    stop: AtomicBool,
    /// No more connections come.
    closed: AtomicBool,
    interrupted: Arc<AtomicBool>,
}

// === impl World ===

impl World {
    /// Whether it is to end.
    fn halted(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.interrupted.load(Ordering::SeqCst)
    }

    /// Waits so long, or until it is to end.
    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.halted() && Instant::now() < end {
            nap(Duration::from_millis(50));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "clients and faults have a pace")]
pub(crate) fn nap(time: Duration) {
    thread::sleep(time);
}

fn main() -> ExitCode {
    let Args { minutes, seed } = Args::parse();
    let seed = seed.unwrap_or_else(|| UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()));
    say(&format!("{minutes} minutes with --seed {seed}; time makes it repeatable only roughly"));
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if let Err(error) = signal_hook::flag::register(signal, interrupted.clone()) {
            say(&format!("signal {signal} would leave faults behind: {error}"));
            return ExitCode::FAILURE;
        }
    }
    // Compiled before the fleet is taken from others.
    let _ = fixture_image();
    let fleet = Fleet::whole();
    fleet.allow(MINUTE * minutes.saturating_add(CONCLUSION));
    let places = match Places::new(&fleet) {
        Ok(places) => places,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let world = World {
        program: Program::start(&beside("ganger"), &fleet, places),
        book: Book::default(),
        tally: Tally::default(),
        ids: Ids::default(),
        inbox: Mutex::default(),
        stop: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        interrupted,
    };
    run(&world, &fleet, minutes, seed);
    conclude(&world)
}

/// A file in the directory that this program is in.
fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(name)
}

fn run(world: &World, fleet: &Fleet, minutes: u32, seed: u64) {
    let (growth, mut chaos) = (Growth::default(), Chaos::new(world, fleet, seed));
    thread::scope(|scope| {
        let _closed = StopOnDrop(&world.closed);
        let stop = StopOnDrop(&world.stop);
        scope.spawn(|| Clerk::new(world, fleet).run());
        scope.spawn(|| growth.follow(world));
        let clients: Vec<_> = (0..CLIENTS)
            .flat_map(|number| Service::ALL.map(|service| (number, service)))
            .map(|(number, service)| {
                let random = Random::new(seed.wrapping_add(1 + number * 2 + service as u64));
                // The first of each service come over a link.
                let host = fleet.hosts().get(usize::try_from(number).unwrap_or(usize::MAX));
                let host = host.filter(|host| !is_remote(host));
                scope.spawn(move || clients::come_and_go(world, service, host, random))
            })
            .collect();
        let (end_of_faults, mut minute) = (Instant::now() + MINUTE * minutes, 0);
        while Instant::now() < end_of_faults {
            // Checks take their time, too.
            chaos.until(end_of_faults.min(Instant::now() + MINUTE));
            minute += 1;
            if world.halted() {
                break;
            }
            let containers = checks::quiet(world, fleet);
            progress(world, &growth, minute, containers);
        }
        end(world, stop);
        // Clients that are still there are cut; how that looks is checked as well.
        clients.into_iter().for_each(|client| _ = client.join());
        wait_for_exit(world);
    });
    if !world.interrupted.load(Ordering::SeqCst) {
        growth.judge(world);
        checks::nothing_left(world, fleet);
    }
}

fn progress(world: &World, growth: &Growth, minute: u32, containers: usize) {
    let (seen, counts) = (world.tally.summary(), world.book.counts());
    let faults: usize = counts.values().sum();
    let growth = growth.last(world.program.ganger().pid());
    say(&format!(
        "minute {minute}: {seen}; {faults} faults: {}; {containers} containers, {growth}",
        listed(counts.iter()),
    ));
}

/// Ends the program as an operator would, with clients connected.
fn end(world: &World, stop: StopOnDrop<'_>) {
    world.program.leaves();
    world.book.begin("SIGTERM", Target::Program, Effect::Cut);
    let ganger = world.program.ganger();
    if !checks::has_ended(ganger.pid()) {
        ganger.signal(Signal::TERM);
    }
    drop(stop);
}

fn wait_for_exit(world: &World) {
    let pid = world.program.ganger().pid();
    if !so_by(STOP, || checks::has_ended(pid)) {
        return world.tally.violation(format!("after {STOP:?} the program has not ended"));
    }
    let code = world.program.ganger().wait(STOP).code();
    if !matches!(code, Some(0 | 5)) {
        world.tally.violation(format!("the program ended with {code:?}"));
    }
    say(&format!("the program ended with {code:?}"));
}

/// Says what came of it.
fn conclude(world: &World) -> ExitCode {
    let counts = world.book.counts();
    say(&format!("connections: {}", world.tally.summary()));
    say(&format!("containers that clients were told: {}", world.ids.count()));
    say(&format!("faults: {}", listed(counts.iter())));
    let path = beside("soak.log");
    match write_log(world, &path) {
        Ok(()) => say(&format!("what the program printed: {}", path.display())),
        Err(error) => say(&format!("{}: {error}", path.display())),
    }
    if world.interrupted.load(Ordering::SeqCst) {
        say("interrupted: this proves nothing");
        return ExitCode::FAILURE;
    }
    let violations = world.tally.violations();
    if violations.is_empty() {
        say("no violations");
        return ExitCode::SUCCESS;
    }
    say(&format!("{} violations:", violations.len()));
    violations.iter().for_each(|violation| println!("- {violation}"));
    ExitCode::FAILURE
}

fn write_log(world: &World, path: &Path) -> std::io::Result<()> {
    let lives = world.program.lives();
    let lines: Vec<_> = lives.iter().flat_map(|life| life.ganger.lines()).collect();
    std::fs::write(path, lines.join("\n") + "\n")
}
