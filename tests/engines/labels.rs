//! Images that bear Ganger's labels: made so, or by `docker commit` of a container of its own.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Ending, FIXTURE, Fleet, Host, labelled, unique, wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// An image of the test's own; it is removed in the end.
struct Image<'h>(&'h Host, String);

// === impl Image ===

impl<'h> Image<'h> {
    /// The image made of a container, with these labels besides.
    fn of(host: &'h Host, container: &str, labels: &[&str]) -> Self {
        let image = Self(host, format!("ganger.local/{}:1", unique("labels")));
        let changes: Vec<_> =
            labels.iter().map(|label| format!("--change=LABEL {label}")).collect();
        let changes: Vec<_> = changes.iter().map(String::as_str).collect();
        let _ = host.docker(&[&["commit"], &changes[..], &[container, &image.1]].concat());
        image
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_docker(&["rmi", "--force", &self.1]);
    }
}

/// Runs `ganger reap`. Not as `Ganger::start`, which clears up by label at its end.
fn reap(config: &Config, args: &[&str]) -> io::Result<Output> {
    let mut reap = Command::new(GANGER);
    reap.arg("reap").args(args).args(["--config", "-"]).stdin(Stdio::piped());
    let mut reap = reap.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut input) = reap.stdin.take() {
        input.write_all(config.to_string().as_bytes())?;
    }
    reap.wait_with_output()
}

#[test]
fn labels_of_an_image_say_nothing_of_its_containers() {
    // Nobody else's containers are to count.
    let fleet = Fleet::take(1);
    fleet.load_images();
    let host = fleet.local();
    let blank = host.run(&["--network=none", FIXTURE]);
    let labels = ["io.ganger.deadline=1", "io.ganger.sandbox=1", "io.ganger.launch=00000000-1"];
    let image = Image::of(host, &blank.id, &labels);
    drop(blank);

    let fields = "warm: 1, max: 6, network: Sealed, pull: Never, queue: (timeout: \"60s\")";
    let config = Config::new("labels").daemon(host.daemon(3)).image("echo", &image.1, fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let (port, label) = (config.port("echo"), ganger.label());
    let mut held: Vec<_> = (0..3).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| client.echo("mine"));
    let more = Client::connect(port);
    let ours = host.containers(&label);
    assert_eq!(ours.len(), 3, "{ours:#?}");
    for container in &ours {
        assert_eq!(container.label("io.ganger.deadline"), None);
        assert_eq!(container.label("io.ganger.sandbox"), None);
    }
    let peer = Config::new("peer").daemon(host.daemon(3)).fixture("echo", "warm: 0", &[]);
    let reaped = reap(&peer, &["--overdue"]).unwrap();
    assert!(reaped.status.success(), "{reaped:?}");
    held.iter_mut().for_each(|client| client.echo("still mine"));
    drop(more);
    for client in held {
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn what_an_operator_runs_of_a_committed_container_is_the_operator_s() {
    let fleet = Fleet::shared();
    let host = fleet.local();
    let fields = "warm: 1, max: 3, network: Sealed";
    let config = Config::new("commit").daemon(host.daemon(40)).fixture("echo", fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");
    let mut held = Client::connect(port);
    held.echo("one");
    let leased = host.containers(&ganger.label());
    let image = Image::of(host, &leased[0].id, &[]);
    let copy = host.run(&["--network=none", "--volume=/kept", &image.1]);
    let volume = copy.inspect("{{(index .Mounts 0).Name}}");
    let there = || {
        copy.inspect("{{.State.Running}}") == "true"
            && host.try_docker(&["volume", "inspect", &volume]).is_ok()
    };

    // Another one that ends is no end of ours.
    drop(host.run(&["--network=none", &image.1]));
    held.echo("two");
    assert_eq!(held.finish(), Ending::Closed(Vec::new()));
    // Not by `stop`, which would take the copy for something left.
    ganger.signal(Signal::TERM);
    assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
    assert!(there());
    // A start, and a reap.
    let mut next = config.serve(GANGER, &fleet);
    Client::connect(port).echo("three");
    assert!(there());
    next.kill();
    next.wait_for_guardian(DEADLINE);
    let reaped = reap(&config, &[]).unwrap();
    assert!(reaped.status.success(), "{reaped:?}");
    assert!(there());
    wait_until(DEADLINE, "nothing else is left", || {
        let left = labelled(fleet.all(), &next.label());
        left.iter().all(|(_, container)| container.id == copy.id)
    });
}
