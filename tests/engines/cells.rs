//! Containers that are cells: a runtime runs them without the engine.

mod created_ahead;
mod kills;
mod worst;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, process};

use ganger_test_support::{
    AdminClient, Client, Config, Ending, Fleet, Ganger, Host, labelled, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::GANGER;
use crate::sandbox::ask;

const DEADLINE: Duration = Duration::from_secs(60);
/// For thousands of clients.
const LONG: Duration = Duration::from_secs(1200);
/// What makes containers cells.
const CELL: &str = "network: Sealed, sandbox: Cell";
/// A crun of a newer suite, as it is unpacked for the fleet.
const CRUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/suites/podman-trixie/bin");
/// The length of a container's id.
const ID: usize = 64;
/// How programs of the machine are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The runtimes of cells, each with the path on which it is found.
fn runtimes() -> [(&'static str, String); 2] {
    let crun = Path::new(CRUN).join("crun");
    assert!(
        crun.is_file(),
        "cells need crun: `cargo xtask fleet up --engine 5=podman-trixie --hosts 5`"
    );
    [("crun", format!("{CRUN}:{PATH}")), ("runc", PATH.to_owned())]
}

/// The control groups whose path has a text in it, in every hierarchy.
fn groups(part: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, part: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(entry.path());
                }
                walk(&entry.path(), part, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), part, &mut found);
    found
}

/// What the control groups of a program's cells have in their names.
fn group(ganger: &Ganger) -> String {
    let label = ganger.label();
    format!("ganger-cells-{}-", label.split_once('=').unwrap().1)
}

/// What the control groups of this run's cells have in their names.
fn group_of_run(ganger: &Ganger) -> String {
    format!("{}{}", group(ganger), ganger.boot().split_once('=').unwrap().1)
}

/// The processes of this run's cells.
fn cells(ganger: &Ganger) -> BTreeSet<i32> {
    processes_in(&group_of_run(ganger))
}

/// The processes whose control groups have a text in their names.
fn processes_in(part: &str) -> BTreeSet<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(part))
    })
    .collect()
}

/// Waits until nothing of a program's cells is left on the machine.
fn assert_no_cells(ganger: &Ganger) {
    let name = group(ganger);
    wait_until(DEADLINE, "no control group is left", || groups(&name).is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("ganger-cells"), "{mounts}");
}

/// The keeper of this run's cells.
fn keeper(ganger: &Ganger) -> Pid {
    let name = group_of_run(ganger);
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("keep-cells") && line.contains(&name)
    };
    pids.find(is_it).and_then(Pid::from_raw).unwrap()
}

/// The containers of this run that its engines know.
fn carriers(fleet: &Fleet, ganger: &Ganger) -> Vec<String> {
    let all = labelled(fleet.all(), &ganger.boot());
    all.into_iter().map(|(_, container)| container.id).collect()
}

#[test]
fn every_client_has_a_cell_of_its_own_and_nothing_is_left_of_any() {
    const CLIENTS: usize = 40;

    let fleet = Fleet::shared();
    fleet.load_images();
    for (runtime, path) in runtimes() {
        let config = Config::new("cells").env("PATH", &path).daemon(fleet.local().daemon(20));
        let fields = format!("warm: 2, max: 6, {CELL}");
        let config = config.fixture("cells", &fields, &["identify", "--traces"]);
        let mut ganger = config.serve(GANGER, &fleet);
        let port = config.port("cells");
        let seen: Vec<_> = (0..CLIENTS).map(|_| ask(port)).collect();
        assert!(seen.iter().all(|(_, number)| *number == 1), "{runtime}: {seen:?}");
        let names: BTreeSet<_> = seen.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), CLIENTS, "{runtime}: each has a host name of its own");
        let ends = ganger.wait_for_ends(CLIENTS);
        assert!(ends.iter().all(|end| end.field("end") == "--"), "{runtime}: {ends:?}");
        assert!(
            ends.iter().all(|end| names.contains(end.field("container"))),
            "{runtime}: {ends:?}"
        );
        // Of those that have served nothing is left while the others run.
        wait_until(DEADLINE, "the stock's control groups are left", || {
            let parents = groups(&group(&ganger));
            let is_stock = |parent: &PathBuf| {
                let inside = fs::read_dir(parent).into_iter().flatten().flatten();
                inside.filter(|entry| entry.file_name().len() == ID).count() == 2
            };
            !parents.is_empty() && parents.iter().all(is_stock)
        });
        // The engine has the carrier alone.
        assert_eq!(carriers(&fleet, &ganger).len(), 1, "{runtime}");
        assert_eq!(ganger.count("launch failed"), 0, "{runtime}");
        assert_eq!(ganger.stop(), 0, "{runtime}");
        ganger.assert_nothing_left();
        assert_no_cells(&ganger);
    }
}

/// The target of a mount, and what keeps a process in there: other words for the same are left out.
fn mounted(line: &str) -> (String, String) {
    let (place, kind) = line.split_once(" - ").unwrap();
    let place: Vec<_> = place.split(' ').collect();
    let (root, target, flags) = (place[3], place[4], place[5]);
    if root == "/null" {
        return (target.to_owned(), "covered by /dev/null".to_owned());
    }
    let mut kind = kind.split(' ');
    let (kind, options) = (kind.next().unwrap(), kind.nth(1).unwrap());
    let all: Vec<_> =
        flags.split(',').chain(options.split(',').filter(|one| *one == "ro")).collect();
    let strict = ["ro", "nosuid", "nodev", "noexec"].map(|flag| (flag, all.contains(&flag)));
    let shared = place[6..].iter().any(|field| field.starts_with("shared"));
    // A cell's files are not where an engine's container has them.
    let own = ["/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&target);
    let covers = ["/proc/", "/sys/"].iter().any(|tree| target.starts_with(tree));
    let what = match kind {
        _ if own => String::new(),
        _ if covers => kind.to_owned(),
        _ => format!("{kind} {}", options.trim_start_matches(['r', 'o', 'w', ','])),
    };
    (target.to_owned(), format!("{strict:?} shared: {shared} {what}"))
}

/// The limits of the control groups that a process is in.
fn limits(groups: &str) -> Vec<(&'static str, String)> {
    let first = [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"),
        ("pids", "pids.max"),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpu", "cpu.cfs_period_us"),
        ("cpu", "cpu.shares"),
        ("cpuset", "cpuset.cpus"),
        ("devices", "devices.list"),
    ];
    let second = ["memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.weight"];
    let is_second = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let files: Vec<_> = match is_second {
        true => second.map(|file| ("", file)).into(),
        false => first.into(),
    };
    let read = |(controller, file)| {
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
            controllers.split(',').any(|one| one == controller).then_some(path)
        });
        let file_of = format!("/sys/fs/cgroup/{controller}{}/{file}", path.unwrap());
        let text =
            fs::read_to_string(&file_of).unwrap_or_else(|error| panic!("{file_of}: {error}"));
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        (file, lines.join("\n"))
    };
    files.into_iter().map(read).collect()
}

/// What the kernel says of how a process is kept in, by subject.
fn kept_in(pid: i32) -> BTreeMap<String, String> {
    let read = |file: &str| match fs::read_to_string(format!("/proc/{pid}/{file}")) {
        Ok(text) => text,
        // A kernel without modules for security, or without IPv6, has none.
        Err(_) if ["attr/current", "net/if_inet6"].contains(&file) => String::new(),
        Err(error) => panic!("{file}: {error}"),
    };
    let mut seen = BTreeMap::new();
    let fields = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "Cpus_allowed",
        "Mems_allowed",
    ];
    for line in read("status").lines() {
        let (field, value) = line.split_once(':').unwrap();
        if fields.contains(&field) {
            seen.insert(field.to_owned(), value.trim().to_owned());
        }
    }
    for file in ["limits", "oom_score_adj", "attr/current", "net/dev", "net/route", "net/if_inet6"]
    {
        // Counters of a loopback that was used, and tables whose columns follow from them.
        let text = read(file)
            .lines()
            .map(|line| {
                line.split_whitespace().next().unwrap_or_default().to_owned()
                    + if file.starts_with("net/") { "" } else { line }
            })
            .collect::<Vec<_>>();
        seen.insert(file.to_owned(), text.join("\n"));
    }
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let of = |of: &str| fs::read_link(format!("/proc/{of}/ns/{kind}")).unwrap();
        let own = of(&pid.to_string()) != of("self");
        seen.insert(format!("namespace {kind}"), format!("own: {own}"));
    }
    for line in read("mountinfo").lines() {
        let (target, mount) = mounted(line);
        seen.insert(format!("mount {target}"), mount);
    }
    for (file, text) in limits(&read("cgroup")) {
        seen.insert(file.to_owned(), text);
    }
    seen
}

/// The first processes of the containers whose control groups have a text in their names.
fn first_processes(part: &str) -> Vec<i32> {
    let is_first = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    };
    processes_in(part).into_iter().filter(is_first).collect()
}

/// The container that serves a client, in short.
fn container_of(instance: &str, client: u16) -> String {
    let all = AdminClient::of(instance).get("/api/v1/sessions");
    let own = format!("127.0.0.1:{client}");
    let session = all.as_array().unwrap().iter().find(|one| one["client"] == own).unwrap();
    session["container"].as_str().unwrap()[..12].to_owned()
}

#[test]
fn a_cell_is_kept_in_as_a_container_of_its_engine_is() {
    let fleet = Fleet::shared();
    is_kept_in(&fleet, fleet.local());
}

#[test]
fn a_cell_is_kept_in_as_a_container_of_a_newer_engine_is() {
    let fleet = Fleet::other_kinds();
    let dockers: Vec<_> = fleet.all().iter().filter(|host| !host.is_podman()).collect();
    assert!(!dockers.is_empty());
    dockers.into_iter().for_each(|host| is_kept_in(&fleet, host));
}

fn is_kept_in(fleet: &Fleet, host: &Host) {
    fleet.load_images();
    let options = [
        "",
        "read_only: true, tmpfs: {\"/tmp\": \"size=1m,mode=1777\"}, user: \"1234:77\", ",
        "limits: (memory: \"64MiB\", cpus: 0.5, pids: 33), shm_size: \"8MiB\", hostname: \"db\", ",
        "cap_add: [\"NET_RAW\", \"CHOWN\"], no_new_privileges: false, init: true, ",
        "ulimits: {\"nofile\": (soft: 99, hard: 100)}, sysctls: {\"net.ipv4.ip_forward\": \"1\"}, ",
    ];
    for (runtime, path) in runtimes() {
        let mut config = Config::new("kept").env("PATH", &path).daemon(host.daemon(30));
        for (number, options) in options.iter().enumerate() {
            let fields =
                |sandbox| format!("{options}warm: 1, max: 1, network: Sealed, sandbox: {sandbox}");
            config = config.fixture(&format!("cell-{number}"), &fields("Cell"), &[]);
            config = config.fixture(&format!("plain-{number}"), &fields("Fresh"), &[]);
        }
        let mut ganger = config.serve(GANGER, fleet);
        for (number, options) in options.iter().enumerate() {
            let seen = ["cell", "plain"].map(|kind| {
                let service = format!("{kind}-{number}");
                ganger.wait_until_stocked(&service);
                let mut client = Client::connect(config.port(&service));
                client.echo("hello");
                let own = client.port();
                // The stock is one: whoever is served now has it.
                let id = container_of(config.instance(), own);
                let pids = first_processes(&id);
                assert_eq!(pids.len(), 1, "{runtime}: {service}");
                let is_cell = cells(&ganger).contains(&pids[0]);
                assert_eq!(is_cell, kind == "cell", "{runtime}: {service}");
                kept_in(pids[0])
            });
            let [cell, plain] = seen;
            for (what, plain) in &plain {
                assert_eq!(cell.get(what), Some(plain), "{runtime}: {what} with {options:?}");
            }
            assert_eq!(cell.len(), plain.len(), "{runtime}: {cell:#?} {plain:#?}");
        }
        assert_eq!(ganger.stop(), 0, "{runtime}");
        ganger.assert_nothing_left();
        assert_no_cells(&ganger);
    }
}

#[test]
fn a_newer_docker_has_cells_and_another_engine_says_that_it_has_none() {
    let fleet = Fleet::other_kinds();
    fleet.load_images();
    for host in fleet.all() {
        let config = Config::new("kinds").daemon(host.daemon(8));
        let fields = format!("warm: 2, max: 4, {CELL}");
        let config = config.fixture("cells", &fields, &["identify", "--traces"]);
        let mut ganger = config.serve(GANGER, &fleet);
        ganger.wait_until_stocked("cells");
        // Before clients come: while they do, none may be there for a moment.
        let stocked = cells(&ganger).len();
        assert!((0..5).all(|_| ask(config.port("cells")).1 == 1), "{}", host.kind);
        let said = ganger.count("plain ones and no cells");
        let wanted = if host.is_podman() { (1, 0) } else { (0, 2) };
        assert_eq!((said, stocked), wanted, "{}", host.kind);
        assert_eq!(ganger.count("launch failed"), 0, "{}", host.kind);
        assert_eq!(ganger.stop(), 0, "{}", host.kind);
        ganger.assert_nothing_left();
        assert_no_cells(&ganger);
    }
}

#[test]
fn a_killed_keeper_takes_its_cells_with_it_and_others_serve() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("keeper").daemon(fleet.local().daemon(20));
    let config =
        config.fixture("cells", &format!("warm: 2, max: 6, {CELL}"), &["identify", "--traces"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let before = cells(&ganger);
    assert_eq!(before.len(), 2);
    kill_process(keeper(&ganger), Signal::KILL).unwrap();
    wait_until(DEADLINE, "the stock is another", || {
        let now = cells(&ganger);
        now.len() == 2 && now.is_disjoint(&before)
    });
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains("the keeper of cells has ended, and the cell")
    });
    ask(config.port("cells"));
    let ends = ganger.wait_for_ends(1);
    assert_eq!(ends[0].field("end"), "--", "{ends:?}");
    for blame in ["launch failed", "degraded", "plain ones and no cells"] {
        assert_eq!(ganger.count(blame), 0, "{blame}");
    }
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}

#[test]
fn a_keeper_that_hangs_is_killed_and_others_serve() {
    const CLIENTS: usize = 5;

    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("hangs").daemon(fleet.local().daemon(20));
    let fields = format!("warm: 2, max: 3, {CELL}, queue: (length: 8, timeout: \"60s\")");
    let config = config.fixture("cells", &fields, &["identify", "--traces"]);
    let mut ganger = config.serve(GANGER, &fleet);
    let hung = keeper(&ganger);
    kill_process(hung, Signal::STOP).unwrap();
    // More than there are in stock: none is removed, none is made.
    (0..CLIENTS).for_each(|_| drop(ask(config.port("cells"))));
    let ends = ganger.wait_for_ends(CLIENTS);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.count("the keeper of cells does not answer"), 1);
    assert_ne!(keeper(&ganger), hung);
    for blame in ["degraded", "plain ones and no cells"] {
        assert_eq!(ganger.count(blame), 0, "{blame}");
    }

    // The next one, when it is to end.
    kill_process(keeper(&ganger), Signal::STOP).unwrap();
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}

#[test]
fn a_killed_run_leaves_no_cell_whoever_else_is_killed() {
    let fleet = Fleet::shared();
    fleet.load_images();
    for with_keeper in [false, true] {
        let config = Config::new("killed").daemon(fleet.local().daemon(20));
        let config = config.fixture("cells", &format!("warm: 3, max: 6, {CELL}"), &[]);
        let mut ganger = config.serve(GANGER, &fleet);
        ganger.wait_until_stocked("cells");
        assert_eq!(cells(&ganger).len(), 3);
        let keeper = keeper(&ganger);
        ganger.kill();
        if with_keeper {
            // It may have seen the end of the other already.
            _ = kill_process(keeper, Signal::KILL);
        }
        wait_until(DEADLINE, "no cell is left", || cells(&ganger).is_empty());
        ganger.wait_for_guardian(DEADLINE);
        ganger.assert_nothing_left();
        assert_no_cells(&ganger);
    }
}

#[test]
fn a_carrier_that_somebody_removes_takes_the_stock_with_it_and_no_client() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("carrier").daemon(fleet.local().daemon(20));
    let config =
        config.fixture("cells", &format!("warm: 2, max: 6, {CELL}"), &["identify", "--traces"]);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_until_stocked("cells");
    let mut held = Client::connect(config.port("cells"));
    assert_eq!((held.line().is_empty(), &*held.line()), (false, "0"));
    wait_until(DEADLINE, "the stock is full again", || cells(&ganger).len() == 3);
    let before = cells(&ganger);
    let carrier = carriers(&fleet, &ganger).remove(0);
    fleet.local().remove(&carrier);
    wait_until(DEADLINE, "the stock is another", || {
        let now = cells(&ganger);
        now.difference(&before).count() == 2
    });
    assert_eq!(held.finish(), Ending::Closed(Vec::new()));
    assert!((0..10).all(|_| ask(config.port("cells")).1 == 1));
    let ends = ganger.wait_for_ends(11);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_ne!(carriers(&fleet, &ganger).remove(0), carrier);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}

#[test]
fn where_there_can_be_no_cells_containers_are_plain_and_the_log_says_why() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let cases = [
        ("networked", "sandbox: Cell, network: Bridge", "cells have no network"),
        (
            "executed",
            "sandbox: Cell, network: Sealed, ready: Exec([\"/fixture\", \"--check\"])",
            "`ready: Exec`",
        ),
    ];
    let mut config = Config::new("plain").daemon(fleet.local().daemon(20));
    for (service, fields, _) in cases {
        config = config.fixture(service, &format!("warm: 1, max: 2, {fields}"), &[]);
    }
    let mut ganger = config.serve(GANGER, &fleet);
    for (service, _, why) in cases {
        ganger.wait_until_stocked(service);
        Client::connect(config.port(service)).echo("hello");
        let line = ganger.wait_for_line(DEADLINE, |line| {
            line.contains("plain ones and no cells")
                && line.contains(&format!("service={service} "))
        });
        assert!(line.contains(why), "{line}");
    }
    assert!(cells(&ganger).is_empty());
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn a_runtime_that_fails_costs_three_launches_and_no_client() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let runtime = "#!/bin/sh\n\
        case $1 in --version) echo crun version 1.21; exit;; esac\n\
        echo 'garbage' >> $4; echo '{\"msg\": \"it is out of luck\"}' >> $4; exit 1\n";
    let directory = env::temp_dir().join(format!("ganger-test-runtime-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("crun"), runtime).unwrap();
    fs::set_permissions(directory.join("crun"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{PATH}", directory.display());
    let config = Config::new("luckless").env("PATH", &path).daemon(fleet.local().daemon(20));
    let fields = format!("warm: 0, max: 2, {CELL}, queue: (length: 8, timeout: \"60s\")");
    let config = config.fixture("cells", &fields, &["identify", "--traces"]);
    let mut ganger = config.start(GANGER, &fleet);
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening service=cells "));
    assert_eq!(ask(config.port("cells")).1, 1);
    let ends = ganger.wait_for_ends(1);
    assert_eq!(ends[0].field("end"), "--", "{ends:?}");
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("plain ones and no cells"));
    assert!(line.contains("it is out of luck"), "{line}");
    assert_eq!(ganger.count("launch failed"), 3);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn cells_serve_while_their_engine_is_away_and_are_replaced_when_it_is_back() {
    let fleet = Fleet::take(1);
    fleet.load_images();
    let host = fleet.hosts()[0].clone();
    let config = Config::new("away").daemon(host.daemon(20));
    let config =
        config.fixture("cells", &format!("warm: 2, max: 6, {CELL}"), &["identify", "--traces"]);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_until_stocked("cells");
    let before = cells(&ganger);
    let gone = fleet.kill_daemon(&host);
    // Two are in stock.
    assert_eq!(ask(config.port("cells")).1, 1);
    drop(gone);
    // The engine has ended the carrier with all other containers.
    wait_until(DEADLINE, "the stock is another", || {
        let now = cells(&ganger);
        now.len() == 2 && now.is_disjoint(&before)
    });
    assert_eq!(ask(config.port("cells")).1, 1);
    let ends = ganger.wait_for_ends(2);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}

#[test]
fn a_command_that_fails_is_told_as_an_engine_s_container_s_would_be() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let cases: [(&str, &[&str], &str); 2] = [
        ("absent", &["--exit", "7", "--log", "no such database"], "exited with code 7"),
        ("late", &["--exit-after", "200ms", "--log", "no such table"], "no such table"),
    ];
    let mut config = Config::new("failing").daemon(fleet.local().daemon(20));
    for (service, command, _) in &cases {
        config = config.fixture(service, &format!("warm: 1, max: 1, {CELL}"), command);
    }
    let mut ganger = config.start(GANGER, &fleet);
    for (service, _, why) in &cases {
        let line = ganger.wait_for_line(DEADLINE, |line| {
            line.contains(&format!("service={service} ")) && line.contains(why)
        });
        assert!(!line.contains("plain"), "{line}");
    }
    assert_eq!(ganger.count("plain ones and no cells"), 0);
    assert_eq!(ganger.count("degraded"), 0);
    assert_eq!(ganger.count("its containers are cells"), cases.len());
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}
