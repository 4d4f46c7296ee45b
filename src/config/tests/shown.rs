//! Reports as they are shown.

use super::*;

#[track_caller]
fn shown(text: &str, expected: &str) {
    let report = Config::parse(text, "ganger.ron").expect_err("accepted").to_string();
    assert_eq!(report, expected.trim_start_matches('\n'), "\n{report}\n");
}

#[test]
fn six_mistakes_at_once() {
    shown(
        r#"(
    daemons: Static([
        (name: "local", url: "tcp://192.0.2.7:2375", max_containers: 20),
    ]),
    services: {
        "echo": (
            lisen: "127.0.0.1:5454",
            image: "Ganger.local/Echo:1",
            port: 0,
            warm: 20,
            queue: (timeout: "10 parsecs"),
        ),
    },
)
"#,
        r#"
error: plain tcp to another machine: whoever can read or reach it is root there
 --> ganger.ron:3:30
  |
3 |         (name: "local", url: "tcp://192.0.2.7:2375", max_containers: 20),
  |                              ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: add `tls: (ca: "ca.pem", cert: "cert.pem", key: "key.pem")`, or `insecure: true` if its network is private to you

error: unknown setting `lisen` of service "echo"
 --> ganger.ron:7:13
  |
7 |             lisen: "127.0.0.1:5454",
  |             ^^^^^
  |
  = help: did you mean `listen`?

error: "Ganger.local/Echo:1" is not the name of an image: 'E' is upper case; write "echo"
 --> ganger.ron:8:20
  |
8 |             image: "Ganger.local/Echo:1",
  |                    ^^^^^^^^^^^^^^^^^^^^^

error: 0 is too small: at least 1
 --> ganger.ron:9:19
  |
9 |             port: 0,
  |                   ^

error: `warm` is 20, but `max` is 16, its default
  --> ganger.ron:10:19
   |
10 |             warm: 20,
   |                   ^^
   |
   = help: `warm` containers count towards `max`: lower one or raise the other

error: "10 parsecs" is not a time: there is no unit "parsecs"
  --> ganger.ron:11:30
   |
11 |             queue: (timeout: "10 parsecs"),
   |                              ^^^^^^^^^^^^
   |
   = help: a number and a unit: ms, s, m, h or days, as in "1m 30s"

6 mistakes in ganger.ron"#,
    );
}

#[test]
fn two_services_on_one_address() {
    shown(
        r#"(
    daemons: Static([(name: "local", url: "unix:///d.sock", max_containers: 20)]),
    services: {
        "a": (listen: "127.0.0.1:5454", image: "a", port: 1),
        "b": (listen: "127.0.0.1:5455", image: "b", port: 1),
        "c": (image: "c", port: 1),
        "d": (listen: "0.0.0.0:5454", image: "d", port: 1),
    },
)
"#,
        r#"
error: service "c" lacks `listen`
 --> ganger.ron:6:14
  |
6 |         "c": (image: "c", port: 1),
  |              ^
  |
  = help: add `listen`: an address and port such as "127.0.0.1:5454"

error: service "d" cannot listen on 0.0.0.0:5454: service "a" listens on 127.0.0.1:5454, in line 4
 --> ganger.ron:7:23
  |
4 |         "a": (listen: "127.0.0.1:5454", image: "a", port: 1),
  |                       ---------------- taken here
...
7 |         "d": (listen: "0.0.0.0:5454", image: "d", port: 1),
  |                       ^^^^^^^^^^^^^^

2 mistakes in ganger.ron"#,
    );
}

#[test]
fn another_language() {
    shown(
        "services:\n  echo:\n    listen: 127.0.0.1:5454\n",
        r#"
error: this is not a configuration of Ganger: the first thing in it has to be `(`
 --> ganger.ron:1:1
  |
1 | services:
  | ^^^^^^^^^
  |
  = help: it is written in RON: `(daemons: …, services: {…})`; `ganger init` prints one to start from

1 mistake in ganger.ron"#,
    );
    shown(
        "{\"services\": {\"echo\": {}}}",
        r#"
error: this is not a configuration of Ganger: the first thing in it has to be `(`
 --> ganger.ron:1:1
  |
1 | {"services": {"echo": {}}}
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: it is written in RON: `(daemons: …, services: {…})`; `ganger init` prints one to start from

1 mistake in ganger.ron"#,
    );
}

#[test]
fn an_empty_file() {
    shown(
        "",
        r#"
error: the file is empty
 --> ganger.ron:1:1
  |
1 |
  | ^
  |
  = help: it is written in RON: `(daemons: …, services: {…})`; `ganger init` prints one to start from

1 mistake in ganger.ron"#,
    );
}

#[test]
fn a_truncated_file() {
    shown(
        r#"(
    daemons: Static([
        (name: "local", url: "unix:///d.sock", max_containers: 20)
    ]),
    services: {
        "echo": (
            listen: "127.0.0.1:5454",
            ima"#,
        r#"
error: the file ends before this bracket is closed
 --> ganger.ron:6:17
  |
6 |         "echo": (
  |                 ^
  |
  = help: is something cut off? What is open at the end is closed by `)})`

1 mistake in ganger.ron"#,
    );
}

#[test]
fn slips_of_the_pen() {
    shown(
        r#"(
    daemons: Static([
        (name: "local", url: "unix:///d.sock", max_containers: 20]
    ),
    services: {
        "echo": (
            listen = "127.0.0.1:5454",
            image: ganger.local/echo:1
            port: 7000
            "reuse": 3;
            user: "nobody,
            network: "sealed",
        ),
    }}
)
"#,
        r#"
error: this bracket is not closed: expected `)`
 --> ganger.ron:3:9
  |
3 |         (name: "local", url: "unix:///d.sock", max_containers: 20]
  |         ^                                                        - before this `]`

error: a field and its value are parted by `:`, not `=`
 --> ganger.ron:7:20
  |
7 |             listen = "127.0.0.1:5454",
  |                    ^

error: text is written in quotes: "ganger.local/echo:1"
 --> ganger.ron:8:20
  |
8 |             image: ganger.local/echo:1
  |                    ^^^^^^^^^^^^^^^^^^^

error: a comma is missing after this
 --> ganger.ron:8:38
  |
8 |             image: ganger.local/echo:1
  |                                      ^

error: a comma is missing after this
 --> ganger.ron:9:19
  |
9 |             port: 7000
  |                   ^^^^

error: names of settings are written without quotes: `reuse`
  --> ganger.ron:10:13
   |
10 |             "reuse": 3;
   |             ^^^^^^^

error: values are parted by `,`, not `;`
  --> ganger.ron:10:23
   |
10 |             "reuse": 3;
   |                       ^

error: this text has no closing quote; a line break in it is written `\n`
  --> ganger.ron:11:19
   |
11 |             user: "nobody,
   |                   ^^^^^^^^

error: expected `Isolated`, `Bridge`, `Sealed` or `Named`, found text
  --> ganger.ron:12:22
   |
12 |             network: "sealed",
   |                      ^^^^^^^^
   |
   = help: write it without quotes: `Sealed`

error: nothing was opened that this closes
  --> ganger.ron:14:6
   |
14 |     }}
   |      ^

10 mistakes in ganger.ron"#,
    );
}

#[test]
fn deep_nesting() {
    // In a thread with little stack, where recursion would not get far.
    let deep = |text: String| {
        let read =
            move || Config::parse(&text, "deep").unwrap_err().titles().next().map(str::to_owned);
        std::thread::Builder::new().stack_size(512 << 10).spawn(read).unwrap().join().unwrap()
    };
    for bracket in ["(", "[", "{", "(a: ", "Some(", "{\"a\": ", "[(["] {
        let text = format!("({}", bracket.repeat(100_000));
        let found = deep(text).unwrap();
        assert!(!found.is_empty());
    }
    shown(
        &format!("({}{})", "[".repeat(32), "]".repeat(32)),
        r#"
error: the configuration lacks `daemons` and `services`
 --> ganger.ron:1:1
  |
1 | ([[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]])
  | ^
  |
  = help: add `daemons`: Static([(name: "local", url: "unix:///var/run/docker.sock", max_containers: 20)]); `services`: a map of services `{"echo": (listen: …, image: …, port: …)}`

error: the name of a setting of the configuration is missing before this
 --> ganger.ron:1:2
  |
1 | ([[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]])
  |  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `name: value`

error: brackets nest deeper than 32 levels; no setting needs that
 --> ganger.ron:1:33
  |
1 | ([[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]])
  |                                 ^

3 mistakes in ganger.ron"#,
    );
}

#[test]
fn a_file_full_of_mistakes_is_shown_in_part() {
    let text = format!("(daemons: Static([{}]), services: {{}})", "1, ".repeat(100));
    let report = Config::parse(&text, "t").unwrap_err();
    assert_eq!(report.count(), 101, "{report}");
    assert!(report.to_string().ends_with("\n\n101 mistakes in t, the first 30 shown"));
    assert_eq!(report.to_string().matches("error: ").count(), 30);
}

#[test]
fn colour_only_when_asked_for() {
    let report = Config::parse("", "t").unwrap_err();
    assert_eq!(report.render(false), report.to_string());
    assert!(!report.to_string().contains('\u{1b}'));
    assert!(report.render(true).contains('\u{1b}'));
}

#[test]
fn every_mistake_of_a_sign_of_readiness_with_its_place() {
    let text = whole(
        DAEMON,
        "\"a\": (listen: \"127.0.0.1:1\", image: \"i\", port: 1,\nready: Http(\"up\", statuss: 99)),\n\"b\": (listen: \"127.0.0.1:2\", image: \"i\", port: 1,\nready: Log(\"\", times: 0))",
        "",
    );
    shown(
        &text,
        r#"
error: "up" is not a path: start it with `/`
 --> ganger.ron:2:13
  |
2 | ready: Http("up", statuss: 99)),
  |             ^^^^
  |
  = help: host and port are those of the service

error: unknown setting `statuss` of `Http`
 --> ganger.ron:2:19
  |
2 | ready: Http("up", statuss: 99)),
  |                   ^^^^^^^
  |
  = help: did you mean `status`?

error: this text is empty
 --> ganger.ron:4:12
  |
4 | ready: Log("", times: 0))}, )
  |            ^^

error: 0 is too small: at least 1
 --> ganger.ron:4:23
  |
4 | ready: Log("", times: 0))}, )
  |                       ^

4 mistakes in ganger.ron"#,
    );
}
