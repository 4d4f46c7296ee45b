//! Tests of the configuration: what is accepted, and how the rest is refused.

mod consul;
mod effective;
mod env_file;
mod include;
mod mutated;
mod ready;
mod reference;
mod secrets;
mod shown;
mod tls;

use std::any::Any;

use super::daemon::DAEMON_ROWS;
use super::keys::Row;
use super::read::TOP_ROWS;
use super::service::SERVICE_ROWS;
use super::*;
use crate::discovery::{Consistency, Consul, FleetSource};
use crate::spec::{Publish, Pull, Reach};

const EXAMPLES: [&str; 8] =
    ["ganger", "latency", "strict", "bench", "database", "fleet", "consul", "swarm"];

const DAEMON: &str = r#"(name: "d", url: "unix:///d.sock", max_containers: 99)"#;
const SERVICE: &str = r#"listen: "127.0.0.1:1", image: "i:1", port: 1"#;

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{name}.ron"));
    std::fs::read_to_string(path).unwrap()
}

fn whole(daemons: &str, services: &str, rest: &str) -> String {
    format!("(daemons: Static([{daemons}]), services: {{{services}}}, {rest})")
}

/// A file whose one service has these settings besides the required ones.
fn with(settings: &str) -> String {
    whole(DAEMON, &format!("\"s\": ({SERVICE}, {settings})"), "")
}

fn service(settings: &str) -> Service {
    let config = Config::parse(&with(settings), "t").unwrap_or_else(|report| panic!("{report}"));
    config.services.into_iter().next().unwrap()
}

fn titles(text: &str) -> Vec<String> {
    match Config::parse(text, "t") {
        Ok(config) => panic!("{text}\nwas accepted: {config:#?}"),
        Err(report) => report.titles().map(str::to_owned).collect(),
    }
}

/// Asserts that a file has this mistake only.
#[track_caller]
fn refused(text: &str, title: &str) {
    assert_eq!(titles(text), [title], "{text}");
}

fn listed(config: &Config) -> &[ListedDaemon] {
    match &config.daemons {
        Daemons::Static(daemons) => daemons,
        other => panic!("{other:?}"),
    }
}

#[test]
fn examples_are_accepted() {
    for name in EXAMPLES {
        if let Err(report) = Config::parse(&example(name), name) {
            panic!("{report}");
        }
    }
}

#[test]
fn no_example_is_forgotten() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut known = EXAMPLES;
    known.sort();
    assert_eq!(names, known);
}

#[test]
fn the_default_is_the_echo_service() {
    let config = Config::parse(&Config::default_text(), "default").unwrap();
    let [daemon] = listed(&config) else { panic!("{:?}", config.daemons) };
    assert_eq!(daemon.url.to_string(), "unix:///var/run/docker.sock");
    assert_eq!(daemon.max_containers, 20);
    let [echo] = config.services.as_slice() else { panic!("{:?}", config.services) };
    assert_eq!((echo.name.as_str(), echo.spec.image.as_str()), ("echo", "ganger.local/echo:1"));
    assert_eq!((echo.listen.to_string().as_str(), echo.spec.port), ("127.0.0.1:5454", 7000));
    assert_eq!((echo.policy.reuse, echo.policy.warm, echo.policy.max), (0, 2, 16));
}

#[test]
fn defaults() {
    let s = service("");
    assert_eq!((s.policy.max_age, s.spec.overdue_after), (None, None));
    assert_eq!((s.policy.reuse, s.policy.warm, s.policy.max), (0, 1, 16));
    assert_eq!((s.policy.queue_length, s.session.queue_timeout), (64, Duration::from_secs(30)));
    assert_eq!(s.spec.ready, Ready::Tcp { linger: Duration::from_millis(50) });
    assert_eq!((s.session.connect.timeout, s.session.connect.retries), (Duration::from_secs(5), 6));
    assert_eq!(s.session.connect.replay, 65536);
    assert_eq!(s.session.keepalive, Some(Duration::from_secs(60)));
    assert_eq!(s.start_timeout, Duration::from_secs(30));
    assert_eq!((s.session.idle, s.session.session_timeout), (Some(Duration::from_secs(600)), None));
    assert_eq!(s.session.first_byte, None);
    assert_eq!(
        (s.spec.limits.memory, s.spec.limits.cpus, s.spec.limits.pids),
        (Some(512 << 20), None, Some(256))
    );
    assert!(s.spec.limits.enforce, "what cannot be limited is not run unless the file says so");
    assert_eq!(
        (s.spec.pull, s.spec.network, s.spec.reach),
        (Pull::IfMissing, Network::Isolated, Reach::Auto)
    );
    assert_eq!((s.spec.publish, s.policy.surplus_after), (Publish::Own, Duration::from_secs(30)));
    assert_eq!(s.policy.stale_after, Duration::from_secs(30));
    assert!(s.spec.mounts.is_empty() && s.spec.no_new_privileges && !s.spec.read_only);
    let config = Config::parse(&with(""), "t").unwrap();
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert!(config.guardian);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(listed(&config)[0].publish_on, None);
}

#[test]
fn there_may_be_no_guardian() {
    let text = whole(DAEMON, &format!("\"s\": ({SERVICE})"), "guardian: false");
    assert!(!Config::parse(&text, "t").unwrap().guardian);
}

#[test]
fn a_stock_may_size_itself() {
    let auto = |warm: &str| {
        let s = service(&format!("warm: {warm}, max: 20,"));
        (s.policy.warm, s.policy.auto.map(|auto| (auto.misses, auto.min, auto.max)))
    };
    assert_eq!(auto("3"), (3, None));
    assert_eq!(auto("Auto"), (1, Some((1000, 1, 20))));
    assert_eq!(auto("Auto()"), (1, Some((1000, 1, 20))));
    assert_eq!(auto("Auto(hit_rate: 0.99999, min: 2, max: 9)"), (2, Some((10, 2, 9))));
    assert_eq!(auto("Auto(hit_rate: 0.5, min: 0)"), (0, Some((500_000, 0, 20))));
}

#[test]
fn every_setting_is_read() {
    let s = service(
        r#"command: ["a", ""], env: {"K": "v=w"}, reuse: 3, warm: 4, max: 5, max_age: "1h",
        queue: (length: 0, timeout: "1s"), ready: Exchange(send: "PING\r\n", expect: b"\xff"),
        connect: (timeout: "2s", retries: 0, replay: "1KiB"),
        timeouts: (start: "3s", first_byte: "2s", idle: "0s", session: "4m"), pull: Never,
        limits: (memory: "6MiB", cpus: 1, pids: 1, enforce: false), network: Named("net"), reach: Namespace,
        publish: Any, surplus_after: "0s", stale_after: "1m", user: "1:2", read_only: true, tmpfs: {"/tmp": ""},
        privileges: None, cap_add: ["cap_chown", "NET_RAW"], no_new_privileges: false, mounts: [(source: "/a", target: "/b"),
        (source: "/a", target: "/c", read_only: false)], runtime: "runsc",
        entrypoint: ["/bin/x", "-v"], working_dir: "/srv", hostname: "a.b-1", init: true, shm_size: "1MiB",
        ulimits: {"nofile": 4096, "core": (soft: 0, hard: -1)}, sysctls: {"net.core.somaxconn": 7},
        dns: ["192.0.2.53", "2001:db8::1"], extra_hosts: {"db": "192.0.2.7", "host": "host-gateway"},
        sandbox: Fresh, preconnect: Off, overdue_after: "24h", client: (keepalive: "90s"),"#,
    );
    assert_eq!(s.session.keepalive, Some(Duration::from_secs(90)));
    assert_eq!(service(r#"client: (keepalive: "0s")"#).session.keepalive, None);
    assert_eq!(s.spec.overdue_after, Some(Duration::from_secs(86_400)));
    assert_eq!(s.policy.stale_after, Duration::from_secs(60));
    assert_eq!(s.spec.command.as_deref(), Some(&["a".to_owned(), String::new()][..]));
    assert_eq!(s.spec.env.0.get("K").map(String::as_str), Some("v=w"));
    assert_eq!((s.policy.reuse, s.policy.warm, s.policy.max), (3, 4, 5));
    assert_eq!((s.policy.max_age, s.policy.queue_length), (Some(Duration::from_secs(3600)), 0));
    let exchange = Ready::Exchange { send: b"PING\r\n".into(), expect: b"\xff".into() };
    assert_eq!(s.spec.ready, exchange);
    assert_eq!((s.session.connect.retries, s.session.connect.replay), (0, 1024));
    assert_eq!(service(r#"connect: (replay: "0")"#).session.connect.replay, 0);
    assert_eq!((s.session.idle, s.session.session_timeout), (None, Some(Duration::from_secs(240))));
    assert_eq!(s.session.first_byte, Some(Duration::from_secs(2)));
    assert_eq!(
        (s.spec.pull, s.spec.reach, s.spec.publish),
        (Pull::Never, Reach::Namespace, Publish::Any)
    );
    assert_eq!(
        (s.spec.limits.memory, s.spec.limits.cpus, s.spec.limits.pids),
        (Some(6 << 20), Some(1.0), Some(1))
    );
    assert!(!s.spec.limits.enforce);
    assert_eq!(s.spec.network, Network::Named("net".into()));
    assert_eq!((s.spec.user.as_deref(), s.spec.read_only), (Some("1:2"), true));
    assert_eq!(s.spec.tmpfs.get("/tmp").map(String::as_str), Some(""));
    assert_eq!(s.spec.capabilities, ["CHOWN", "NET_RAW"]);
    assert!(!s.spec.no_new_privileges);
    assert_eq!(
        s.spec.mounts.iter().map(|mount| mount.read_only).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(s.spec.runtime, Some("runsc".to_owned()));
    assert_eq!(s.spec.entrypoint.as_deref(), Some(&["/bin/x".to_owned(), "-v".to_owned()][..]));
    let texts = (s.spec.working_dir.as_deref(), s.spec.hostname.as_deref());
    assert_eq!((texts, s.spec.init), ((Some("/srv"), Some("a.b-1")), true));
    assert_eq!(s.spec.shm_size, Some(1 << 20));
    let ulimits: Vec<_> = s
        .spec
        .ulimits
        .iter()
        .map(|(name, limit)| (name.as_str(), limit.soft, limit.hard))
        .collect();
    assert_eq!(ulimits, [("nofile", 4096, 4096), ("core", 0, -1)]);
    assert_eq!(s.spec.sysctls.get("net.core.somaxconn").map(String::as_str), Some("7"));
    assert_eq!(
        s.spec.dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.53", "2001:db8::1"]
    );
    let hosts: Vec<_> = s.spec.extra_hosts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(hosts, [("db", "192.0.2.7"), ("host", "host-gateway")]);
}

#[test]
fn privileges_are_the_standard_ones_none_or_changed() {
    let standard = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "NET_BIND_SERVICE",
        "SETGID",
        "SETUID",
        "SYS_CHROOT",
    ];
    let of = |settings: &str| service(settings).spec.capabilities;
    assert_eq!(of(""), standard);
    assert_eq!(of("privileges: Standard"), standard);
    assert_eq!(of("privileges: ()"), standard);
    // For every other key `None` means left out: here that would give more.
    assert_eq!(of("privileges: None"), [""; 0]);
    assert_eq!(of("privileges: Some(None)"), [""; 0]);
    assert_eq!(of("privileges: None, cap_add: [\"sys_nice\", \"KILL\"]"), ["KILL", "SYS_NICE"]);
    let changed = [&standard[..4], &standard[5..], &["SYS_NICE"]].concat();
    let drop_kill = "drop: [\"CAP_KILL\", \"NET_RAW\"]";
    assert_eq!(of(&format!("privileges: (add: [\"SYS_NICE\", \"CHOWN\"], {drop_kill})")), changed);
    assert_eq!(of(&format!("privileges: ({drop_kill}), cap_add: [\"SYS_NICE\"]")), changed);
}

#[test]
fn defaults_are_for_services_that_do_not_say_otherwise() {
    let two = |defaults: &str| {
        let text = with("").replace("services: {", &format!("{defaults} services: {{\n\"other\": (listen: \"127.0.0.1:9\", image: \"x\", port: 1, reuse: 2),\n"));
        Config::parse(&text, "t").map_err(|report| report.render(false))
    };
    let config = two("defaults: (reuse: 9, limits: (memory: \"64MiB\")),").unwrap();
    let found: Vec<_> =
        config.services.iter().map(|s| (s.policy.reuse, s.spec.limits.memory)).collect();
    assert_eq!(found, [(2, Some(64 << 20)), (9, Some(64 << 20))]);
    assert_eq!(two("").unwrap().services[1].policy.reuse, 0);

    // Each is one mistake, at its place.
    let said = two("defaults: (reuse: -1, reuze: 1, listen: \"127.0.0.1:1\"),").unwrap_err();
    assert_eq!(said.matches("error: ").count(), 3, "{said}");
    for title in ["-1 is too small", "unknown setting `reuze` of `defaults`", "each service's own"]
    {
        assert!(said.contains(title), "{said}");
    }
}

#[test]
fn names_of_compose_lead_to_ours() {
    for (setting, pointer) in [
        ("ports: [\"80:80\"]", "`listen` where clients connect"),
        ("environment: {}", "write `env: "),
        ("mem_limit: \"1g\"", "write `limits: (memory: …)`"),
        ("restart: always", "a container that ends is replaced"),
    ] {
        let said = Config::parse(&with(setting), "t").unwrap_err().render(false);
        assert!(said.contains(pointer), "{said}");
    }
}

#[test]
fn other_ways_to_write_it() {
    for (settings, same) in [
        (r#"max_age: Some("1h"), reuse: Some(2)"#, r#"max_age: "1h", reuse: 2"#),
        ("max_age: None, user: None", ""),
        ("ready: Tcp", "ready: Tcp()"),
        ("/* a /* nested */ comment */ reuse: 0x10", "reuse: 16"),
        (r##"user: r#"a"#"##, r#"user: "\x61""#),
        ("r#reuse: 1", "reuse: 1"),
        ("env: {}, tmpfs: {}, mounts: [], cap_add: []", ""),
        (r#"tmpfs: {"/a": "", "/b": ""}"#, r#"tmpfs: {"/b": "", "/a": ""}"#),
        ("warm: Auto(min: 1, max: 16)", "warm: Auto"),
        (r#"queue: (timeout: "30000ms"), timeouts: ()"#, ""),
        (r#"user: "${GANGER_TEST_NO_SUCH:-a}""#, r#"user: "a""#),
        (r#"env: {"A": "$${B} $C"}"#, r#"env: {"A": "$\u{7b}B} $C"}"#),
        (r#"volumes: {"/b": "y", "/a": "x"}"#, r#"volumes: {"/a": (name: "x"), "/b": "y"}"#),
        (r#"devices: ["/dev/a", "/dev/b:r"]"#, r#"devices: ["/dev/a:/dev/a", "/dev/b:/dev/b:r"]"#),
    ] {
        let (service, same) = (service(settings), service(same));
        assert_eq!(service, same, "{settings}");
        assert_eq!(service.values.differing(&same.values), [""; 0], "{settings}");
    }
    let text = with("");
    let same = format!("\u{feff}#![enable(implicit_some, unwrap_newtypes)]\r\n{text} // end");
    assert_eq!(Config::parse(&same, "t"), Config::parse(&text, "t"));
}

#[test]
fn settings_of_a_service_that_make_no_sense() {
    for (settings, title) in [
        (
            r#"queue: (timeout: "10 parsecs")"#,
            r#""10 parsecs" is not a time: there is no unit "parsecs""#,
        ),
        (r#"queue: (timeout: "10")"#, r#""10" is not a time"#),
        (r#"queue: (timeout: "")"#, r#""" is not a time"#),
        (r#"queue: (timeout: "5000 days")"#, r#""5000 days" is too long: at most 366 days"#),
        ("queue: (timeout: 30)", r#"expected a time such as "30s", found the number 30"#),
        (r#"queue: (timeout: "0s")"#, "this time has to be longer than nothing"),
        (r#"timeouts: (start: "0s")"#, "this time has to be longer than nothing"),
        (r#"client: (keepalive: "9s")"#, "`keepalive` is from 10s to 1day"),
        (r#"client: (keepalive: "2 days")"#, "`keepalive` is from 10s to 1day"),
        (r#"connect: (timeout: "0ms")"#, "this time has to be longer than nothing"),
        (r#"timeouts: (idle: "10M")"#, r#""10M" is not a time: there is no unit "M""#),
        (
            r#"timeouts: (idle: "1h 2 years")"#,
            r#""1h 2 years" is not a time: there is no unit "years""#,
        ),
        (r#"user: "${GANGER_TEST_NO_SUCH}""#, "the variable GANGER_TEST_NO_SUCH is not set"),
        (r#"volumes: {"data": "x"}"#, r#""data" is not an absolute path: start it with `/`"#),
        (r#"volumes: {"/a": "x"}, tmpfs: {"/a/": ""}"#, "\"/a\" is there already, in line 1"),
        (r#"volumes: {"/a": (read_only: true)}"#, "the volume lacks `name`"),
        (r#"devices: ["kvm"]"#, r#""kvm" is not an absolute path"#),
        (r#"devices: ["/dev/a:/dev/b:x"]"#, r#""x" are no rights to a device"#),
        (r#"devices: ["/a:/b:r:w"]"#, "this has too many colons"),
        ("gpus: Count(0)", "this is no GPU at all"),
        ("gpus: Ids([])", "this is no GPU at all"),
        (r#"limits: (memory: "512m")"#, r#""512m" can be read in two ways"#),
        (r#"timeouts: (idle: "1yr")"#, r#""1yr" is not a time: there is no unit "yr""#),
        (r#"limits: (memory: "1 G")"#, r#""1 G" can be read in two ways"#),
        (r#"limits: (memory: "64000000")"#, r#""64000000" has no unit"#),
        (r#"connect: (replay: "64 potatoes")"#, r#""64 potatoes" is not a size"#),
        (r#"connect: (replay: "-1B")"#, r#""-1B" is not a size"#),
        (
            r#"connect: (replay: "1GiB")"#,
            "`replay` is more than 16MiB, and every session may hold as much",
        ),
        (r#"limits: (memory: "99999999 EiB")"#, r#""99999999 EiB" is more than any machine has"#),
        (r#"limits: (memory: "5MiB")"#, "`memory` is less than 6MiB, the least that Docker gives"),
        ("limits: (cpus: 0.0)", "`cpus` is a number of processors from 0.01 on"),
        ("limits: (cpus: NaN)", "`cpus` is a number of processors from 0.01 on"),
        ("limits: (pids: 0)", "0 is too small: at least 1"),
        (r#"max_age: "500ms""#, "`max_age` is shorter than a second"),
        ("canary: 0.6", "0.6 is not a share from 0.001 to 0.5"),
        ("canary: 0.0", "0.0 is not a share from 0.001 to 0.5"),
        (r#"overdue_after: "24h""#, "`overdue_after` needs an end of every session"),
        (
            r#"overdue_after: "1h", timeouts: (session: "1h")"#,
            "`overdue_after` is 1h, too soon for one session",
        ),
        (r#"watch_image: "500ms""#, "`watch_image` is shorter than a second"),
        (
            r#"pull: Never, watch_image: "1m""#,
            "an image that is never pulled cannot follow its tag",
        ),
        ("max: 0", "0 is too small: at least 1"),
        ("reuse: -1", "-1 is too small: at least 0"),
        ("reuse: 4294967296", "4294967296 is too large: at most 4294967295"),
        ("max: 100001", "100001 is too large: at most 100000"),
        ("queue: (length: 4294967295)", "4294967295 is too large: at most 500000"),
        ("reuse: 99999999999999999999", "99999999999999999999 is out of range"),
        ("reuse: 1.5", "expected a whole number such as 4, found the number 1.5"),
        ("reuse: twice", "expected a whole number such as 4, found the word `twice`"),
        (r#"read_only: "yes""#, "expected `true` or `false`, found text"),
        ("warm: 6, max: 5", "`warm` is 6, but `max` is 5"),
        ("warm: 17", "`warm` is 17, but `max` is 16, its default"),
        ("warm: Auto(min: 17)", "`min` of `warm` is 17, but `max` is 16, its default"),
        ("warm: Auto(max: 6), max: 5", "`max` of `warm` is 6, but `max` is 5"),
        ("warm: Auto(min: 4, max: 3)", "`min` is 4, but `max` is 3"),
        ("warm: Auto(max: 0)", "0 is too small: at least 1"),
        ("warm: Auto(hit_rate: 99.9)", "99.9 is not a hit rate from 0.5 to 0.99999"),
        ("warm: Auto(hit_rate: 1)", "1.0 is not a hit rate from 0.5 to 0.99999"),
        ("warm: Auto(rate: 0.9)", "unknown setting `rate` of `Auto`"),
        (
            "warm: Atuo",
            "expected a whole number such as 4, or `Auto(hit_rate: 0.999)`, found the word `Atuo`",
        ),
        (
            r#"warm: "2""#,
            "expected a whole number such as 4, or `Auto(hit_rate: 0.999)`, found text",
        ),
        ("command: []", "this command is empty"),
        (r#"command: "/echo""#, r#"expected a list such as ["/echo", "--loud"], found text"#),
        (r#"env: {"A=B": "c"}"#, "the name of an environment variable cannot hold `=`"),
        (r#"env: {"": "c"}"#, "this text is empty"),
        (r#"env: {"A": "a\0"}"#, "this text holds a NUL character, which ends text for the kernel"),
        (r#"env: {"A": "1", "A": "2"}"#, r#""A" is there already, in line 1"#),
        (r#"env: ("A": "1")"#, r#"expected a map such as {"KEY": "value"}, found a struct `( )`"#),
        (r#"tmpfs: {"tmp": ""}"#, r#""tmp" is not an absolute path: start it with `/`"#),
        (r#"tmpfs: {"/a/../b": ""}"#, r#""/a/../b" goes up with `..`: write where it ends up"#),
        (r#"tmpfs: {"/": ""}"#, "the root directory itself cannot be mounted"),
        (r#"tmpfs: {"/a": "size=16MiB"}"#, r#""16MiB" is not a size of a file system in memory"#),
        (r#"tmpfs: {"/a": "rw,size=-1"}"#, r#""-1" is not a size of a file system in memory"#),
        (r#"tmpfs: {"/a": "size="}"#, r#""" is not a size of a file system in memory"#),
        (r#"tmpfs: {"/a": "size"}"#, r#""size" is not a size of a file system in memory"#),
        (r#"tmpfs: {"/a": "size=%"}"#, r#""%" is not a size of a file system in memory"#),
        (r#"tmpfs: {"/a": "size=99999999t"}"#, r#""99999999t" is more than any machine has"#),
        (r#"tmpfs: {"/a": "size=500%"}"#, r#""500%" is more than any machine has"#),
        (r#"tmpfs: {"/a": "size=0%"}"#, "a size of 0 sets no limit for a file system in memory"),
        (r#"tmpfs: {"/a": "size=0k"}"#, "a size of 0 sets no limit for a file system in memory"),
        (
            r#"tmpfs: {"/a": "rw,size=1g"}"#,
            "`size` is 1.0 GiB, but `limits.memory` is 512.0 MiB, its default, and what is in it \
             counts as memory",
        ),
        (
            r#"shm_size: "65MiB", limits: (memory: "64MiB")"#,
            "`shm_size` is 65.0 MiB, but `limits.memory` is 64.0 MiB, and what is in it counts as memory",
        ),
        (
            r#"tmpfs: {"/a": "size=65m"}, limits: (memory: "64MiB")"#,
            "`size` is 65.0 MiB, but `limits.memory` is 64.0 MiB, and what is in it counts as memory",
        ),
        ("limits: (cpus: 1e9)", "`cpus` is too large: 1000000000 is more than any machine has"),
        ("limits: (cpus: 0.001)", "`cpus` is a number of processors from 0.01 on"),
        (
            r#"mounts: [(source: "a", target: "/a")]"#,
            r#""a" is not an absolute path: start it with `/`"#,
        ),
        (
            r#"tmpfs: {"/a": ""}, mounts: [(source: "/x", target: "/a/")]"#,
            r#""/a/" is there already, in line 1"#,
        ),
        (r#"cap_add: ["NET_ADMN"]"#, r#""NET_ADMN" is not a capability of Linux"#),
        (r#"privileges: (drop: ["ALL"])"#, r#""ALL" is not a capability of Linux"#),
        (r#"hostname: "a_b""#, r#""a_b" is not a host name"#),
        (r#"hostname: "-a""#, r#""-a" is not a host name"#),
        ("entrypoint: []", "this command is empty"),
        (r#"working_dir: "srv""#, r#""srv" is not an absolute path: start it with `/`"#),
        (r#"ulimits: {"nofiles": 1}"#, r#""nofiles" is not a limit of processes"#),
        (r#"ulimits: {"nofile": -2}"#, "-2 is too small: at least -1"),
        (r#"ulimits: {"nofile": (soft: 2, hard: 1)}"#, "`soft` is 2, more than `hard`: 1"),
        (r#"ulimits: {"nofile": (soft: -1, hard: 1)}"#, "`soft` is -1, more than `hard`: 1"),
        (
            r#"ulimits: {"nofile": "many"}"#,
            "expected a number such as 4096, or (soft: 1024, hard: 4096), found text",
        ),
        (r#"sysctls: {"vm.swappiness": "1"}"#, r#"a container has no "vm.swappiness" of its own"#),
        (r#"sysctls: {"net.core.somaxconn": ""}"#, "this text is empty"),
        (r#"dns: ["one"]"#, r#""one" is not an IP address"#),
        (r#"extra_hosts: {"db": "other"}"#, r#""other" is not an address"#),
        (
            r#"sandbox: Pooled, read_only: true, hostname: "a""#,
            "`hostname` belongs to the network, which the sandbox has already",
        ),
        (
            r#"sandbox: Pooled, read_only: true, sysctls: {"net.core.somaxconn": "7"}"#,
            "`sysctls` belongs to the network, which the sandbox has already",
        ),
        (r#"privileges: All"#, "unknown variant `All`: expected `Standard` or `None`"),
        (
            r#"privileges: (drop: ["KILL"]), cap_add: ["CAP_KILL"]"#,
            "KILL is dropped, and added as well",
        ),
        (r#"user: "a b""#, r#""a b" is not a user"#),
        (r#"runtime: "a/b""#, "'/' cannot be in a name: use letters, digits, `_`, `.` and `-`"),
        (r#"ready: Banner("")"#, "this text is empty: any answer would do"),
        ("ready: Banner", "`Banner` takes one value in brackets, text in quotes"),
        (r#"ready: Exchange(send: "a")"#, "`Exchange` lacks `expect`"),
        ("ready: Started(1)", "`Started` takes nothing in brackets"),
        (r#"ready: Tcp(linger: "501ms")"#, "`linger` is longer than 500ms"),
        (
            r#"ready: Tcp(linger: "500ms"), timeouts: (start: "999ms")"#,
            "`linger` is 500ms, and a container has 999ms to get ready in",
        ),
        (
            r#"timeouts: (start: "99ms")"#,
            "`linger` is 50ms, and a container has 99ms to get ready in",
        ),
        (
            r#"ready: "Log""#,
            "expected `Tcp`, `Banner`, `Exchange`, `Http`, `Healthcheck`, `Log`, `Exec` or `Started`, \
             found text",
        ),
        ("pull: Allways", "unknown variant `Allways`: expected `IfMissing`, `Always` or `Never`"),
        (
            r#"network: Named("host")"#,
            "the network of the daemon's machine keeps containers apart from nothing",
        ),
        (r#"network: Named("none")"#, "this is no network: write `Sealed`"),
        (
            "network: Sealed, reach: Published",
            "a sealed container has no network to publish a port on",
        ),
        (
            r#"sandbox: Pooled, read_only: true, cap_add: ["NET_ADMIN"]"#,
            "with the capability NET_ADMIN a container can change its network",
        ),
        (
            r#"sandbox: Pooled, read_only: true, runtime: "runsc""#,
            "the runtime runsc may have a network stack of its own",
        ),
        (
            "sandbox: Pooled",
            "containers in a sandbox share /etc/hosts, /etc/hostname and /etc/resolv.conf",
        ),
        ("stock: Created", "an engine takes too long to start what it has created"),
        (
            "sandbox: Cell, network: Sealed, stock: Created, ready: Banner(\"SSH\")",
            "a container whose command has not started cannot do what `ready` asks for",
        ),
        (
            "sandbox: Cell, network: Sealed, stock: Created, preconnect: Tcp",
            "no connection can be made ahead into a container whose command has not started",
        ),
        ("queue: Long", "expected `queue` in `( )`, found the word `Long`"),
        ("queue: Queue(length: 1)", "`queue` has no name before its bracket"),
        ("ready: Exchange", "`Exchange` lacks `send` and `expect`"),
        ("reuse: 1, reuse: 2", "`reuse` is there already, in line 1"),
        (r#"user: "\q""#, "bad escape in text: unknown escape character"),
        (r#"max-age: "1h""#, r#"unknown setting `max-age` of service "s""#),
    ] {
        refused(&with(settings), title);
    }
}

#[test]
fn addresses_and_images_that_make_no_sense() {
    let not_an_address = |text: &str| format!("{text:?} is not an address and port");
    for listen in
        [":5454", "localhost:1", "1.2.3.4", "::1:5454", "1.2.3.4:99999", "[::1]", "", "a.b:1"]
    {
        let text = whole(DAEMON, &format!(r#""s": (listen: "{listen}", image: "i", port: 1)"#), "");
        refused(&text, &not_an_address(listen));
    }
    for (image, why) in [
        ("Postgres", r#"'P' is upper case; write "postgres""#),
        ("a b", "' ' cannot be in the name of an image"),
        ("a:", r#""" is not a tag"#),
        ("docker://a", r#"leave out the `docker://`: "a""#),
        ("a@sha256:1", "a digest is `sha256:` and 64 hexadecimal digits"),
        ("h:p/a", r#""h:p" is not a registry's host name and port"#),
    ] {
        let text =
            whole(DAEMON, &format!(r#""s": (listen: "[::1]:1", image: "{image}", port: 1)"#), "");
        refused(&text, &format!("{image:?} is not the name of an image: {why}"));
    }
}

#[test]
fn services_that_clash() {
    for (a, b, clashes) in [
        ("127.0.0.1:1", "127.0.0.1:1", true),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "0.0.0.0:1", true),
        ("[::]:1", "127.0.0.1:1", true),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("127.0.0.1:1", "127.0.0.1:2", false),
        ("0.0.0.0:1", "[::1]:1", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
    ] {
        let one = |name, at| format!(r#""{name}": (listen: "{at}", image: "i", port: 1),"#);
        let text = whole(DAEMON, &(one("a", a) + &one("b", b)), "");
        if clashes {
            let title = format!(
                r#"service "b" cannot listen on {b}: service "a" listens on {a}, in line 1"#
            );
            refused(&text, &title);
        } else {
            assert!(Config::parse(&text, "t").is_ok(), "{a} {b}");
        }
    }
}

#[test]
fn daemons_that_make_no_sense() {
    let s = format!("\"s\": ({SERVICE})");
    let insecure = "plain tcp to another machine: whoever can read or reach it is root there";
    for (daemons, title) in [
        ("", "there is no daemon to run containers on"),
        (r#"(name: "d", url: "unix:///d", max_containers: 0)"#, "0 is too small: at least 1"),
        (
            r#"(name: "d", url: "unix:///d", max_containers: 1, max_launches: 0)"#,
            "0 is too small: at least 1",
        ),
        (r#"(name: "d", url: "tcp://h:1", max_containers: 1)"#, insecure),
        (r#"(name: "d", url: "tcp://192.0.2.7:1", max_containers: 1, insecure: false)"#, insecure),
        (
            r#"(name: "d", url: "unix://d", max_containers: 1)"#,
            r#""unix://d" is not the url of a daemon: its path is not absolute"#,
        ),
        (
            r#"(name: "d", url: "gopher://d", max_containers: 1)"#,
            r#""gopher://d" is not the url of a daemon: the scheme is not known"#,
        ),
        (
            r#"(name: "d", url: "https://d", max_containers: 1)"#,
            r#""https://d" is not the url of a daemon: TLS is not asked for by the scheme"#,
        ),
        (
            r#"(name: "-d", url: "unix:///d", max_containers: 1)"#,
            r#"a name starts with a letter or digit: "-d" does not"#,
        ),
        (
            r#"(name: "d", url: "unix:///d", max_containers: 1, publish_on: "eth0")"#,
            r#""eth0" is not an IP address"#,
        ),
        (
            r#"(name: "d", url: "unix:///d", max_containers: 1, publish_on: "0.0.0.0")"#,
            "0.0.0.0 is not one address: it lets anyone past the proxy",
        ),
        (
            r#"(name: "d", url: "unix:///d", max_containers: 1), (name: "d", url: "unix:///e", max_containers: 1)"#,
            r#""d" is there already, in line 1"#,
        ),
        (
            r#"(name: "d", url: "unix:///run/d", max_containers: 1), (name: "e", url: "unix:///var/run//d", max_containers: 1)"#,
            r#"daemon "e" is the same engine as "d", in line 1"#,
        ),
        (
            r#"(name: "d", url: "tcp://localhost:1", max_containers: 1), (name: "e", url: "tcp://127.0.0.1:1/", max_containers: 1)"#,
            r#"daemon "e" is the same engine as "d", in line 1"#,
        ),
        ("5", "expected the daemon in `( )`, found the number 5"),
    ] {
        refused(&whole(daemons, &s, ""), title);
    }
    let tcp = r#"(name: "d", url: "tcp://[2001:db8::7]:1", max_containers: 1, insecure: true)"#;
    let config = Config::parse(&whole(tcp, &s, ""), "t").unwrap();
    assert_eq!(listed(&config)[0].publish_on, None);
}

/// A source that is a Consul.
fn consul_of(source: &dyn FleetSource) -> Consul {
    let source: &dyn Any = source;
    source.downcast_ref::<Consul>().expect("a Consul").clone()
}

#[test]
fn a_fleet_may_be_in_consul() {
    let consul = |fields: &str| {
        let text = format!("(daemons: Consul({fields}), services: {{\"s\": ({SERVICE})}})");
        match Config::parse(&text, "test").unwrap().daemons {
            Daemons::Source(source) => consul_of(&*source),
            other => panic!("{other:?}"),
        }
    };
    let least = "servers: [\"http://127.0.0.1:8500\"], service: \"docker\", max_containers: 10";
    let expected = Consul {
        servers: vec!["tcp://127.0.0.1:8500".parse().unwrap()],
        token_file: None,
        service: "docker".to_owned(),
        datacenters: Vec::new(),
        consistency: Consistency::Default,
        max_containers: 10,
        insecure: false,
        tls: None,
    };
    assert_eq!(consul(least), expected);
    let all = format!("{least}, datacenters: [\"eu\", \"us\"], consistency: Stale, insecure: true");
    let expected = Consul {
        datacenters: vec!["eu".to_owned(), "us".to_owned()],
        consistency: Consistency::Stale,
        insecure: true,
        ..expected
    };
    assert_eq!(consul(&all), expected);
}

#[test]
fn a_take_over_can_make_a_socket_beside_the_longest() {
    let path = |bytes: usize| {
        let admin = format!("admin: (socket: \"/{}\")", "s".repeat(bytes - 1));
        let text = whole(DAEMON, &format!("\"s\": ({SERVICE})"), &admin);
        Config::parse(&text, "test.ron").map(|config| config.admin.socket)
    };
    let longest = path(102).unwrap().unwrap();
    let beside = format!("{}{}", longest.display(), super::BESIDE);
    assert!(std::os::unix::net::SocketAddr::from_pathname(&beside).is_ok(), "the kernel takes it");
    let report = path(103).unwrap_err().to_string();
    assert!(report.contains("the path of a socket has at most 102 bytes"), "{report}");
    assert!(report.contains("`.next`"), "{report}");
}

#[test]
fn the_whole_that_makes_no_sense() {
    let s = format!("\"s\": ({SERVICE})");
    let warm = |name, port| {
        format!(
            r#""{name}": (listen: "127.0.0.1:{port}", image: "i", port: 1, warm: 50, max: 50),"#
        )
    };
    for (text, title) in [
        (whole(DAEMON, "", ""), "there is no service for clients to connect to"),
        (
            whole(DAEMON, &(warm("a", 1) + &warm("b", 2)), ""),
            "the services keep 100 containers warm, but the daemons hold 99 together",
        ),
        (
            whole(DAEMON, &s, r#"admin: (listen: "0.0.0.0:5455")"#),
            "whoever reaches this address could see all clients and containers",
        ),
        (
            whole(DAEMON, &s, r#"admin: (hosts: ["ganger.example.com"])"#),
            "this is of use only with `listen`: the socket needs none",
        ),
        (
            whole(
                DAEMON,
                &s,
                r#"admin: (listen: "127.0.0.1:5455", hosts: ["http://ganger.example.com"])"#,
            ),
            "\"http://ganger.example.com\" is not the name of a machine",
        ),
        (
            whole(DAEMON, &s, r#"instance: "a b""#),
            "' ' cannot be in a name: use letters, digits, `_`, `.` and `-`",
        ),
        (
            whole(DAEMON, &s, "log: (format: Xml)"),
            "unknown variant `Xml`: expected `Text` or `Json`",
        ),
        (whole(DAEMON, &s, "log: Json"), "expected `log` in `( )`, found the word `Json`"),
        (
            whole(DAEMON, &format!("\"a b\": ({SERVICE})"), ""),
            "' ' cannot be in a name: use letters, digits, `_`, `.` and `-`",
        ),
        (
            whole(DAEMON, &format!("s: ({SERVICE})"), ""),
            "expected a name such as \"echo\", found the word `s`",
        ),
        (
            format!(
                "(daemons: Consul(servers: [], service: \"d\", max_containers: 1), services: {{{s}}})"
            ),
            "there is no Consul to ask",
        ),
        (
            format!(
                "(daemons: Swarm(manager: \"unix:///a\", port: 2376, max_containers: 1), services: {{{s}}})"
            ),
            "plain tcp to another machine: whoever can read or reach it is root there",
        ),
        (format!("(services: {{{s}}})"), "the configuration lacks `daemons`"),
        ("()".to_owned(), "the configuration lacks `daemons` and `services`"),
    ] {
        refused(&text, title);
    }
}

#[test]
fn files_that_cannot_be_read() {
    let dir = std::env::temp_dir().join(format!("ganger-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let load = |name: &str, content: Option<&[u8]>| {
        let path = dir.join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let message = Config::load(&path).unwrap_err().to_string();
        message.replace(&*dir.to_string_lossy(), "DIR")
    };
    assert_eq!(
        load("none.ron", None),
        "cannot read the configuration DIR/none.ron: No such file or directory (os error 2); \
         name another with --config or GANGER_CONFIG_FILE, or write one with `ganger init`"
    );
    assert_eq!(
        load(".", None),
        "cannot read the configuration DIR/.: Is a directory (os error 21); name a file in it"
    );
    assert_eq!(
        load("b", Some(b"(\xff)")),
        "DIR/b is not a configuration: byte 1 is not UTF-8 text"
    );
    assert_eq!(
        load("c", Some(&vec![b' '; (1 << 20) + 1])),
        "DIR/c is not a configuration: it is larger than 1024 KiB"
    );
    assert!(load("d", Some(b"")).starts_with("error: the file is empty\n"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_instance_is_the_configured_or_a_derived_name() {
    let mut config = Config::parse(&with(""), "t").unwrap();
    let path = Path::new("/etc/ganger.ron");
    // In a container the machine's name may not last.
    match config.instance(path) {
        Ok(derived) => {
            assert!(Name::new(derived.as_str()).is_ok(), "{derived}");
            assert_eq!(derived, config.instance(path).unwrap());
        }
        Err(error) => assert!(error.to_string().contains("add `instance: \"NAME\"`"), "{error}"),
    }
    config.instance = Some(Name::new("edge-1").unwrap());
    assert_eq!(config.instance(path).unwrap(), "edge-1");
}

#[test]
fn secrets_are_not_shown() {
    let config = Config::parse(&with(r#"env: {"PASSWORD": "hunter2"}"#), "t").unwrap();
    let service = &config.services[0];
    for shown in [format!("{config:?}"), format!("{service:?}"), format!("{:?}", service.spec)] {
        assert!(shown.contains("PASSWORD") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn none_is_as_if_a_key_were_left_out() {
    assert_eq!(service("max_age: None, tmpfs: None, command: None"), service(""));
    assert_eq!(service("read_only: Some(true)"), service("read_only: true"));
    assert_eq!(service("limits: (cpus: 100000.0)").spec.limits.cpus, Some(100_000.0));
    let refused = |text: &str| Config::parse(text, "t").unwrap_err().to_string();
    let report = refused(&with("warm: 20, max: None"));
    assert!(report.contains("`max` is 16, its default"), "{report}");
    let report = refused(&with("max_age: Some(None)"));
    assert!(report.contains("expected a time such as"), "{report}");
    // `tls: None` is plain tcp, whose readers could be root on that machine.
    let remote = "(name: \"d\", url: \"tcp://192.0.2.7:2375\", tls: None, max_containers: 99)";
    let report = refused(&whole(remote, &format!("\"s\": ({SERVICE})"), ""));
    assert!(report.contains("plain tcp to another machine"), "{report}");
}

#[test]
fn a_reload_knows_the_value_of_every_key() {
    let names = |rows: &[Row]| rows.iter().map(|row| row.name).collect::<Vec<_>>();
    let config = Config::parse(&with(""), "t").unwrap();
    assert_eq!(config.values.names(), names(TOP_ROWS));
    assert_eq!(config.services[0].values.names(), names(SERVICE_ROWS));
    assert_eq!(listed(&config)[0].values.names(), names(DAEMON_ROWS));
}
