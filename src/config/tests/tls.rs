//! Tests of `tls`: the files are read with the configuration.

use std::fs;

use ganger_test_support::{Authority, Issued, unique};

use super::*;
use crate::tls::{Files, TlsIdentity};

/// A configuration and the files that it names, in a directory of their own.
struct Dir(PathBuf);

// === impl Dir ===

impl Dir {
    fn new(ca: &Authority, identity: &Issued) -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-config"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
        identity.write(&dir);
        Self(dir)
    }

    fn load(&self, daemon: &str) -> Result<Config, Report> {
        let daemon = format!("(name: \"d\", max_containers: 1, {daemon})");
        let path = self.0.join("ganger.ron");
        fs::write(&path, whole(&daemon, &format!("\"s\": ({SERVICE})"), "")).unwrap();
        match Config::load(&path) {
            Ok(config) => Ok(config),
            Err(ConfigError::Invalid(report)) => Err(report),
            Err(error) => panic!("{error}"),
        }
    }

    /// Asserts that these are all mistakes, each shown at its text.
    fn refused(&self, daemon: &str, expected: &[(&str, &str)]) {
        let report = self.load(daemon).expect_err("accepted");
        let titles: Vec<_> = report.titles().collect();
        assert_eq!(titles.len(), expected.len(), "{titles:#?}");
        let shown = report.to_string();
        for (title, (what, place)) in titles.iter().zip(expected) {
            assert!(title.contains(what), "{title}");
            let underlined = "^".repeat(place.len());
            assert!(shown.contains(&format!(" {underlined}")), "{place} in\n{shown}");
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const URL: &str = "url: \"tcp://192.0.2.7:2376\"";
const TLS: &str = "tls: (ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")";

#[test]
fn files_are_found_beside_the_configuration() {
    let ca = Authority::new("ca");
    let dir = Dir::new(&ca, &ca.issue(&[]));
    let config = dir.load(&format!("{URL}, {TLS}")).unwrap();
    let identity = TlsIdentity { cert: dir.0.join("cert.pem"), key: dir.0.join("key.pem") };
    let files = Files { ca: dir.0.join("ca.pem"), identity: Some(identity) };
    assert_eq!(listed(&config)[0].url.tls(), Some(&files));
    assert_eq!(config.warnings, []);
    let absolute = dir.0.join("ca.pem");
    let config = dir.load(&format!("{URL}, tls: (ca: {absolute:?})")).unwrap();
    assert_eq!(listed(&config)[0].url.tls(), Some(&Files { identity: None, ..files }));
}

#[test]
fn what_does_not_go_together() {
    let ca = Authority::new("ca");
    let dir = Dir::new(&ca, &ca.issue(&[]));
    let alone = "tls: (ca: \"ca.pem\", cert: \"cert.pem\")";
    dir.refused(&format!("{URL}, {alone}"), &[("`cert` without `key`", "\"cert.pem\"")]);
    let alone = "tls: (ca: \"ca.pem\", key: \"key.pem\")";
    dir.refused(&format!("{URL}, {alone}"), &[("`key` without `cert`", "\"key.pem\"")]);
    dir.refused(&format!("{URL}, tls: ()"), &[("`tls` lacks `ca`", "(")]);
    let value = TLS.strip_prefix("tls: ").unwrap();
    let both = format!("{URL}, insecure: true, {TLS}");
    dir.refused(&both, &[("`tls` and `insecure: true` exclude each other", value)]);
    let socket = format!("url: \"unix:///run/docker.sock\", {TLS}");
    dir.refused(&socket, &[("there is no `tls` on a socket", value)]);
}

#[test]
fn every_file_that_is_wrong_is_told_of_at_its_place() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let dir = Dir::new(&ca, &ca.issue(&[]));
    let daemon = format!("{URL}, {TLS}");
    let put = |name: &str, text: &str| fs::write(dir.0.join(name), text).unwrap();

    put("key.pem", &other.issue(&[]).key);
    dir.refused(&daemon, &[("is not that of the certificate in", "\"key.pem\"")]);
    put(
        "key.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    dir.refused(&daemon, &[("key.pem is encrypted", "\"key.pem\"")]);
    put("ca.pem", "");
    put("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA");
    put("key.pem", "hunter2");
    let all = [
        ("ca.pem holds no certificate", "\"ca.pem\""),
        ("cert.pem is damaged", "\"cert.pem\""),
        ("key.pem holds no private key", "\"key.pem\""),
    ];
    dir.refused(&daemon, &all);
    let shown = dir.load(&daemon).unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    put("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fs::remove_file(dir.0.join("cert.pem")).unwrap();
    fs::remove_file(dir.0.join("key.pem")).unwrap();
    fs::create_dir(dir.0.join("key.pem")).unwrap();
    let report = dir.load(&daemon).unwrap_err().to_string();
    for what in ["certificate that cannot be read", "cert.pem: No such file", "it is not a file"] {
        assert!(report.contains(what), "{report}");
    }
}

#[test]
fn certificates_are_good_for_a_time() {
    let ca = Authority::new("ca");
    let daemon = format!("{URL}, {TLS}");
    let of = |days| Dir::new(&ca, &ca.issue_valid(&[], days));
    of(-30..-1).refused(&daemon, &[("cert.pem expired at 2", "\"cert.pem\"")]);
    of(2..30).refused(&daemon, &[("cert.pem is not valid before 2", "\"cert.pem\"")]);
    let old = Dir::new(&Authority::valid("old", -30..-1), &ca.issue(&[]));
    old.refused(&daemon, &[("ca.pem expired at 2", "\"ca.pem\"")]);

    let soon = of(-30..13);
    let config = soon.load(&daemon).unwrap();
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    let warning = warning.to_string();
    let place = format!("{}:1:", soon.0.join("ganger.ron").display());
    assert!(warning.starts_with(&place) && warning.contains("expires in 12 days"), "{warning}");
    assert_eq!(of(-30..15).load(&daemon).unwrap().warnings, []);

    // While one authority is replaced by the next, both are in the file.
    let both = of(-1..99);
    fs::write(both.0.join("ca.pem"), Authority::valid("old", -30..-1).pem() + &ca.pem()).unwrap();
    assert_eq!(both.load(&daemon).unwrap().warnings, []);
}
