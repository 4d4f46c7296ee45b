//! Tests of how a Consul is reached.

use ganger_test_support::{Authority, unique};

use super::*;
use crate::fleet::TokenFile;
use crate::tls;

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
            Daemons::Consul(consul) => consul,
            other => panic!("{other:?}"),
        })
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// That this is all that is wrong, and that it is shown at this text.
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
