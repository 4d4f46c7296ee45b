//! Engines beside the machine's own Docker: a newer Docker, Podman. The basics on each.

#![expect(clippy::print_stdout, reason = "a failure is to show with which engine")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Ending, Fleet, Ganger, Host, Traces, is_slow, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a check on each kind of engine, with the fleet's other tests kept out.
fn on_each(check: impl Fn(&Fleet, &Host)) {
    let fleet = Fleet::other_kinds();
    for host in fleet.all() {
        println!("--- {}, {} {}", host.name, host.kind, host.version);
        check(&fleet, host);
    }
}

/// Connects, is told who serves, and leaves in good order.
fn ask(port: u16) -> (String, u32) {
    let mut client = Client::connect(port);
    client.send("hello\n");
    let line = client.line();
    assert_eq!(client.line(), "hello");
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    let (id, number) = line.split_once(' ').unwrap();
    (id.to_owned(), number.parse().unwrap())
}

/// The ids of the containers that a program has, once it has so many and all run.
fn stocked(host: &Host, ganger: &Ganger, count: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    wait_until(DEADLINE, "the containers are there", || {
        let all = host.containers(&ganger.label());
        let run = all.iter().all(|container| container.state == "running");
        found = all.into_iter().map(|container| container.id).collect();
        run && found.len() == count
    });
    found
}

/// Ten connections to a strict service and ten to one that is reused; then a stop in good
/// order, after which the host has nothing more than before.
fn strict_and_reuse(fleet: &Fleet, host: &Host, daemon: String, strict: &str, reuse: &str) {
    fleet.load_images();
    let before = Traces::of(fleet);
    // Lazy: a probe by published port is a connection, and is not to count.
    let command = ["identify", "--lazy"];
    let config = Config::new("kind")
        .daemon(daemon)
        .fixture("strict", &format!("warm: 2, max: 6, {strict}"), &command)
        .fixture("reuse", &format!("reuse: 4, warm: 1, max: 3, {reuse}"), &command);
    let mut ganger = config.serve(GANGER, fleet);
    let seen: Vec<_> = (0..10).map(|_| ask(config.port("strict"))).collect();
    let ids: BTreeSet<_> = seen.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 10, "{}: no container serves twice: {seen:?}", host.kind);
    assert!(seen.iter().all(|(_, number)| *number == 1), "{}: {seen:?}", host.kind);
    let seen: Vec<_> = (0..10).map(|_| ask(config.port("reuse"))).collect();
    assert!(seen.iter().all(|(_, number)| *number <= 5), "{}: {seen:?}", host.kind);
    assert!(seen.iter().any(|(_, number)| *number == 5), "{}: {seen:?}", host.kind);
    for end in ganger.wait_for_ends(20) {
        assert_eq!(end.field("end"), "--", "{}: {end:?}", host.kind);
    }
    // An engine has so long for each call, whatever the machine.
    let launched = is_slow() || ganger.count("launch failed") == 0;
    assert!(launched, "{}: {:#?}", host.kind, ganger.lines());
    before.stop(&mut ganger, fleet);
}

#[test]
fn every_kind_serves_by_namespace() {
    on_each(|fleet, host| {
        let (sealed, bridge) = ("network: Sealed", "network: Bridge, reach: Namespace");
        strict_and_reuse(fleet, host, host.daemon(12), sealed, bridge);
    });
}

#[test]
fn every_kind_serves_by_published_port() {
    on_each(|fleet, host| {
        let published = "network: Bridge, reach: Published";
        strict_and_reuse(fleet, host, host.remote_daemon(12), published, published);
    });
}

#[test]
fn every_kind_s_container_that_is_killed_in_stock_is_replaced() {
    on_each(|fleet, host| {
        let config = Config::new("dies").daemon(host.daemon(8)).fixture(
            "id",
            "reuse: 9, warm: 2, max: 4, network: Sealed",
            &["identify"],
        );
        let mut ganger = config.serve(GANGER, fleet);
        let killed = stocked(host, &ganger, 2).into_iter().next().unwrap();
        host.kill(&killed);
        wait_until(DEADLINE, "it is removed", || {
            host.containers(&ganger.label()).iter().all(|container| container.id != killed)
        });
        assert_eq!(stocked(host, &ganger, 2).len(), 2);
        for _ in 0..3 {
            assert_ne!(ask(config.port("id")).0, killed[..12], "{}", host.kind);
        }
        assert_eq!(ganger.stop(), 0);
    });
}

#[test]
fn every_kind_s_containers_have_their_limits() {
    on_each(|fleet, host| {
        let config = Config::new("limits").daemon(host.daemon(8)).fixture(
            "id",
            "warm: 1, max: 2, network: Sealed, limits: (memory: \"32MiB\", cpus: 0.5, pids: 20)",
            &["identify"],
        );
        let mut ganger = config.serve(GANGER, fleet);
        let id = stocked(host, &ganger, 1).into_iter().next().unwrap();
        let pid = host.docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
        // As the kernel has them: an engine may promise what it does not keep.
        let memory = limit(&pid, "memory", "memory.limit_in_bytes", "memory.max");
        let pids = limit(&pid, "pids", "pids.max", "pids.max");
        assert_eq!((memory.as_str(), pids.as_str()), ("33554432", "20"), "{}", host.kind);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let status = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        assert_eq!(status("CapEff:").trim(), "00000000000404fb", "{}", host.kind);
        assert_eq!(status("NoNewPrivs:").trim(), "1", "{}", host.kind);
        assert_eq!(ganger.stop(), 0);
    });
}

#[test]
fn every_kind_gives_containers_what_a_service_says_of_their_system() {
    on_each(|fleet, host| {
        let fields = "warm: 1, max: 2, network: Bridge, reach: Namespace, working_dir: \"/dev\", hostname: \"db.one\", \
                      shm_size: \"1MiB\", ulimits: {\"nofile\": 4096, \"core\": (soft: 0, hard: 1)}, \
                      sysctls: {\"net.core.somaxconn\": \"77\", \"kernel.shmmni\": \"99\"}, \
                      volumes: {\"/kept\": (name: \"ganger-kept\", read_only: true)}, \
                      devices: [\"/dev/null:/dev/other\"], \
                      dns: [\"192.0.2.53\"], extra_hosts: {\"other\": \"192.0.2.7\"}, \
                      entrypoint: [\"/fixture\", \"--banner\", \"entered\"], init: true";
        let config = Config::new("system").daemon(host.daemon(8));
        let config = config.fixture("id", fields, &["identify"]);
        let mut ganger = config.serve(GANGER, fleet);
        let id = stocked(host, &ganger, 1).into_iter().next().unwrap();
        let pid = host.docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
        let kind = &host.kind;
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        // As the kernel has it, and as a program in the container reads it.
        assert_ne!(read("comm").trim(), "fixture", "{kind}: an init is process 1");
        let children = read(&format!("task/{pid}/children"));
        let program = children.trim();
        assert_eq!(
            fs::read_link(format!("/proc/{program}/cwd")).unwrap(),
            Path::new("/dev"),
            "{kind}"
        );
        let limits = read("limits");
        let limit = |name: &str| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(limit("Max open files"), ["4096", "4096"], "{kind}");
        assert_eq!(limit("Max core file size"), ["0", "1"], "{kind}");
        let mounts = read("mountinfo");
        let shm = mounts.lines().find(|line| line.contains(" /dev/shm ")).unwrap();
        assert!(shm.contains("size=1024k"), "{kind}: {shm}");
        assert!(read("root/etc/resolv.conf").contains("nameserver 192.0.2.53"), "{kind}");
        let hosts = read("root/etc/hosts");
        let other = |line: &str| line.split_whitespace().eq(["192.0.2.7", "other"]);
        assert!(hosts.lines().any(other), "{kind}: {hosts}");
        let sysctl = |namespace: &str, file: &str| {
            let entered = ["--target", &pid, namespace, "cat", file];
            let output = Command::new("nsenter").args(entered).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(sysctl("--net", "/proc/sys/net/core/somaxconn"), "77", "{kind}");
        assert_eq!(sysctl("--ipc", "/proc/sys/kernel/shmmni"), "99", "{kind}");
        let volume = mounts.lines().find(|line| line.contains(" /kept "));
        assert!(volume.is_some_and(|line| line.contains(" ro,")), "{kind}: {mounts}");
        let rights = fs::metadata(format!("/proc/{pid}/root/dev/other")).unwrap().rdev();
        assert_eq!(rights, fs::metadata("/dev/null").unwrap().rdev(), "{kind}");
        let mut client = Client::connect(config.port("id"));
        assert_eq!(client.line(), "entered", "{kind}: the entrypoint");
        assert_eq!(client.line(), "db.one 1", "{kind}");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        assert_eq!(ganger.stop(), 0);
        // The volume is still there: its contents stay when containers go.
        let _ = host.docker(&["volume", "rm", "ganger-kept"]);
    });
}

/// The limit of a process for a resource, in version 1 of cgroups or in version 2.
fn limit(pid: &str, controller: &str, version_1: &str, version_2: &str) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mut groups = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        Some((controllers.split(',').any(|known| known == controller), controllers, path))
    });
    let (tree, path, file) = match groups.find(|(named, ..)| *named) {
        Some((_, controllers, path)) => (format!("/{controllers}"), path.to_owned(), version_1),
        None => {
            let all = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            let path = all.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
            (String::new(), path.to_owned(), version_2)
        }
    };
    let file = format!("/sys/fs/cgroup{tree}{path}/{file}");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")).trim().to_owned()
}
