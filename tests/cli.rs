//! The command line from outside: verbs, exit codes, and what is said to people.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ganger_test_support::{Client, Config, Ending, Ganger, free_port, unique, wait_until};

const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const DEADLINE: Duration = Duration::from_secs(30);
/// Where no engine is.
const NOWHERE: &str = "unix:///nonexistent/docker.sock";

/// An empty directory to run the program in.
struct Dir(PathBuf);

/// How the program ended, and what it said.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

// === impl Dir ===

impl Dir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("ganger-cli"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn ganger(&self, args: &[&str]) -> Outcome {
        self.ganger_with(args, &[])
    }

    fn ganger_with(&self, args: &[&str], env: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(GANGER);
        for name in ["GANGER_CONFIG_FILE", "GANGER_LOG", "DOCKER_HOST"] {
            command.env_remove(name);
        }
        command.args(args).envs(env.iter().copied()).current_dir(&self.0).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// === impl Outcome ===

impl Outcome {
    /// Fails unless it ended so and said all of this to standard error.
    fn expect(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for part in said {
            assert!(self.err.contains(part), "{part:?} is not in {self:#?}");
        }
    }
}

/// A configuration that is in order, whose daemon is not there.
fn absent(name: &str) -> Config {
    let daemon = format!("(name: \"local\", url: {NOWHERE:?}, max_containers: 4)");
    Config::new(name).daemon(daemon).fixture("echo", "warm: 1, max: 4", &[])
}

#[test]
fn a_log_that_nobody_reads_any_more_holds_nothing_up() {
    let dir = Dir::new();
    let (port, name) = (free_port(), unique("unread"));
    let config = format!(
        "(instance: \"{name}\", drain_timeout: \"1s\",
          daemons: Static([(name: \"d\", url: \"{NOWHERE}\", max_containers: 4)]),
          services: {{\"s\": (listen: \"127.0.0.1:{port}\", image: \"i:1\", port: 1)}})"
    );
    let file = dir.write("c.ron", &config);
    // One whose reader is gone, and one whose reader does not read.
    for gone in [true, false] {
        let mut ganger = Command::new(GANGER)
            .args(["run", "--config", &file, "--log", "trace"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = ganger.stderr.take();
        if gone {
            reader = None;
        }
        wait_until(DEADLINE, "it listens", || Client::try_connect(port).is_ok());
        // A pipe takes 64 KiB.
        for _ in 0..2000 {
            assert_eq!(Client::connect(port).ending(), Ending::Reset(Vec::new()));
        }
        let pid = rustix::process::Pid::from_child(&ganger);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut code = None;
        wait_until(DEADLINE, "it ends", || {
            code = ganger.try_wait().unwrap();
            code.is_some()
        });
        assert_eq!(code.unwrap().code(), Some(0), "reader gone: {gone}");
        drop(reader);
    }
}

#[test]
fn help_is_no_failure_and_a_wrong_command_line_is_one() {
    let dir = Dir::new();
    for args in [&["--help"][..], &["-h"], &["help"], &["run", "--help"], &["--version"]] {
        let outcome = dir.ganger(args);
        assert!(outcome.code == Some(0) && !outcome.out.is_empty(), "{args:?}: {outcome:#?}");
    }
    let help = dir.ganger(&["--help"]).out;
    for verb in ["run", "demo", "check", "init", "bench", "push", "simulate", "reap", "Exit codes"]
    {
        assert!(help.contains(verb), "{verb} is not in {help}");
    }
    dir.ganger(&["fly"]).expect(2, &["unrecognized subcommand 'fly'"]);
    dir.ganger(&["run", "--fast"]).expect(2, &["'--fast'"]);
    dir.ganger(&[]).expect(2, &["Usage"]);
}

#[test]
fn recorded_connections_are_replayed_against_other_stocks() {
    let dir = Dir::new();
    let trace: String = (0..600).map(|n| format!("echo,{n},0.5\n")).collect();
    dir.write("trace.csv", &(trace + "other,0,1\n"));
    let args = ["simulate", "trace.csv", "--service", "echo", "--warm", "0,1"];
    let outcome = dir.ganger(&args);
    outcome.expect(0, &[]);
    let table = outcome.out;
    assert!(table.starts_with("echo: 600 arrivals in 599 s\n"), "{table}");
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), rows[2][..3].join(" ")), (5, "0 0.000% 250.0ms".to_owned()), "{table}");
    assert_eq!(rows[3][..2], ["1", "100.000%"], "{table}");
    assert_eq!(rows[4][..2], ["Auto", "100.000%"], "{table}");
    dir.ganger(&["simulate", "none.csv"]).expect(1, &["none.csv: No such file"]);
    dir.ganger(&["simulate", "trace.csv", "--service", "x"]).expect(1, &["no connection of x"]);
    dir.ganger(&["simulate", "trace.csv", "--launch", "1"]).expect(2, &["as in \"1m 30s\""]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_named_with_the_reason() {
    let dir = Dir::new();
    for verb in ["run", "check", "reap"] {
        dir.ganger(&[verb]).expect(3, &["no configuration", "ganger init > ganger.ron"]);
        let missing = ["no.ron", "No such file or directory"];
        dir.ganger(&[verb, "--config", "no.ron"]).expect(3, &missing);
        dir.ganger_with(&[verb], &[("GANGER_CONFIG_FILE", "no.ron")]).expect(3, &missing);
        // Permissions would not keep root from it.
        dir.ganger_with(&[verb], &[("GANGER_CONFIG_FILE", "/")]).expect(3, &["/", "directory"]);
    }
}

#[test]
fn all_mistakes_are_reported_at_once_and_nothing_is_begun() {
    let dir = Dir::new();
    let port = absent("none").port("echo");
    let text = format!(
        r#"#![enable(implicit_some)]
(
    daemons: Static([
        (name: "local", url: "{NOWHERE}", max_containers: 4),
        (name: "rack2", url: "tcp://192.0.2.7:2375", max_containers: 4),
    ]),
    services: {{
        "echo": (listen: "127.0.0.1:{port}", image: "ganger.local/echo:1", port: 7000,
                 warm: 9, max: 4, queue: (length: 8, timeout: "10 parsecs")),
        "more": (listen: "127.0.0.1:{port}", image: "Not An Image", prot: 7000),
        "s 6": (listen: "127.0.0.1:1", image: "ganger.local/echo:1", port: "80"),
    }},
    drain_timeuot: "30s",
    log: Json,
)
"#
    );
    let path = dir.write("bad.ron", &text);
    for verb in ["run", "check", "reap"] {
        let outcome = dir.ganger(&[verb, "--config", &path]);
        let said = [
            "drain_timeuot",
            "did you mean `drain_timeout`",
            "10 parsecs",
            "Not An Image",
            "prot",
            "insecure: true",
            "bad.ron:5:",
            "bad.ron:9:",
            "' ' cannot be in a name",
            "found text",
            "its settings go into the bracket: `format`",
            "11 mistakes in",
        ];
        outcome.expect(3, &said);
        assert!(!outcome.err.contains("starting"), "{outcome:#?}");
        assert_eq!(outcome.out, "");
    }
}

#[test]
fn an_option_that_makes_no_sense_is_refused_with_what_to_write() {
    let dir = Dir::new();
    dir.ganger(&["check", "--log", "verbose"]).expect(2, &["\"verbose\" is no level"]);
    dir.ganger(&["demo", "--listen", "5454"]).expect(2, &["as in 127.0.0.1:5454"]);
}

#[test]
fn what_init_prints_is_in_order_and_is_found_by_itself() {
    let dir = Dir::new();
    let printed = dir.ganger(&["init"]);
    printed.expect(0, &[]);
    dir.write("ganger.ron", &printed.out);
    let checked = dir.ganger(&["check"]);
    checked.expect(0, &[]);
    assert!(checked.out.contains("ganger.ron: in order"), "{checked:#?}");
}

#[test]
fn the_examples_are_in_order() {
    let dir = Dir::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for example in fs::read_dir(examples).unwrap() {
        dir.ganger(&["check", "--config", example.unwrap().path().to_str().unwrap()])
            .expect(0, &[]);
        count += 1;
    }
    assert!(count > 1);
}

#[test]
fn an_engine_that_is_not_there_is_said_to_be_with_what_to_do() {
    let dir = Dir::new();
    let cause = ["no container engine at unix:///nonexistent/docker.sock", "is Docker installed"];
    let path = dir.write("absent.ron", &absent("absent").to_string());
    dir.ganger(&["demo", "--docker", NOWHERE]).expect(4, &cause);
    dir.ganger_with(&["demo"], &[("DOCKER_HOST", NOWHERE)]).expect(4, &cause);
    dir.ganger(&["reap", "--config", &path]).expect(4, &cause);
    let online = dir.ganger(&["check", "--online", "--config", &path]);
    assert!(online.code == Some(4) && online.out.contains(cause[0]), "{online:#?}");
    dir.ganger(&["check", "--config", &path]).expect(0, &[]);

    // Somebody is there, who does not listen.
    let silent = dir.0.join("silent.sock");
    drop(std::os::unix::net::UnixListener::bind(&silent).unwrap());
    let url = format!("unix://{}", silent.display());
    dir.ganger(&["demo", "--docker", &url]).expect(4, &["nobody listens", "start it again"]);
}

#[test]
fn a_consul_that_is_away_is_said_where_the_fleet_is_asked_for() {
    let dir = Dir::new();
    let consul = free_port();
    let config = format!(
        "(instance: {:?},
          daemons: Consul(servers: [\"http://127.0.0.1:{consul}\"], service: \"d\", max_containers: 4),
          services: {{\"s\": (listen: \"127.0.0.1:1\", image: \"i:1\", port: 1)}})",
        unique("no-consul")
    );
    let file = dir.write("c.ron", &config);
    let cause = format!("Consul at http://127.0.0.1:{consul}: Connection refused");
    dir.ganger(&["check", "--config", &file]).expect(0, &[]);
    for verb in [&["check", "--online"][..], &["reap"], &["push", "i:1", "--to", "all"]] {
        dir.ganger(&[verb, &["--config", &file]].concat()).expect(4, &[&cause]);
    }
}

#[test]
fn a_push_that_makes_no_sense_is_a_wrong_command_line() {
    let dir = Dir::new();
    let path = dir.write("absent.ron", &absent("push").to_string());
    let digest = format!("i@sha256:{}", "0".repeat(64));
    for (args, said) in [
        (&["i:1"][..], "--to <DAEMON>"),
        (&["Not An Image", "--to", "local"], "is not the name of an image"),
        (&[digest.as_str(), "--to", "local"], "an image is pushed by its tag"),
        (&["i:1", "--to", "locla"], "did you mean local?"),
        (&["i:1", "--to", "elsewhere"], "the names are local"),
        (&["i:1", "--to", "local", "--from", "http://a:1"], "write \"tcp://a:1\""),
        (&["i:1", "--to", "local", "--from", "tcp://192.0.2.7:1"], "make it a daemon"),
    ] {
        dir.ganger(&[&["push", "--config", &path], args].concat()).expect(2, &[said]);
    }
    // Nobody can say whether the image is anywhere.
    let away = ["local: no container engine at unix:///nonexistent/docker.sock"];
    dir.ganger(&["push", "i:1", "--to", "local", "--config", &path]).expect(4, &away);
}

#[test]
fn an_address_is_measured_and_held_against_what_is_required() {
    let dir = Dir::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (mut from, mut to) = (client.try_clone().unwrap(), client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    let file = dir.0.join("now.json");
    let file = file.to_str().unwrap();
    for pace in [["--rate", "500"], ["--concurrency", "3"]] {
        let exchange = ["--send", r"PING\n", "--expect", "PING", "--requests", "50"];
        let said = ["bench", "--target", &target, "--json", file, "--assert", "errors<1"];
        let outcome = dir.ganger(&[&said[..], &pace, &exchange].concat());
        outcome.expect(0, &[]);
        assert!(outcome.out.contains("p99.9") && outcome.out.contains('█'), "{outcome:#?}");
        let report: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let series = &report["points"][0]["series"][0];
        assert_eq!((&series["name"], &series["count"]), (&"target".into(), &50.into()), "{report}");
    }
    let unmet = ["bench", "--from", file, "--assert", "target.count>50", "--assert", "p50<1h"];
    dir.ganger(&unmet[..5]).expect(6, &["not met: target.count>50: target: it is 50"]);
    dir.ganger(&unmet).expect(2, &["\"1h\" is not a time"]);
    let same = dir.ganger(&["bench", "--from", file, "--compare", file]);
    same.expect(0, &[]);
    assert!(same.out.contains("+0.0%"), "{same:#?}");
    // It answers, but not so.
    let other = ["bench", "--target", &target, "--send", "x", "--expect", "y", "--requests", "2"];
    dir.ganger(&other).expect(1, &["not served: target: 2 another answer"]);
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is() {
    let dir = Dir::new();
    let nobody = format!("127.0.0.1:{}", free_port());
    dir.ganger(&["bench", "--target", &nobody]).expect(4, &[&nobody, "refused"]);
    dir.ganger(&["bench", "--docker", NOWHERE]).expect(4, &["no container engine at"]);
    for (args, said) in [
        (&["--target", "nowhere"][..], "write HOST:PORT"),
        (&["--target", &nobody, "--image", "i", "--port", "1"], "cannot be used with"),
        (&["--target", &nobody, "--sweep", "concurrency=1,2"], "cannot be used with"),
        (&["--target", &nobody, "--json", "no/such/file"], "no/such/file: No such file"),
        (&["--target", &nobody, "--rate", "0"], "above 0"),
        (&["--target", &nobody, "--send", r"\q"], "after a backslash"),
        (&["--target", &nobody, "--assert", "warm.p50<1s"], "warm is not measured here"),
        (&["--kinds", "warm", "--assert", "cold.p50<1s"], "what is: warm"),
        (&["--kinds", "tepid"], "kinds are cold, warm, reused, hot, direct"),
        (&["--image", "redis"], "--port"),
        (&["--image", "redis", "--port", "6379"], "--send and --expect"),
        (&["--docker", "tcp://192.0.2.7:2375"], "plain tcp to another machine"),
        (&["--sweep", "colour=red"], "concurrency, network, sandbox, runtime, daemon"),
        (&["--sweep", "concurrency=0"], "0 is not from 1 to 1000"),
        (&["--sweep", "daemon=rack7"], "no daemon rack7; the names are local"),
    ] {
        dir.ganger(&[&["bench"], args].concat()).expect(2, &[said]);
    }
    dir.write("bad.json", "{}");
    let bad = ["bench", "--target", &nobody, "--compare", "bad.json"];
    dir.ganger(&bad).expect(1, &["bad.json is not what `ganger bench --json` writes"]);
}

#[test]
fn the_demo_is_for_an_engine_on_this_machine() {
    let dir = Dir::new();
    for url in ["tcp://192.0.2.7:2375", "http:/nonsense"] {
        dir.ganger(&["demo", "--docker", url]).expect(2, &["--docker"]);
    }
}

#[test]
fn a_log_filter_that_is_not_understood_is_a_wrong_command_line() {
    let dir = Dir::new();
    let path = dir.write("absent.ron", &absent("filter").to_string());
    let said = ["log filter \"a=b=c\" is not understood"];
    dir.ganger(&["run", "--config", &path, "--log", "a=b=c"]).expect(2, &said);
}

#[test]
fn without_an_engine_it_runs_and_refuses_with_the_reason() {
    let config = absent("alone");
    let (instance, text) = (config.instance(), config.to_string());
    let mut ganger = Ganger::start_alone(GANGER, instance, &text, &["run"]);
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    for _ in 0..3 {
        let mut client = Client::connect(config.port("echo"));
        assert_eq!(client.ending(), Ending::Reset(Vec::new()));
        let end = ganger.wait_for_end(client.port());
        assert_eq!(end.field("end"), "DQ", "{end:?}");
        assert!(end.reason().contains("no container engine at"), "{end:?}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn an_address_that_is_taken_is_named_with_its_service() {
    let config = absent("taken");
    let port = config.port("echo");
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (instance, text) = (config.instance(), config.to_string());
    let mut ganger = Ganger::start_alone(GANGER, instance, &text, &["run"]);
    assert_eq!(ganger.wait(DEADLINE).code(), Some(1));
    let said = ganger.lines().join("\n");
    let expected =
        format!("service echo cannot listen on 127.0.0.1:{port}: Address already in use");
    assert!(said.contains(&expected) && said.contains("ss -ltnp"), "{said}");
    drop(taken);
}

#[test]
fn a_log_for_machines_is_json_and_nothing_else() {
    let config = absent("json").with("log: (format: Json)");
    let (instance, text) = (config.instance(), config.to_string());
    let mut ganger = Ganger::start_alone(GANGER, instance, &text, &["run"]);
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    let mut client = Client::connect(config.port("echo"));
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    assert_eq!(ganger.stop(), 0);
    let lines = ganger.lines();
    let lines: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.iter().find(|line| line["message"] == "conn end").unwrap();
    assert_eq!((&end["service"], &end["end"]), (&"echo".into(), &"DQ".into()), "{end}");
    assert_eq!(end["client"], format!("127.0.0.1:{}", client.port()));
}

#[test]
fn what_it_prints_may_go_nowhere() {
    // As with `ganger init | true`.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(GANGER).arg("init").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_guardian_is_not_started_by_hand() {
    let dir = Dir::new();
    dir.ganger(&["guard"]).expect(2, &["a guardian is started by `ganger run`"]);
    let help = dir.ganger(&["--help"]);
    assert!(help.out.contains("reap") && !help.out.contains("guard"), "{help:#?}");
}
