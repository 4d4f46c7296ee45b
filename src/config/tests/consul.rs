//! Tests of how a Consul is reached, and of `register`.

use ganger_test_support::{Authority, unique};

use super::*;
use crate::tls;
use crate::token::TokenFile;

/// A directory with files that the configuration names.
struct Dir(PathBuf);

// === impl Dir ===

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-config-consul"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("token"), "7a1c-hunter2\n").unwrap();
        std::fs::write(dir.join("empty"), "\n").unwrap();
        std::fs::write(dir.join("ca.pem"), Authority::new("consul").pem()).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn load(&self, daemons: &str, rest: &str) -> Result<Config, Report> {
        let text = format!("(daemons: {daemons}, services: {{\"docker\": ({SERVICE})}}, {rest})");
        let path = self.file("ganger.ron");
        std::fs::write(&path, text).unwrap();
        match Config::load(&path) {
            Ok(config) => Ok(config),
            Err(ConfigError::Invalid(report)) => Err(report),
            Err(error) => panic!("{error}"),
        }
    }

    fn consul(&self, fields: &str) -> Result<Consul, Report> {
        let fields = format!("Consul(service: \"d\", max_containers: 1, {fields})");
        self.load(&fields, "").map(|config| match config.daemons {
            Daemons::Source(source) => consul_of(&*source),
            other => panic!("{other:?}"),
        })
    }

    fn register(&self, register: &str) -> Result<Option<Register>, Report> {
        let rest = format!("register: {register}");
        self.load(&format!("Static([{DAEMON}])"), &rest).map(|config| config.register)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asserts that these are all mistakes, each shown at its text.
#[track_caller]
fn refused<T: std::fmt::Debug>(loaded: Result<T, Report>, expected: &[(&str, &str)]) {
    let report = loaded.expect_err("accepted");
    let titles: Vec<_> = report.titles().map(str::to_owned).collect();
    assert_eq!(titles.len(), expected.len(), "{titles:#?}");
    let shown = report.to_string();
    for (title, (what, place)) in titles.iter().zip(expected) {
        assert!(title.contains(what), "{title}");
        let underlined = format!(" {}\n", "^".repeat(place.len()));
        assert!(shown.contains(&underlined), "{place} in\n{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

const HTTPS: &str = "servers: [\"http://127.0.0.1:8500\", \"https://consul.example.org:8501\"]";

#[test]
fn a_consul_is_reached_with_a_token_and_its_own_tls() {
    let dir = Dir::new();
    let consul = dir
        .consul(&format!("{HTTPS}, token_file: \"token\", server_tls: (ca: \"ca.pem\")"))
        .unwrap();
    assert_eq!(consul.token_file, Some(TokenFile(dir.file("token"))));
    let files = tls::Files { ca: dir.file("ca.pem"), identity: None };
    let reached: Vec<_> = consul.servers.iter().map(|server| server.tls().cloned()).collect();
    assert_eq!(reached, [None, Some(files)]);
    assert_eq!(consul.tls, None, "that is of the daemons");
    assert!(!format!("{consul:?}").contains("hunter2"));
}

#[test]
fn a_consul_that_cannot_be_reached_so() {
    let dir = Dir::new();
    let https = "\"https://consul.example.org:8501\"";
    refused(dir.consul(HTTPS), &[("only given authorities are trusted", https)]);
    let plain = "servers: [\"http://127.0.0.1:8500\"], server_tls: (ca: \"ca.pem\")";
    refused(dir.consul(plain), &[("`server_tls` is for https", "(ca: \"ca.pem\")")]);
    for (server, title) in [
        ("tcp://127.0.0.1:8500", "is not the url of a Consul"),
        ("127.0.0.1:8500", "is not the url of a Consul"),
        ("https://", "is not the url of a Consul"),
    ] {
        let place = format!("{server:?}");
        refused(dir.consul(&format!("servers: [{place}]")), &[(title, &place)]);
    }
    let server = "servers: [\"http://127.0.0.1:8500\"]";
    for (file, title) in [
        ("none", "No such file"),
        ("empty", "is empty"),
        ("ca.pem", "holds something else than one token"),
        (".", "it is not a file"),
    ] {
        let place = format!("{file:?}");
        refused(dir.consul(&format!("{server}, token_file: {place}")), &[(title, &place)]);
    }
}

#[test]
fn services_may_be_registered() {
    let dir = Dir::new();
    let least = Register {
        agent: "tcp://127.0.0.1:8500".parse().unwrap(),
        token_file: None,
        prefix: None,
        tags: Vec::new(),
        address: None,
        ttl: Duration::from_secs(15),
        forget_after: Duration::from_secs(600),
    };
    assert_eq!(dir.load(&format!("Static([{DAEMON}])"), "").unwrap().register, None);
    for short in ["Consul", "Consul()", "Consul(agent: \"http://127.0.0.1:8500\")"] {
        assert_eq!(dir.register(short).unwrap().as_ref(), Some(&least), "{short}");
    }
    assert_eq!(least.name("echo"), "echo");
    let all = dir.register(
        "Consul(agent: \"https://[::1]:8501\", token_file: \"token\", tls: (ca: \"ca.pem\"), \
         prefix: \"ganger-\", tags: [\"edge\", \"v1\"], address: \"192.0.2.1\", ttl: \"3s\", \
         forget_after: \"1m\")",
    );
    let all = all.unwrap().unwrap();
    assert_eq!(all.name("echo"), "ganger-echo");
    let agent: crate::endpoint::Endpoint = "tcp://[::1]:8501".parse().unwrap();
    let expected = Register {
        agent: agent.with_tls(tls::Files { ca: dir.file("ca.pem"), identity: None }),
        token_file: Some(TokenFile(dir.file("token"))),
        prefix: all.prefix.clone(),
        tags: vec!["edge".to_owned(), "v1".to_owned()],
        address: Some("192.0.2.1".parse().unwrap()),
        ttl: Duration::from_secs(3),
        forget_after: Duration::from_secs(60),
    };
    assert_eq!(all, expected);
}

#[test]
fn a_registration_that_makes_no_sense_is_told_all_at_once() {
    let dir = Dir::new();
    let wrong = "Consul(agent: \"https://a:1\", token_file: \"none\", prefix: \"a b\", \
                 tags: [\"x\", \"x\"], address: \"0.0.0.0\", ttl: \"2s\", forget_after: \"59s\")";
    refused(
        dir.register(wrong),
        &[
            ("only given authorities are trusted", "\"https://a:1\""),
            ("No such file", "\"none\""),
            ("' ' cannot be in a name", "\"a b\""),
            ("is there already", "\"x\""),
            ("0.0.0.0 is not one address", "\"0.0.0.0\""),
            ("`ttl` is too short: at least \"3s\"", "\"2s\""),
            ("`forget_after` is too short: at least \"60s\"", "\"59s\""),
        ],
    );
    refused(
        dir.register("Consul(tls: (ca: \"ca.pem\"))"),
        &[("without `agent` it is http://127.0.0.1:8500", "(ca: \"ca.pem\")")],
    );
    refused(dir.register("Nomad"), &[("unknown variant `Nomad`", "Nomad")]);

    let consul =
        "Consul(servers: [\"http://127.0.0.1:1\"], service: \"docker\", max_containers: 1)";
    let clash =
        "service \"docker\" would be registered as \"docker\", whose instances are the daemons";
    refused(dir.load(consul, "register: Consul()"), &[(clash, "Consul()")]);
    dir.load(consul, "register: Consul(prefix: \"ganger-\")").unwrap();
}
