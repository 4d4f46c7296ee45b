//! Every verb for a running Ganger, on a real engine.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use ganger_test_support::{Client, Config, Ending, Fleet, Ganger, wait_until};
use serde_json::Value;

use super::{DEADLINE, ask};
use crate::GANGER;

/// A running Ganger, as its verbs are given orders.
struct Asked {
    ganger: Ganger,
    config: Config,
    socket: String,
}

/// A verb that goes on, ended with the test.
struct Following {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

// === impl Asked ===

impl Asked {
    fn serve(fields: &str) -> (Self, String) {
        let fleet = Fleet::shared();
        let host = &fleet.hosts()[0];
        let config = Config::new("verbs").daemon(host.daemon(40)).fixture("echo", fields, &[]);
        let ganger = config.serve(GANGER, &fleet);
        ganger.wait_until_stocked("echo");
        let socket = format!("/run/ganger/{}.sock", config.instance());
        (Self { ganger, config, socket }, host.name.clone())
    }

    /// The output of a verb that is to succeed.
    #[track_caller]
    fn say(&self, args: &[&str]) -> String {
        let (code, out, err) = ask(&self.socket, args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
        out
    }

    /// The exit code of a verb that fails, and what it says.
    #[track_caller]
    fn refuse(&self, args: &[&str]) -> (i32, String) {
        let (code, _, err) = ask(&self.socket, args);
        assert_ne!(code, 0, "{args:?}");
        (code, err)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.say(&[args, &["--json"]].concat())).unwrap()
    }

    fn launches(&self, state: &str) -> Vec<String> {
        let said = self.say(&["containers", "-q", "--state", state, "--service", "echo"]);
        said.lines().map(str::to_owned).collect()
    }

    fn follow(&self, args: &[&str]) -> Following {
        let mut program = Command::new(GANGER);
        program.args(args).args(["--socket", &self.socket]).stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Following { child, lines }
    }
}

// === impl Following ===

impl Following {
    /// The next line that is so.
    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| wanted(line)).unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn what_is_there_is_listed_filtered_and_watched() {
    let (asked, host) = Asked::serve("warm: 1, max: 4, network: Sealed");
    let mut client = Client::connect(asked.config.port("echo"));
    client.echo("hello");
    wait_until(DEADLINE, "one is leased and one in stock", || {
        asked.launches("leased").len() == 1 && asked.launches("ready").len() == 1
    });
    let containers = asked.say(&["containers"]);
    let heads = containers.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(heads, ["LAUNCH", "CONTAINER", "SERVICE", "DAEMON", "STATE", "FOR", "AGE", "USES"]);
    let told = asked.json(&["containers", "--state", "leased"]);
    assert_eq!((told[0]["uses"].as_u64(), told[0]["daemon"].as_str()), (Some(1), Some(&*host)));
    let id = told[0]["id"].as_str().unwrap();
    assert!(containers.contains(&id[..12]) && !containers.contains(id), "{containers}");
    assert!(asked.say(&["containers", "--wide"]).contains(id));
    assert_eq!(asked.say(&["containers", "-q", "--daemon", "nowhere"]), "");

    assert_eq!(asked.say(&["daemons", "-q"]), format!("{host}\n"));
    assert_eq!(asked.say(&["daemons", "-q", "--state", "down"]), "");
    assert_eq!(asked.say(&["daemons", "-q", "--daemon", "nowhere"]), "");
    let engine = asked.json(&["daemons"])[0]["engine"].as_str().unwrap().to_owned();
    assert!(asked.say(&["daemons"]).contains(&engine));

    let sessions = asked.say(&["sessions", "--state", "served", "--daemon", &host]);
    assert!(sessions.contains(&format!("127.0.0.1:{}", client.port())), "{sessions}");
    assert_eq!(asked.say(&["sessions", "-q", "--state", "waiting"]), "");
    for line in asked.say(&["status"]).lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    assert!(asked.say(&["status", "--wide"]).contains("FIRST BYTE"));

    assert_eq!(asked.say(&["health"]), "echo ready\nok\n");
    assert_eq!(asked.say(&["health", "--service", "echo"]), "echo ready\n");
    let (code, why) = asked.refuse(&["health", "--service", "nothing"]);
    assert_eq!((code, why.trim()), (1, "there is no service \"nothing\""));

    let id = asked.say(&["sessions", "-q"]);
    let explained = asked.say(&["explain", id.trim()]);
    for part in ["accepted for echo", "leased container", "warm", "connected to it", "first byte"] {
        assert!(explained.contains(part), "{part:?} is not in {explained}");
    }
    assert!(explained.contains("it is connected; 6 bytes in, 6 bytes out"), "{explained}");

    // A line when there is a difference, and none because time passes.
    let mut watching = asked.follow(&["sessions", "--json", "--watch"]);
    let first: Value = serde_json::from_str(&watching.wait_for(|_| true)).unwrap();
    assert_eq!(first.as_array().unwrap().len(), 1);
    drop(client);
    assert_eq!(watching.wait_for(|_| true), "[]");
    let timeline = || asked.json(&["explain", id.trim()]);
    wait_until(DEADLINE, "it has ended", || timeline()["end"] == "--");
    let last = timeline()["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["what"], timeline()["start"].as_str()), (&"ended".into(), Some("warm")));
    let (code, why) = asked.refuse(&["explain", "99999"]);
    assert_eq!(code, 1);
    assert!(why.contains("none of the latest that have ended"), "{why}");
}

#[test]
fn orders_are_given_by_verbs() {
    let (asked, host) = Asked::serve("warm: 2, max: 6, network: Sealed");
    let mut events = asked.follow(&["events", "--follow"]);
    let said = asked.say(&["scale", "echo", "--warm", "3", "--max", "7"]);
    assert_eq!(said, "service echo: warm 3, max 7, until the next reload\n");
    assert!(events.wait_for(|line| line.contains("ordered")).contains("scale of echo"));
    wait_until(DEADLINE, "three are ready", || asked.launches("ready").len() == 3);
    let origin = || {
        let told = asked.json(&["config", "--service", "echo"]);
        let keys = told["services"][0]["keys"].as_array().unwrap().clone();
        keys.into_iter().find(|key| key["key"] == "warm").unwrap()["origin"].clone()
    };
    assert_eq!(origin(), "operator");
    let (code, why) = asked.refuse(&["scale", "echo", "--warm", "1"]);
    assert_eq!(code, 2);
    assert!(why.contains("less than now (warm 3, max 7)"), "{why}");
    asked.say(&["scale", "echo", "--warm", "2", "--yes"]);
    assert_eq!(asked.say(&["reload", "--dry-run"]), "would change: nothing\n");
    asked.say(&["reload"]);
    assert_eq!(origin(), "file");
    assert_eq!(asked.json(&["status"])["services"][0]["max"], 6);

    let before = asked.launches("ready");
    asked.say(&["retire", &before[0], "--yes"]);
    let (code, why) = asked.refuse(&["retire", "99999", "--yes"]);
    assert_eq!(code, 1, "{why}");
    let said = asked.say(&["roll", "echo", "--wait", "--yes"]);
    assert!(said.starts_with("service echo: rolling out generation 2\n"), "{said}");
    assert!(said.ends_with("service echo: generation 2 runs\n"), "{said}");
    let now = asked.launches("ready");
    assert!(before.iter().all(|old| !now.contains(old)), "{before:?} {now:?}");
    let (code, why) = asked.refuse(&["rollback", "echo", "--yes"]);
    assert_eq!(code, 1, "{why}");
    asked.say(&["roll", "echo", "--yes"]);
    asked.say(&["rollback", "echo", "--yes"]);
    assert_eq!(asked.json(&["status"])["services"][0]["generation"], 2);

    let happened = asked.json(&["events", "--service", "echo"]);
    let happened = happened.as_array().unwrap();
    assert!(happened.iter().any(|it| it["kind"] == "switched-over"), "{happened:?}");
    assert!(happened.iter().all(|it| it["service"] == "echo"), "{happened:?}");
    let mut all = asked.follow(&["events", "--follow", "--json", "--daemon", &host]);
    let state: Value =
        serde_json::from_str(&all.wait_for(|line| line.contains("\"daemon\""))).unwrap();
    assert_eq!((&state["event"], &state["data"]["name"]), (&"daemon".into(), &(*host).into()));
}

#[test]
fn services_daemons_and_the_process_are_drained() {
    let (mut asked, host) = Asked::serve("warm: 1, max: 4, network: Sealed");
    let mut client = Client::connect(asked.config.port("echo"));
    client.echo("before");
    let mut waiting = asked.follow(&["drain", "--service", "echo", "--yes", "--wait"]);
    waiting.wait_for(|line| line == "service echo: 1 leased");
    client.echo("a lease goes on");
    let (code, out, _) = ask(&asked.socket, &["health", "--service", "echo"]);
    assert_eq!((code, out.as_str()), (1, "echo drain\n"));
    drop(client);
    waiting.wait_for(|line| line == "service echo: 0 leased");
    assert!(waiting.child.wait().unwrap().success());
    assert_eq!(asked.say(&["resume", "--service", "echo"]), "service echo: ready\n");
    asked.ganger.wait_until_stocked("echo");

    let mut client = Client::connect(asked.config.port("echo"));
    client.echo("before");
    let said = asked.say(&["drain", "--daemon", &host, "--maint", "--deadline", "1ms", "--yes"]);
    assert!(said.starts_with(&format!("daemon {host}: maint; ")), "{said}");
    assert!(matches!(client.ending(), Ending::Reset(_)), "cut at the deadline");
    assert_eq!(asked.say(&["daemons", "-q", "--state", "maint"]), format!("{host}\n"));
    let mut waiting = asked.follow(&["drain", "--daemon", &host, "--yes", "--wait"]);
    waiting.wait_for(|line| line.ends_with(": 0 leased"));
    asked.say(&["resume", "--daemon", &host, "--service", "echo"]);

    let said = asked.say(&["drain", "--process", "--yes", "--wait"]);
    assert!(said.ends_with("it has ended\n"), "{said}");
    assert_eq!(asked.ganger.wait(DEADLINE).code(), Some(0));
}
