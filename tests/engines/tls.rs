//! Daemons that are reached with TLS: real ones, with right and wrong certificates.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ganger::docker::{self, Docker, Site};
use ganger::endpoint::Endpoint;
use ganger::tls;
use ganger_pool::runtime::ContainerRuntime;
use ganger_test_support::{
    Authority, Client, Config, FIXTURE, Fleet, Ganger, Issued, TlsDaemon, unique, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// A directory with the files of `tls`.
struct Files(PathBuf);

// === impl Files ===

impl Files {
    fn new(ca: &Authority, identity: &Issued) -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-tls"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
        identity.write(&dir);
        Self(dir)
    }

    /// The field of a daemon.
    fn field(&self) -> String {
        let file = |name: &str| self.0.join(name).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        format!("tls: (ca: {ca:?}, cert: {cert:?}, key: {key:?})")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn one(name: &str, daemon: String) -> Config {
    let fields = "warm: 1, max: 4, network: Bridge";
    Config::new(name).daemon(daemon).fixture("echo", fields, &[])
}

/// The output of `ganger check --online`, and its exit code.
fn check(fleet: &Fleet, config: &Config) -> (Option<i32>, String) {
    let (instance, text) = (config.instance(), config.to_string());
    let mut check = Ganger::start(GANGER, fleet, instance, &text, &["check", "--online"]);
    let code = check.wait(DEADLINE).code();
    (code, check.lines().join("\n"))
}

#[test]
fn each_mistake_with_certificates_is_said() {
    let fleet = Fleet::shared();
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let mut daemon = TlsDaemon::start(&fleet, |address| ours.issue(&[address]), &ours.pem());
    daemon.load_fixture();

    let right = Files::new(&ours, &ours.issue(&[]));
    let (code, said) = check(&fleet, &one("right", daemon.daemon(&right.field(), 4)));
    assert!(code == Some(0) && said.contains("tls: engine "), "{said}");

    let refused = |what: &str, daemon: String, why: &str| {
        let (code, said) = check(&fleet, &one("wrong", daemon));
        let lines: Vec<_> = said.lines().filter(|line| line.contains("error")).collect();
        assert!(code == Some(4) && lines.len() == 1 && lines[0].contains(why), "{what}:\n{said}");
    };
    let with = |daemon: &TlsDaemon, files: &Files| daemon.daemon(&files.field(), 4);
    let wrong = Files::new(&foreign, &ours.issue(&[]));
    refused(
        "wrong authority",
        with(&daemon, &wrong),
        "not signed by an authority in the file `ca`",
    );
    let stranger = Files::new(&ours, &foreign.issue(&[]));
    refused("foreign client", with(&daemon, &stranger), "it does not take our certificate");
    let ca = right.0.join("ca.pem").display().to_string();
    let nobody = daemon.daemon(&format!("tls: (ca: {ca:?})"), 4);
    refused("no client certificate", nobody, "`cert` and `key` have to be there");
    refused("plain", daemon.daemon("insecure: true", 4), "the engine speaks TLS there");
    let plain = fleet.hosts()[0].remote_daemon(4).replace("insecure: true", &right.field());
    refused("TLS to a plain port", plain, "does not speak TLS");
    let address = daemon.host().address();
    daemon.restart(&ours.issue_valid(&[&address], -30..-2), &ours.pem());
    refused("expired server", with(&daemon, &right), "has expired");
    daemon.restart(&ours.issue(&["rack7.example.org", "192.0.2.7"]), &ours.pem());
    refused("another name", with(&daemon, &right), &format!("is not for {address}, but for "));
}

#[tokio::test]
async fn calls_share_a_connection() {
    const CALLS: u32 = 500;
    let fleet = Fleet::shared();
    let ca = Authority::new("ca");
    let daemon = TlsDaemon::start(&fleet, |address| ca.issue(&[address]), &ca.pem());
    let files = Files::new(&ca, &ca.issue(&[]));
    let file = |name: &str| files.0.join(name);
    let identity = tls::TlsIdentity { cert: file("cert.pem"), key: file("key.pem") };
    let tls = tls::Files { ca: file("ca.pem"), identity: Some(identity) };
    let url = daemon.host().tcp_url.clone().unwrap();
    let site = Site::of(url.parse::<Endpoint>().unwrap().with_tls(tls));
    let us = docker::Identity { instance: unique("calls"), boot: "3fa9c1d2".to_owned() };
    let docker = Docker::new(us, Vec::new());
    let name = "d".into();
    docker.connect(&name, &site).await.unwrap();
    let (before, start) = (daemon.connections(), Instant::now());
    for _ in 0..CALLS {
        assert_eq!(docker.list(&name).await.unwrap().owned, []);
    }
    let (each, made) = (start.elapsed() / CALLS, daemon.connections() - before);
    println!("{CALLS} lists over TLS, {made} connections: {each:.1?} each");
    assert!(made <= 1, "{made} connections");
}

#[test]
fn a_service_runs_on_over_tls_while_certificates_change() {
    let fleet = Fleet::shared();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let mut daemon = TlsDaemon::start(&fleet, |address| first.issue(&[address]), &first.pem());
    let server = first.issue(&[&daemon.host().address()]);
    let files = Files::new(&first, &first.issue(&[]));
    let config = one("rotated", daemon.daemon(&files.field(), 4));
    fleet.load_images();
    let from = fleet.local().url();
    let push = ["push", FIXTURE, "--to", "tls", "--from", &from];
    let mut push = Ganger::start(GANGER, &fleet, config.instance(), &config.to_string(), &push);
    assert_eq!(push.wait(DEADLINE).code(), Some(0), "{:#?}", push.lines());
    let ganger = config.start(GANGER, &fleet);
    ganger.wait_until_stocked("echo");
    Client::connect(config.port("echo")).echo("over TLS");

    // Half of a change: what was there before is used on.
    let broken = |dir: &Path| fs::write(dir.join("cert.pem"), "not yet written").unwrap();
    broken(&files.0);
    daemon.restart(&server, &first.pem());
    let kept = "the TLS files were changed and cannot be used; the old ones are";
    ganger.wait_for_line(DEADLINE, |line| line.contains(kept));
    still_echoes(&config);
    assert_eq!(ganger.count(kept), 1, "{:#?}", ganger.lines());

    // The engine takes only the new ones from now on.
    second.issue(&[]).write(&files.0);
    daemon.restart(&server, &second.pem());
    ganger.wait_for_line(DEADLINE, |line| line.contains("the TLS files were changed; new"));
    still_echoes(&config);

    let mut ganger = ganger;
    assert_eq!(ganger.stop(), 0);
    let left = daemon.host().containers(&ganger.label());
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// A client is served again, by a container that was launched since the daemon's
/// restart, which has ended those before. Until then clients are refused.
fn still_echoes(config: &Config) {
    let served = || -> std::io::Result<bool> {
        let mut client = TcpStream::connect(("127.0.0.1", config.port("echo")))?;
        client.set_read_timeout(Some(DEADLINE))?;
        client.write_all(b"still there")?;
        let mut answer = [0; 11];
        client.read_exact(&mut answer)?;
        Ok(&answer == b"still there")
    };
    wait_until(DEADLINE, "clients are served again", || served().unwrap_or(false));
}
