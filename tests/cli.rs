//! The command line from outside: verbs, exit codes, and what is said to people.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

#[path = "cli/ask.rs"]
mod ask;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/streams.rs"]
mod streams;

use std::fs;
use std::io::Write;
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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(GANGER);
        for name in ["GANGER_CONFIG_FILE", "GANGER_LOG", "DOCKER_HOST", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.args(args).current_dir(&self.0);
        command
    }

    fn ganger(&self, args: &[&str]) -> Outcome {
        self.ganger_with(args, &[])
    }

    fn ganger_with(&self, args: &[&str], env: &[(&str, &str)]) -> Outcome {
        self.ganger_fed(args, env, "")
    }

    /// With this on its standard input.
    fn ganger_fed(&self, args: &[&str], env: &[(&str, &str)], input: &str) -> Outcome {
        let mut command = self.command(args);
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        command.envs(env.iter().copied()).stdin(stdin);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that ends without having read it is no failure.
        _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
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
    // The log's reader is gone, or it is there and does not read.
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
fn what_cannot_be_tried_is_told_before_an_engine_is_asked() {
    let dir = Dir::new();
    for (args, why) in [
        (&["try", "x:1", "--env", "GANGER_TEST_NO_SUCH"][..], "environment variable not found"),
        (&["try", "x:1", "--env", "=1"], "write NAME=VALUE"),
        (&["try", "http://x"], "leave out the `http://`"),
        (&["try", "x:1", "--port", "0"], "0 is not in 1.."),
        (&["try", "x:1", "--docker", "tcp://192.0.2.1:2375"], "an engine of this machine"),
        (&["try", "x:1", "--config", "ganger.ron"], "`try` takes all from its options"),
    ] {
        dir.ganger(args).expect(2, &[why]);
    }
    let nowhere = &["try", "x:1", "--docker", "unix:///nowhere.sock"];
    dir.ganger(nowhere).expect(4, &["nowhere.sock"]);
}

/// Whether this is a version alone or, where this is built in a checkout, with commit and date.
fn is_version(text: &str) -> bool {
    let plain = concat!("ganger ", env!("CARGO_PKG_VERSION"));
    let Some(more) = text.trim_end().strip_prefix(plain) else { return false };
    let commit = more.strip_prefix(" (").and_then(|more| more.strip_suffix(')'));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    match commit.and_then(|commit| commit.split_once(' ')) {
        None => more.is_empty() && !checkout,
        Some((hash, date)) => {
            let hex = hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit());
            hex && date.len() == 10 && date.split('-').all(|part| part.parse::<u16>().is_ok())
        }
    }
}

#[test]
fn help_is_no_failure_and_a_wrong_command_line_is_one() {
    let dir = Dir::new();
    for args in [&["--help"][..], &["-h"], &["help"], &["run", "--help"], &["--version"]] {
        let outcome = dir.ganger(args);
        assert!(outcome.code == Some(0) && !outcome.out.is_empty(), "{args:?}: {outcome:#?}");
    }
    let version = dir.ganger(&["--version"]).out;
    assert!(is_version(&version), "{version}");
    let help = dir.ganger(&["--help"]).out;
    for verb in [
        "run",
        "demo",
        "check",
        "init",
        "bench",
        "push",
        "simulate",
        "reap",
        "generate",
        "Exit codes",
    ] {
        assert!(help.contains(verb), "{verb} is not in {help}");
    }
    dir.ganger(&["fly"]).expect(2, &["unrecognized subcommand 'fly'"]);
    dir.ganger(&["run", "--fast"]).expect(2, &["'--fast'"]);
    dir.ganger(&[]).expect(2, &["Usage"]);
    for (args, meant) in [
        (&["chekc"][..], "'check'"),
        (&["run", "--confg", "x"], "'--config'"),
        (&["bench", "--rouds", "3"], "'--rounds'"),
    ] {
        dir.ganger(args).expect(2, &["similar", meant]);
    }
    // An option that is spelt right, but is for another verb.
    let others = ["'--timeout'", "tip: `ganger bench` or `ganger try` has '--timeout'"];
    dir.ganger(&["run", "--timeout", "1s"]).expect(2, &others);
    dir.ganger(&["bench", "--dry-run"])
        .expect(2, &["tip: `ganger reload` or `ganger reap` has '--dry-run'"]);
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
    // An empty variable of the environment names nothing.
    for env in [&[][..], &[("GANGER_CONFIG_FILE", ""), ("GANGER_LOG", "")]] {
        let checked = dir.ganger_with(&["check"], env);
        checked.expect(0, &[]);
        assert!(checked.out.contains("ganger.ron: in order"), "{checked:#?}");
    }
}

#[test]
fn a_file_can_be_named_without_an_option() {
    let dir = Dir::new();
    let good = dir.write("good.ron", &absent("file").to_string());
    let bad = dir.write("bad.ron", "(");
    let checked = dir.ganger(&["check", &good]);
    checked.expect(0, &[]);
    assert!(checked.out.contains("good.ron: in order"), "{checked:#?}");
    dir.ganger(&["check", &bad]).expect(3, &["bad.ron:1:"]);
    // The argument goes before the environment, and excludes the option.
    dir.ganger_with(&["check", &good], &[("GANGER_CONFIG_FILE", &bad)]).expect(0, &[]);
    dir.ganger(&["run", &bad]).expect(3, &["bad.ron:1:"]);
    for args in [
        &["check", &good, "--config", &bad][..],
        &["--config", &bad, "check", &good],
        &["run", &good, "--config", &bad],
    ] {
        dir.ganger(args).expect(2, &["name one configuration", "good.ron", "bad.ron"]);
    }
}

#[test]
fn a_configuration_for_a_verb_that_reads_none_is_refused() {
    let dir = Dir::new();
    let path = dir.write("c.ron", &absent("unused").to_string());
    for (args, why) in [
        (&["init"][..], "`ganger init > FILE`"),
        (&["demo", "--docker", NOWHERE], "`ganger run --config FILE` runs yours"),
        (&["simulate", "trace.csv"], "from the trace"),
        (&["bench", "--target", "127.0.0.1:1"], "it is for --service"),
        (&["bench", "--from", "r.json"], "it is for --service"),
    ] {
        let outcome = dir.ganger(&[args, &["--config", &path]].concat());
        outcome.expect(2, &["c.ron: leave it out", why]);
        assert_eq!(outcome.out, "");
    }
    // The file that the environment names is for other verbs.
    dir.ganger_with(&["init"], &[("GANGER_CONFIG_FILE", &path)]).expect(0, &[]);
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
    let tcp = format!("tcp://127.0.0.1:{}", free_port());
    let refused = format!("connection refused by {tcp}");
    dir.ganger(&["demo", "--docker", &tcp]).expect(4, &[&refused, "does it listen on TCP?"]);
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
fn the_demo_is_for_an_engine_on_this_machine() {
    let dir = Dir::new();
    for url in ["tcp://192.0.2.7:2375", "http:/nonsense"] {
        dir.ganger(&["demo", "--docker", url]).expect(2, &["--docker"]);
    }
    let why = ["neither encrypted nor checked", "a daemon of a configuration"];
    dir.ganger(&["demo", "--docker", "tcp://192.0.2.7:2375"]).expect(2, &why);
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
fn a_reload_says_what_it_changed() {
    let config = absent("changed");
    let (instance, text) = (config.instance(), config.to_string());
    let mut ganger = Ganger::start_alone(GANGER, instance, &text, &["run"]);
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    let other = text.replace("warm: 1", "queue: (length: 1), timeouts: (idle: \"1m\"), warm: 2");
    ganger.reload(&other.replace("max_containers: 4", "max_containers: 5"));
    ganger.wait_for_line(DEADLINE, |line| line.contains("sessions that are open keep"));
    let all = ganger.lines().join("\n");
    for said in [
        "service=echo changed=\"warm, queue, timeouts\" sessions=0",
        "daemon=\"local\" changed=\"max_containers\"",
        "changes=\"services changed: 1; daemons changed: 1\" sessions=0",
    ] {
        assert!(all.contains(said), "{said}: {all}");
    }
    ganger.reload(&other.replace("max_containers: 4", "max_containers: 5"));
    ganger.wait_for_line(DEADLINE, |line| line.contains("changes=\"nothing\""));
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
fn a_guardian_is_not_started_by_hand() {
    let dir = Dir::new();
    dir.ganger(&["guard"]).expect(2, &["a guardian is started by `ganger run`"]);
    let help = dir.ganger(&["--help"]);
    assert!(help.out.contains("reap") && !help.out.contains("guard"), "{help:#?}");
}
