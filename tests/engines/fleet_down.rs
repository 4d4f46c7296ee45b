//! A fleet beside another one, and that `cargo xtask fleet down` leaves nothing of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ganger_test_support::{FIXTURE, Fleet, Host, OwnFleet, fixture_image};
use rustix::process::{Signal, kill_process};

/// The directories of the processes of which a file in /proc contains one of these.
fn processes(file: &str, words: &[String]) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let numbered = entries.filter(|dir| {
        dir.file_name().unwrap().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
    });
    let named = |dir: &Path| {
        let content = fs::read(dir.join(file)).unwrap_or_default();
        let content = String::from_utf8_lossy(&content).into_owned();
        words.iter().any(|word| content.contains(word.as_str()))
    };
    numbered.filter(|dir| named(dir)).collect()
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default()
}

/// The paths below a directory whose file names contain one of these.
fn found(dir: &Path, words: &[String], depth: usize) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if words.iter().any(|word| name.contains(word.as_str())) {
            all.push(path.display().to_string());
        }
        if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(found(&path, words, depth - 1));
        }
    }
    all
}

/// A container with a published port in a network with names, which has helpers of its own,
/// and one in the network that the engine has; their ids, and what a dockerd calls the bridge of
/// that network.
fn occupy(host: &Host) -> [String; 3] {
    host.load(fixture_image().1);
    let network = host.docker(&["network", "create", "named"]);
    let port = format!("{}:18080:7000", host.address());
    let run = |options: &[&str]| host.docker(&[&["run", "--detach"], options, &[FIXTURE]].concat());
    let bridge = format!("br-{}", network.get(..12).unwrap_or("named"));
    [run(&["--network=named", "--publish", &port]), run(&[]), bridge]
}

#[test]
fn nothing_is_left_of_a_fleet_with_containers_whose_engines_were_killed() {
    let other = Fleet::shared();
    let kinds = ["--hosts=3", "--engine=1=docker-trixie", "--engine=2=podman-trixie"];
    let own = OwnFleet::up(&[&kinds[..], &["--engine=3=podman-trixie"]].concat());
    let kinds: Vec<_> = own.hosts().iter().map(|host| host.kind.as_str()).collect();
    assert_eq!(kinds, ["docker", "docker-trixie", "podman-trixie", "podman-trixie"]);
    let mut words: Vec<String> = own.hosts().iter().flat_map(occupy).collect();
    // All but the last: those find their containers alive, and have to see to them.
    for host in &own.hosts()[..3] {
        kill_process(host.server().unwrap(), Signal::KILL).unwrap();
    }
    words.push(own.dir().file_name().unwrap().to_string_lossy().into_owned());
    words.extend(own.hosts().iter().filter_map(|host| host.netns.clone()));
    let left = || {
        let mut left = Vec::new();
        for file in ["cmdline", "cgroup", "mountinfo"] {
            let found = processes(file, &words);
            left.extend(found.iter().map(|process| format!("{file} of {}", name(process))));
        }
        for (dir, depth) in [
            ("/sys/fs/cgroup", 4),
            ("/sys/class/net", 1),
            ("/run/netns", 1),
            ("/run", 1),
            ("/run/crun", 1),
            ("/var/tmp", 1),
        ] {
            left.extend(found(Path::new(dir), &words, depth));
        }
        left
    };
    assert!(left().len() > 20, "the test sees what is there: {:#?}", left());
    own.down();
    assert_eq!(left(), [""; 0]);
    // And the other fleet is as it was.
    for host in other.all() {
        let _ = host.docker(&["ps"]);
    }
    drop(own);
}

#[test]
fn a_podman_that_was_killed_starts_again_with_none_of_its_old_processes() {
    let kinds = ["--hosts=1", "--engine=1=podman-trixie"];
    let own = OwnFleet::up(&kinds);
    let host = &own.hosts()[1];
    let [_, id, _] = occupy(host);
    // Its containers, and the service at its address, live on among the mounts that it had.
    kill_process(host.server().unwrap(), Signal::KILL).unwrap();
    own.up_again(&kinds);
    assert_eq!(host.docker(&["inspect", "--format={{.State.Running}}", &id]), "false");
    let socket = [host.socket.parent().unwrap().display().to_string()];
    let all = processes("mountinfo", &socket);
    let namespaces: BTreeSet<_> =
        all.iter().filter_map(|process| fs::read_link(process.join("ns/mnt")).ok()).collect();
    let names: Vec<_> = all.iter().map(|process| name(process)).collect();
    assert_eq!((namespaces.len(), names), (1, vec!["podman\n".to_owned(); 2]));
}
