//! Cells under load, while processes of ours are killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::{env, fs, mem, thread};

use ganger_test_support::{Client, Config, Ending, Fleet, Ganger, StopOnDrop, wait_until};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::{CELL, DEADLINE, LONG, assert_no_cells, carriers, group, keeper, runtimes};
use crate::GANGER;

/// How many clients there are at a time.
const AT_A_TIME: usize = 4;
/// The most clients that are not served for each process that is killed: those who were let in, and
/// those who wait.
const FAILED: usize = 3 * AT_A_TIME;
/// Clients between two kills: about a minute, if there are so many.
const BETWEEN: usize = 7500;

/// Clients between two counts of descriptors.
const VISITS: usize = 60;

/// How many clients are served at least: a few, or as many as `GANGER_LONG_CELLS=100000` says.
fn count() -> usize {
    env::var("GANGER_LONG_CELLS").map_or(600, |count| count.parse().unwrap())
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Keeper,
    Main,
    Carrier,
    Guardian,
    Runtime,
    MainAndKeeper,
}

const VICTIMS: [Victim; 6] = [
    Victim::Keeper,
    Victim::Main,
    Victim::Carrier,
    Victim::Guardian,
    Victim::Runtime,
    Victim::MainAndKeeper,
];

/// Visits a container, which says whose it is; `None` when the visit comes to nothing.
fn visit(port: u16) -> Option<String> {
    let mut client = Client::try_connect(port).ok()?;
    let (line, traces) = (client.try_line().ok()?, client.try_line().ok()?);
    let (name, number) = line.split_once(' ').unwrap();
    assert_eq!((number, &*traces), ("1", "0"), "{name} had somebody before");
    // Whatever becomes of it now, this one had it.
    let ending = client.try_finish();
    assert!(
        ending.map_or(true, |ending| !matches!(ending, Ending::Closed(more) if !more.is_empty()))
    );
    Some(name.to_owned())
}

/// A child of a process whose command line has a text in it.
fn child_of(parent: Pid, text: &str) -> Option<Pid> {
    let parent = format!("PPid:\t{}\n", parent.as_raw_pid());
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let read = |pid, file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let is_it =
        |pid: &i32| read(*pid, "status").contains(&parent) && read(*pid, "cmdline").contains(text);
    pids.find(is_it).and_then(Pid::from_raw)
}

/// How many descriptors a process has.
fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap().count()
}

#[test]
fn whatever_is_killed_nobody_has_a_cell_of_another_and_nothing_is_left() {
    let fleet = Fleet::take(1);
    fleet.load_images();
    let [(_, path), _] = runtimes();
    let config = Config::new("kills").env("PATH", &path).daemon(fleet.hosts()[0].daemon(20));
    // After a cell that was killed the next one is started, so that there are both.
    let fields = format!("warm: 4, max: 12, {CELL}, stock: Created");
    let config = config.fixture("cells", &fields, &["identify", "--traces"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let (port, count) = (config.port("cells"), count());
    if count > BETWEEN {
        fleet.allow(LONG * 3);
    }
    let kills = (count / BETWEEN).max(VICTIMS.len());
    let (served, failed, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let (names, mut former) = (Mutex::new(HashSet::new()), Vec::new());
    let visits = || {
        while !stop.load(SeqCst) {
            if let Some(name) = visit(port) {
                assert!(names.lock().insert(name), "two have had one");
                served.fetch_add(1, SeqCst);
            } else {
                failed.fetch_add(1, SeqCst);
                wait_until(DEADLINE, "it listens", || Client::is_listening(port));
            }
        }
    };
    thread::scope(|scope| {
        let stop = StopOnDrop(&stop);
        (0..AT_A_TIME).for_each(|_| drop(scope.spawn(visits)));
        for (number, victim) in VICTIMS.into_iter().cycle().take(kills).enumerate() {
            let due = (number + 1) * count / (kills + 1);
            wait_until(LONG, "clients are served", || served.load(SeqCst) >= due);
            strike(victim, &mut ganger, &fleet);
            if matches!(victim, Victim::Main | Victim::MainAndKeeper) {
                former.push(mem::replace(&mut ganger, config.start(GANGER, &fleet)));
                ganger.wait_for_line(DEADLINE, |line| line.contains("listening service=cells "));
                // Its keeper is killed next.
                wait_until(DEADLINE, "it has cells", || !super::cells(&ganger).is_empty());
            }
        }
        wait_until(LONG, "all are served", || served.load(SeqCst) >= count);
        drop(stop);
    });
    let failed = failed.into_inner();
    println!("{served:?} clients were served, {failed} were not, for {kills} kills");
    assert!(failed <= kills * FAILED);
    assert_eq!(ganger.count("plain ones and no cells"), 0);

    // What a visit takes is given back. Sockets made ahead and calls of the engine come and go.
    let settled = || wait_until(DEADLINE, "the stock is full", || super::cells(&ganger).len() == 4);
    let main = Pid::from_raw(i32::try_from(ganger.pid()).unwrap()).unwrap();
    settled();
    let before = [main, keeper(&ganger)].map(descriptors);
    (0..VISITS).for_each(|_| drop(visit(port).unwrap()));
    settled();
    let after = [main, keeper(&ganger)].map(descriptors);
    let has_grown = |(before, after): (&usize, &usize)| *after > *before + VISITS / 2;
    assert!(!before.iter().zip(&after).any(has_grown), "descriptors: {before:?}, {after:?}");
    assert_eq!(ganger.stop(), 0);
    former.iter_mut().for_each(|former| former.wait_for_guardian(DEADLINE));
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
    assert!(super::processes_in(&group(&ganger)).is_empty());
}

/// Kills it.
fn strike(victim: Victim, ganger: &mut Ganger, fleet: &Fleet) {
    let main = Pid::from_raw(i32::try_from(ganger.pid()).unwrap()).unwrap();
    match victim {
        Victim::Keeper => kill_process(keeper(ganger), Signal::KILL).unwrap(),
        Victim::Main => ganger.kill(),
        Victim::Carrier => fleet.hosts()[0].remove(&carriers(fleet, ganger)[0]),
        Victim::Guardian => kill_process(child_of(main, "guard").unwrap(), Signal::KILL).unwrap(),
        Victim::Runtime => wait_until(DEADLINE, "a runtime is killed", || {
            let runtime = child_of(keeper(ganger), "crun");
            runtime.is_some_and(|runtime| kill_process(runtime, Signal::KILL).is_ok())
        }),
        Victim::MainAndKeeper => {
            let keeper = keeper(ganger);
            ganger.kill();
            // It may have seen the end of the other already.
            _ = kill_process(keeper, Signal::KILL);
        }
    }
}
