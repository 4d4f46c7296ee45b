//! Checks of the fleet while nothing is being done to it.

use std::fs;
use std::time::Duration;

use ganger_test_support::{Container, Fleet, labelled};

use crate::program::so_by;
use crate::setup::{CAPACITY, Service};
use crate::{World, nap};

/// Sessions have ended by then, and so have removals.
const DRAINED: Duration = Duration::from_secs(90);
/// A daemon that is well answers by then.
const ANSWER: Duration = Duration::from_secs(30);
/// A container that does not run is started or removed by then.
const SETTLED: Duration = Duration::from_secs(60);
/// Connections of each service that have to be served for it to have recovered.
const SERVED: usize = 3;

/// Checks everything; returns how many containers there are.
pub(crate) fn quiet(world: &World, fleet: &Fleet) -> usize {
    let (tally, label) = (&world.tally, world.program.label());
    let mut total = 0;
    let mut idle: Vec<(usize, Container)> = Vec::new();
    for (at, host) in fleet.all().iter().enumerate() {
        let mut found = None;
        if !so_by(ANSWER, || {
            found = host.try_containers(label).ok();
            found.is_some()
        }) {
            tally.violation(format!("{} does not answer", host.name));
        }
        let found = found.unwrap_or_default();
        if found.len() > CAPACITY as usize {
            let (count, name) = (found.len(), &host.name);
            tally.violation(format!("{count} containers on {name}, of {CAPACITY}: {found:#?}"));
        }
        total += found.len();
        idle.extend(found.into_iter().filter(|c| c.state != "running").map(|found| (at, found)));
    }
    // From here on, so that what runs now and ends during the check does not count.
    so_by(SETTLED, || {
        idle.retain(|(at, idle)| {
            let now = fleet.all()[*at].try_containers(label).unwrap_or_default();
            now.iter().any(|now| now.id == idle.id && now.state != "running")
        });
        idle.is_empty() || world.halted()
    });
    if !idle.is_empty() && !world.halted() {
        tally.violation(format!("neither run nor go within {SETTLED:?}: {idle:#?}"));
    }
    drained(world, fleet);
    recovery(world);
    zombies(world);
    total
}

/// Nothing is left where a daemon was before it was given another url.
fn drained(world: &World, fleet: &Fleet) {
    let (program, label) = (&world.program, world.program.label());
    for host in fleet.all().iter().filter(|host| !program.places.is_listed(host)) {
        let mut left = Vec::new();
        let empty = so_by(DRAINED, || {
            let found = host.try_containers(label);
            let empty = found.as_ref().is_ok_and(Vec::is_empty);
            left = found.unwrap_or_default();
            empty || world.halted()
        });
        if !empty {
            let name = &host.name;
            world.tally.violation(format!("left on {name}, which is no daemon: {left:#?}"));
        }
    }
}

/// Each service serves again.
fn recovery(world: &World) {
    for service in Service::ALL {
        let kind = format!("served {}", service.name());
        let before = world.tally.of(&kind);
        let well = || world.tally.of(&kind) >= before + SERVED || world.halted();
        if !so_by(SETTLED, well) {
            world.tally.violation(format!("{} serves nobody after the faults", service.name()));
        }
    }
}

/// Children that have ended are waited for.
fn zombies(world: &World) {
    let dead = || children(world.program.ganger().pid(), 'Z');
    let before = dead();
    if !before.is_empty() {
        nap(Duration::from_secs(2));
        let still: Vec<_> = dead().into_iter().filter(|pid| before.contains(pid)).collect();
        if !still.is_empty() {
            world.tally.violation(format!("nobody waits for dead children: {still:?}"));
        }
    }
}

/// Nothing is left of it: no container, and nobody who would remove one.
pub(crate) fn nothing_left(world: &World, fleet: &Fleet) {
    if !so_by(2 * SETTLED, || world.program.lives().iter().all(|life| life.ganger.is_silent())) {
        world.tally.violation("the guardian of a process that ended is still there");
    }
    let left = labelled(fleet.all(), world.program.label());
    if !left.is_empty() {
        let left: Vec<_> = left.iter().map(|(host, container)| (&host.name, container)).collect();
        world.tally.violation(format!("left behind: {left:#?}"));
    }
}

/// The children of a process that are in a state.
fn children(parent: u32, wanted: char) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| state(*pid).is_some_and(|(state, of)| state == wanted && of == parent))
        .collect()
}

/// Whether a process has ended.
pub(crate) fn has_ended(pid: u32) -> bool {
    state(pid).is_none_or(|(state, _)| state == 'Z')
}

/// A process's state and its parent.
fn state(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
