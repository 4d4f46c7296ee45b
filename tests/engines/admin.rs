//! A running Ganger is asked, and told, by its admin socket.

mod crowd;
mod failures;
mod monitoring;
mod openapi;
mod orders;
mod page;
mod prometheus;
mod verbs;

use std::process::Command;
use std::time::Duration;

use ganger_test_support::{Client, Config, Ending, Fleet, wait_until};
use serde_json::Value;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a verb that asks; its exit code, and what it printed on each output.
fn ask(socket: &str, args: &[&str]) -> (i32, String, String) {
    let mut program = Command::new(GANGER);
    let output = program.args(args).args(["--socket", socket]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_running_ganger_tells_what_it_does_and_cuts_whom_it_is_told_to() {
    let fleet = Fleet::shared();
    let host = &fleet.hosts()[0];
    let fields = "warm: 1, max: 4, network: Sealed";
    let config = Config::new("asked").daemon(host.daemon(40)).fixture("echo", fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let socket = format!("/run/ganger/{}.sock", config.instance());

    let mut client = Client::connect(config.port("echo"));
    client.echo("hello");
    ganger.wait_until_stocked("echo");
    let status = || -> Value {
        let (code, out, err) = ask(&socket, &["status", "--json"]);
        assert_eq!((code, err.as_str()), (0, ""));
        serde_json::from_str(&out).unwrap()
    };
    wait_until(DEADLINE, "one is leased and one in stock", || {
        let containers = &status()["services"][0]["containers"];
        containers["leased"] == 1 && containers["ready"] == 1
    });
    let status = status();
    assert_eq!(status["about"]["instance"], config.instance());
    assert_eq!(status["about"]["pid"], ganger.pid());
    assert_eq!(status["services"][0]["state"], "ready");
    assert_eq!(status["daemons"][0]["state"], "up");
    assert_eq!(status["sessions"], 1);
    let (_, shown, _) = ask(&socket, &["status"]);
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("echo"), ["echo", "ready", "1/1"], "{shown}");
    assert_eq!(line(&host.name), [&host.name, "up", "2"], "{shown}");

    let (_, sessions, _) = ask(&socket, &["sessions"]);
    let address = format!("127.0.0.1:{}", client.port());
    assert!(sessions.lines().any(|line| line.contains(&address)), "{sessions}");
    let (_, ids, _) = ask(&socket, &["sessions", "-q"]);
    let id = ids.trim();
    assert_eq!(ask(&socket, &["cut", "--yes", id]), (0, String::new(), String::new()));
    assert_ne!(client.finish(), Ending::Closed(Vec::new()), "cut, and not ended in good order");
    let (code, _, why) = ask(&socket, &["cut", "--yes", id, "99999"]);
    assert_eq!(code, 1);
    assert_eq!(why.matches("or it has ended").count(), 2, "{why}");
    assert!(ganger.lines().iter().any(|line| line.contains("a connection is cut")));

    assert_eq!(ganger.stop(), 0);
    let (code, _, why) = ask(&socket, &["status"]);
    assert_eq!(code, 4, "{why}");
    assert!(why.contains("no Ganger answers at"), "{why}");
}
