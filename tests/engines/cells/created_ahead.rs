//! Cells that are created ahead, and started by a lease.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{env, fs};

use ganger_test_support::{
    AdminClient, Client, Config, Ending, Fleet, Ganger, labelled, unique, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};

use super::{CELL, DEADLINE, assert_no_cells, cells, runtimes};
use crate::GANGER;
use crate::sandbox::ask;

/// The processes of cells that run the command of their service, and those that wait for a lease.
fn started_and_waiting(ganger: &Ganger) -> (BTreeSet<i32>, BTreeSet<i32>) {
    let runs = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        !["--bundle", "runc\0init"].iter().any(|runtime| line.contains(runtime))
    };
    cells(ganger).into_iter().partition(runs)
}

#[test]
fn cells_in_stock_are_created_and_a_lease_starts_them() {
    const CLIENTS: usize = 30;

    let fleet = Fleet::shared();
    fleet.load_images();
    for (runtime, path) in runtimes() {
        let config = Config::new("ahead").env("PATH", &path).daemon(fleet.local().daemon(20));
        let fields = format!("warm: 3, max: 8, {CELL}, stock: Created");
        let config = config.fixture("cells", &fields, &["identify", "--traces"]);
        let mut ganger = config.serve(GANGER, &fleet);
        let port = config.port("cells");
        let admin = AdminClient::of(config.instance());
        let stock_waits = || {
            // Those that were launched before the first one was ready are started; they are leased.
            wait_until(DEADLINE, "all of the stock waits for a lease", || {
                let (started, waiting) = started_and_waiting(&ganger);
                if !started.is_empty() {
                    ask(port);
                }
                // One that is being made has a process, too.
                let ready = admin.get("/api/v1/containers?state=ready");
                let ready = ready.as_array().unwrap().len();
                (started.len(), waiting.len(), ready) == (0, 3, 3)
            });
        };
        ganger.wait_until_stocked("cells");
        stock_waits();
        let names: BTreeSet<_> = (0..CLIENTS).map(|_| ask(port)).collect();
        assert_eq!(names.len(), CLIENTS, "{runtime}: each has a host name of its own");
        assert!(names.iter().all(|(_, number)| *number == 1), "{runtime}: {names:?}");

        // One that ends before it was leased is replaced as any other, by one that is started.
        stock_waits();
        let (_, before) = started_and_waiting(&ganger);
        let victim = before.first().copied().and_then(Pid::from_raw).unwrap();
        kill_process(victim, Signal::KILL).unwrap();
        wait_until(DEADLINE, "it is replaced", || {
            let (started, waiting) = started_and_waiting(&ganger);
            (started.len(), waiting.len()) == (1, 2)
        });
        stock_waits();
        let ends = ganger.ends_after(0);
        assert!(ends.iter().all(|end| end.field("end") == "--"), "{runtime}: {ends:?}");
        assert_eq!(ganger.count("launch failed"), 0, "{runtime}");
        assert_eq!(ganger.stop(), 0, "{runtime}");
        ganger.assert_nothing_left();
        assert_no_cells(&ganger);
    }
}

#[test]
fn a_service_that_is_not_ready_at_once_has_started_cells_in_stock() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("slow").daemon(fleet.local().daemon(20));
    let fields = format!("warm: 2, max: 4, {CELL}, stock: Created");
    let config = config.fixture("slow", &fields, &["--delay", "200ms"]);
    let mut ganger = config.serve(GANGER, &fleet);
    (0..4).for_each(|_| Client::connect(config.port("slow")).echo("hello"));
    let said = "`stock: Created` is not used";
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains(said));
    assert!(line.contains("after its start"), "{line}");
    ganger.wait_until_stocked("slow");
    wait_until(DEADLINE, "the stock is started", || {
        let (started, waiting) = started_and_waiting(&ganger);
        (started.len(), waiting.len()) == (2, 0)
    });
    assert_eq!(ganger.count(said), 1);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}

/// Copies the program of a container to `to`.
fn program_of_a_container(fleet: &Fleet, to: &Path) {
    let config = Config::new("program").daemon(fleet.local().daemon(20));
    let config = config.fixture("plain", "warm: 1, max: 1, network: Sealed", &[]);
    let mut ganger = config.serve(GANGER, fleet);
    let (host, container) = &labelled(fleet.all(), &ganger.label())[0];
    let pid = host.docker(&["inspect", "--format", "{{.State.Pid}}", &container.id]);
    fs::copy(format!("/proc/{pid}/exe"), to).unwrap();
    assert_eq!(ganger.stop(), 0);
}

/// Whether a client is served.
fn is_served(port: u16) -> bool {
    let Ok(mut client) = Client::try_connect(port) else { return false };
    client.try_send("hello\n").is_ok() && client.try_line().is_ok_and(|line| line == "hello")
}

#[test]
fn a_command_that_cannot_be_started_any_more_is_blamed_on_the_service() {
    let fleet = Fleet::shared();
    fleet.load_images();
    runtimes().iter().for_each(|(_, path)| is_blamed(&fleet, path));
}

fn is_blamed(fleet: &Fleet, path: &str) {
    let directory = env::temp_dir().join(unique("ganger-test-ahead"));
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("program");
    program_of_a_container(fleet, &program);
    let own = format!(
        "warm: 2, max: 4, {CELL}, stock: Created, entrypoint: [\"/own/program\"], \
         mounts: [(source: \"{}\", target: \"/own\")]",
        directory.display()
    );
    let config = Config::new("ahead").env("PATH", path).daemon(fleet.local().daemon(20));
    let config = config.fixture("cells", &own, &[]);
    let mut ganger = config.serve(GANGER, fleet);
    let port = config.port("cells");
    wait_until(DEADLINE, "cells wait for a lease", || {
        let (_, waiting) = started_and_waiting(&ganger);
        is_served(port) && waiting.len() == 2
    });

    // A runtime creates cells of it all the same: no kernel runs this.
    fs::rename(&program, directory.join("good")).unwrap();
    fs::write(&program, "garbage").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let admin = AdminClient::of(config.instance());
    assert_eq!(admin.order("/api/v1/services/cells/roll", "").0, 200);
    // A generation is not proven by a cell that never ran.
    ganger.wait_for_line(DEADLINE, |line| line.contains("rolled back"));
    let blamed = || ganger.count("launch failed");
    let before = blamed();
    wait_until(DEADLINE, "launches fail again, and not only leases", || {
        is_served(port);
        blamed() > before
    });

    fs::rename(directory.join("good"), &program).unwrap();
    wait_until(DEADLINE, "it serves again", || is_served(port));
    assert_eq!(ganger.count("plain ones and no cells"), 0);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_cell_that_was_created_ahead_is_reused_as_often_as_allowed() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("again").daemon(fleet.local().daemon(20));
    let fields = format!("warm: 2, max: 4, reuse: 2, {CELL}, stock: Created");
    let config = config.fixture("cells", &fields, &["identify", "--traces"]);
    let mut ganger = config.serve(GANGER, &fleet);
    // How many of its clients each container has served is counted by the container.
    let numbers: Vec<_> = (0..30).map(|_| number(config.port("cells"))).collect();
    for number in 1..=3 {
        assert!(numbers.contains(&number), "{numbers:?}");
    }
    assert!(numbers.iter().all(|number| *number <= 3), "{numbers:?}");
    let ends = ganger.wait_for_ends(numbers.len());
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}

/// Which of a container's clients one is.
fn number(port: u16) -> u32 {
    let mut client = Client::connect(port);
    let line = client.line();
    client.line();
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    line.split_once(' ').unwrap().1.parse().unwrap()
}
