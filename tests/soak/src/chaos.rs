//! Faults, one every few seconds, each undone.

use std::thread;
use std::time::{Duration, Instant};

use ganger_test_support::{Fleet, Host};
use parking_lot::Mutex;

use crate::World;
use crate::book::{Effect, Entry, Target};
use crate::places::Moved;
use crate::program::so_by;
use crate::random::Random;
use crate::setup::{COMMAND, Service, is_remote};
use crate::tally::say;

/// Until a reload has come to its end, or the program listens again.
const PROGRAM: Duration = Duration::from_secs(120);
/// Daemons that are not left alone at a time.
const AT_ONCE: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Stop,
    Pause,
    Remove,
    FreezeDockerd,
    KillDockerd,
    FreezeContainerd,
    CutLink,
    CutClients,
    Reload,
    ReloadBroken,
    ReloadGarbage,
    ChangeWay,
    LendName,
    KillProgram,
}

const KINDS: [(Kind, usize); 15] = [
    (Kind::Kill, 8),
    (Kind::Stop, 4),
    (Kind::Pause, 6),
    (Kind::Remove, 6),
    (Kind::FreezeDockerd, 6),
    (Kind::KillDockerd, 4),
    (Kind::FreezeContainerd, 4),
    (Kind::CutLink, 6),
    (Kind::CutClients, 6),
    (Kind::Reload, 4),
    (Kind::ReloadBroken, 2),
    (Kind::ReloadGarbage, 1),
    (Kind::ChangeWay, 3),
    (Kind::LendName, 4),
    (Kind::KillProgram, 1),
];

/// Does the faults.
#[derive(Debug)]
pub(crate) struct Chaos<'a> {
    world: &'a World,
    fleet: &'a Fleet,
    random: Random,
    /// Numbers of hosts to which something is being done; none for the program.
    busy: Mutex<Vec<Option<u8>>>,
    version: u32,
}

/// Nothing else is done to it until this is dropped.
#[derive(Debug)]
struct Busy<'a>(&'a Mutex<Vec<Option<u8>>>, Option<u8>);

// === impl Chaos ===

impl<'a> Chaos<'a> {
    pub(crate) fn new(world: &'a World, fleet: &'a Fleet, seed: u64) -> Self {
        let busy = Mutex::default();
        Self { world, fleet, random: Random::new(seed), busy, version: 0 }
    }

    /// Does faults until then, and returns when all are undone.
    pub(crate) fn until(&mut self, end: Instant) {
        let Self { world, fleet, random, busy, version } = self;
        let (world, fleet, busy) = (*world, *fleet, &*busy);
        thread::scope(|scope| {
            while Instant::now() < end && !world.halted() {
                // All are drawn whether they are needed or not, so that the order of
                // faults is the seed's alone.
                let kind = KINDS[random.weighed(&KINDS.map(|(_, weight)| weight))].0;
                let (host, which, time) =
                    (random.below(fleet.all().len()), random.below(1000), random.millis(0..1000));
                let pause = random.millis(2000..6000);
                let host = &fleet.all()[host];
                if kind.is_of_program() {
                    *version += 1;
                    let version = *version;
                    if let Some(own) = Busy::take(busy, None) {
                        scope.spawn(move || {
                            do_to_program(world, fleet, kind, version, which);
                            drop(own);
                        });
                    }
                } else if kind.can_befall(host)
                    && let Some(own) = Busy::take(busy, Some(host.number))
                {
                    scope.spawn(move || {
                        do_to_host(world, fleet, host, kind, (which, time));
                        drop(own);
                    });
                }
                world.rest(pause);
            }
        });
    }
}

// === impl Kind ===

impl Kind {
    fn is_of_program(self) -> bool {
        use Kind::{ChangeWay, KillProgram, LendName, Reload, ReloadBroken, ReloadGarbage};
        matches!(self, Reload | ReloadBroken | ReloadGarbage | ChangeWay | LendName | KillProgram)
    }

    fn can_befall(self, host: &Host) -> bool {
        match self {
            // The program reaches it over its link, or clients come from there.
            Self::CutLink => is_remote(host),
            Self::CutClients => !is_remote(host) && host.netns.is_some(),
            _ => true,
        }
    }
}

// === impl Busy ===

impl<'a> Busy<'a> {
    fn take(busy: &'a Mutex<Vec<Option<u8>>>, what: Option<u8>) -> Option<Self> {
        let mut taken = busy.lock();
        let hosts = taken.iter().filter(|taken| taken.is_some()).count();
        let free = !taken.contains(&what) && (what.is_none() || hosts < AT_ONCE);
        free.then(|| {
            taken.push(what);
            Self(busy, what)
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().retain(|taken| *taken != self.1);
    }
}

/// `which` of the containers, and for a thousandth part of the longest `time`.
fn do_to_host(
    world: &World,
    fleet: &Fleet,
    host: &Host,
    kind: Kind,
    (which, time): (usize, Duration),
) {
    let daemon = |kind, effect| {
        say(&format!("{kind} {}", host.name));
        world.book.begin(kind, Target::Daemon(world.program.places.name_of(host)), effect)
    };
    let up_to = |seconds: u32| Duration::from_secs(1) + time * (seconds - 1);
    let entry = match kind {
        Kind::FreezeDockerd => {
            let entry = daemon("dockerd frozen", Effect::Nothing);
            let frozen = fleet.freeze(host);
            world.rest(up_to(15));
            drop(frozen);
            entry
        }
        Kind::FreezeContainerd => {
            let entry = daemon("containerd frozen", Effect::Nothing);
            let frozen = fleet.freeze_containerd(host);
            world.rest(up_to(8));
            drop(frozen);
            entry
        }
        Kind::CutLink => {
            // Longer than an idle connection to a dead machine is kept, at worst.
            let entry = daemon("link down", Effect::Both);
            let cut = fleet.cut(host);
            world.rest(up_to(10));
            drop(cut);
            entry
        }
        Kind::CutClients => {
            // Much shorter than a client's network may be out; they wait for what was lost
            // to be sent again.
            say(&format!("client link down {}", host.name));
            let target = Target::Clients(host.name.clone());
            let entry = world.book.begin("client link down", target, Effect::Stall);
            let cut = fleet.cut(host);
            world.rest(up_to(12));
            drop(cut);
            entry
        }
        Kind::KillDockerd => {
            // The daemon ends its containers as it starts again.
            let entry = daemon("dockerd killed", Effect::Cut);
            let gone = fleet.kill_daemon(host);
            world.rest(up_to(5));
            drop(gone);
            entry
        }
        _ => return do_to_container(world, host, kind, which, up_to(8)),
    };
    world.book.end(entry);
}

fn do_to_container(world: &World, host: &Host, kind: Kind, which: usize, time: Duration) {
    let mut found = host.try_containers(world.program.label()).unwrap_or_default();
    found.retain(|container| container.state == "running");
    let Some(container) = found.get(which % found.len().max(1)) else { return };
    let (id, target) = (&*container.id, Target::Container(container.id[..12].to_owned()));
    let (name, effect, command): (_, _, &[&str]) = match kind {
        Kind::Pause => ("pause", Effect::Stall, &["pause", id]),
        Kind::Stop => ("stop", Effect::Cut, &["stop", "--time=1", id]),
        Kind::Remove => ("rm -f", Effect::Cut, &["rm", "--force", id]),
        _ => ("kill", Effect::Cut, &["kill", id]),
    };
    say(&format!("{name} {} on {}", &id[..12], host.name));
    let entry = world.book.begin(name, target, effect);
    if host.try_docker(command).is_err() {
        // The container was gone already.
        return world.book.void(entry);
    }
    if kind == Kind::Pause {
        world.rest(time);
        // The container may have been removed meanwhile.
        let _ = host.try_docker(&["unpause", id]);
        world.book.end(entry);
    }
}

fn do_to_program(world: &World, fleet: &Fleet, kind: Kind, version: u32, which: usize) {
    let (program, book, tally) = (&world.program, &world.book, &world.tally);
    let service = Service::ALL[which % Service::ALL.len()];
    let (name, fields) = (service.name(), service.fields(version));
    let begin = |kind, effect| {
        say(kind);
        book.begin(kind, Target::Program, effect)
    };
    let count = |text| program.ganger().count(text);
    let entry = match kind {
        Kind::KillProgram => {
            let entry = begin("ganger killed", Effect::Cut);
            if !program.kill_and_start(fleet, PROGRAM) {
                tally.violation("ganger was started again and does not listen");
            }
            entry
        }
        Kind::ReloadGarbage => {
            let (entry, said) = (begin("reload garbage", Effect::Nothing), "is not reloaded");
            let before = count(said);
            program.reload_garbage();
            if !program.says(said, before + 1, PROGRAM) && !world.halted() {
                tally.violation("garbage was read as a configuration");
            }
            entry
        }
        Kind::ReloadBroken => {
            let entry = begin("reload broken", Effect::Nothing);
            let (before, over) = (count("rolled back"), count("switched over"));
            program.reload(false, |config| config.changed(name, &fields, &["--exit", "3"]));
            if !program.says("rolled back", before + 1, PROGRAM) && !world.halted() {
                tally.violation(format!("{name}: what does not start was not rolled back"));
            }
            if count("switched over") > over {
                tally.violation(format!("{name}: switched over to what does not start"));
            }
            let reloaded = count("the configuration is reloaded");
            program.reload(true, |config| config);
            if !program.says("the configuration is reloaded", reloaded + 1, PROGRAM) {
                tally.violation(format!("{name}: the way back was not read"));
            }
            entry
        }
        Kind::ChangeWay => {
            let Some(moved) = program.places.change_way(which) else { return };
            move_daemon(world, "url changed", &moved)
        }
        Kind::LendName => {
            let (moved, lent) = program.places.lend(which);
            let kind = if lent { "name given to another engine" } else { "name given back" };
            move_daemon(world, kind, &moved)
        }
        _ => {
            let entry = begin("reload", Effect::Nothing);
            let (over, back) = (count("switched over"), count("rolled back"));
            program.reload(true, |config| config.changed(name, &fields, &COMMAND));
            // Faults may hit it so often that it is given up; that is no mistake.
            let ended =
                so_by(PROGRAM, || count("switched over") + count("rolled back") > over + back);
            if !ended && !world.halted() {
                tally.violation(format!("{name}: a reload came to no end"));
            }
            entry
        }
    };
    book.end(entry);
}

/// Gives a daemon another url. Sessions on it go on; its old place is checked while nothing is
/// being done to the fleet.
fn move_daemon(world: &World, kind: &'static str, Moved { name, daemon }: &Moved) -> Entry {
    say(&format!("{kind} {name}"));
    let (program, joined) = (&world.program, "joined the fleet");
    let entry = world.book.begin(kind, Target::Daemon(name.clone()), Effect::Nothing);
    let before = program.ganger().count(joined);
    program.reload(true, |config| config.relocated(name, daemon));
    if !program.says(joined, before + 1, PROGRAM) && !world.halted() {
        world.tally.violation(format!("{name}: its other url was not read"));
    }
    entry
}
