//! Files in memory that containers have from their first moment.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ganger_test_support::{Client, Config, Fleet, Ganger, Host, unique, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// A directory that is removed with it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The secret of a service's container, and the line of its mount, once there is one container
/// of this generation and no other.
fn seen(host: &Host, ganger: &Ganger, service: &str, generation: &str) -> (String, String) {
    let mut id = String::new();
    wait_until(DEADLINE, "one container is there", || {
        let mut own = host.containers(&ganger.label());
        own.retain(|one| one.label("io.ganger.service") == Some(service));
        let [one] = &own[..] else { return false };
        id.clone_from(&one.id);
        one.state == "running" && one.label("io.ganger.generation") == Some(generation)
    });
    let pid = host.docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mount = mounts.lines().find(|line| line.contains(" /run/secrets ")).unwrap();
    assert!(!host.docker(&["inspect", &id]).contains("hunter"), "{}", host.kind);
    let held = fs::read_to_string(format!("/proc/{pid}/root/run/secrets/db.key")).unwrap();
    (held, mount.to_owned())
}

/// The containers that hold secrets.
fn holders(host: &Host, ganger: &Ganger) -> Vec<String> {
    let all = host.containers(&ganger.label()).into_iter();
    all.filter(|one| one.label("io.ganger.sandbox").is_some()).map(|one| one.id).collect()
}

/// A file with a secret, and the directory that it is alone in.
fn key() -> (Scratch, PathBuf) {
    let dir = Scratch(std::env::temp_dir().join(unique("ganger-secrets")));
    fs::create_dir_all(&dir.0).unwrap();
    let key = dir.0.join("key");
    fs::write(&key, "hunter2\n").unwrap();
    (dir, key)
}

fn have_their_secrets(fleet: &Fleet, host: &Host) {
    let ((_dir, key), kind) = (key(), &host.kind);
    let fields = format!(
        "warm: 1, max: 4, reach: Namespace, user: \"65534:65534\", read_only: true, \
         secrets: {{\"db.key\": {:?}}}",
        key.display().to_string()
    );
    let config = Config::new("secrets")
        .daemon(host.daemon(16))
        .fixture("one", &fields, &[])
        .fixture("two", &fields, &[])
        .fixture("none", "warm: 1", &[]);
    let mut ganger = config.serve(GANGER, fleet);
    for service in ["one", "two"] {
        let (held, mount) = seen(host, &ganger, service, "1");
        assert_eq!(held, "hunter2\n", "{kind}");
        assert!(mount.contains(" ro") && mount.contains(" - tmpfs "), "{kind}: {mount}");
    }
    let first = holders(host, &ganger);
    assert_eq!(first.len(), 1, "{kind}: one for both services");

    // A lost holder is replaced by another one.
    let _ = host.docker(&["kill", &first[0]]);
    for _ in 0..2 {
        Client::connect(config.port("one")).echo("hello");
    }
    wait_until(DEADLINE, "another one holds them", || {
        let now = holders(host, &ganger);
        now.len() == 1 && now != first
    });
    ganger.wait_until_stocked("one");
    Client::connect(config.port("one")).echo("hello");

    // A reload reads the file again, with the configuration.
    fs::write(&key, "hunter3\n").unwrap();
    ganger.reload(&config.to_string());
    for service in ["one", "two"] {
        assert_eq!(seen(host, &ganger, service, "2").0, "hunter3\n", "{kind}");
    }
    wait_until(DEADLINE, "the old ones are held no more", || {
        holders(host, &ganger).len() == 1 && host.try_volumes(&ganger.label()).unwrap().len() == 1
    });
    assert_eq!(ganger.stop(), 0, "{kind}");
    ganger.assert_nothing_left();
}

#[test]
fn containers_have_their_secrets() {
    let fleet = Fleet::take(1);
    have_their_secrets(&fleet, &fleet.hosts()[0]);
}

#[test]
fn containers_of_every_kind_have_their_secrets() {
    let fleet = Fleet::other_kinds();
    fleet.all().iter().for_each(|host| have_their_secrets(&fleet, host));
}

#[test]
fn an_engine_that_was_restarted_has_them_again() {
    let fleet = Fleet::take(1);
    let host = &fleet.hosts()[0];
    let (_dir, key) = key();
    let fields = format!(
        "warm: 1, max: 4, reach: Namespace, secrets: {{\"db.key\": {:?}}}",
        key.display().to_string()
    );
    let config = Config::new("secrets").daemon(host.daemon(16)).fixture("one", &fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    drop(fleet.stop_daemon(host));
    // Until there is contact again, clients are refused. The stock may have lived on, and what held
    // its secrets.
    wait_until(DEADLINE, "clients are served again", || {
        let mut client = Client::connect(config.port("one"));
        client.try_send("hello\n").and_then(|()| client.try_line()).is_ok()
    });
    for _ in 0..3 {
        Client::connect(config.port("one")).echo("hello");
    }
    assert_eq!(seen(host, &ganger, "one", "1").0, "hunter2\n");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
