//! A fleet that is discovered from a real Consul.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ganger_test_support::{
    Authority, Client, Config, Consul, Ending, Fleet, Ganger, Issued, StopOnDrop, labelled, unique,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// A configuration whose daemons are the instances of `docker` in a Consul.
fn discovered(name: &str, consul: &Consul, fields: &str) -> Config {
    let servers = consul.url();
    Config::new(name).discovery(format!(
        "Consul(servers: [{servers:?}], service: \"docker\", max_containers: 1, insecure: true{fields})"
    ))
}

/// A directory for files that a configuration names.
struct Dir(PathBuf);

// === impl Dir ===

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-consul-files"));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// Puts a file into place whole.
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let fresh = self.0.join(format!("{name}.new"));
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, self.0.join(name)).unwrap();
        self.0.join(name)
    }

    /// The value of a TLS setting.
    fn tls(&self, authority: &Authority, identity: Option<&Issued>) -> String {
        let ca = self.put("ca.pem", &authority.pem());
        let Some(identity) = identity else { return format!("(ca: {ca:?})") };
        identity.write(&self.0);
        let (cert, key) = (self.0.join("cert.pem"), self.0.join("key.pem"));
        format!("(ca: {ca:?}, cert: {cert:?}, key: {key:?})")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn token_file(path: &Path) -> String {
    format!(", token_file: {path:?}")
}

/// The output of `ganger check --online`, and its exit code.
fn check(fleet: &Fleet, config: &Config) -> (Option<i32>, String) {
    let (instance, text) = (config.instance(), config.to_string());
    let mut check = Ganger::start(GANGER, fleet, instance, &text, &["check", "--online"]);
    let code = check.wait(DEADLINE).code();
    (code, check.lines().join("\n"))
}

/// How many containers of a program each host has.
fn spread(fleet: &Fleet, ganger: &Ganger) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for (host, _) in labelled(fleet.hosts(), &ganger.label()) {
        *spread.entry(host.name.clone()).or_default() += 1;
    }
    spread
}

#[test]
fn a_daemon_that_is_deregistered_under_load_drains_without_a_cut_connection() {
    let fleet = Fleet::take(3);
    let consul = Consul::start(&fleet, "dc1", None);
    fleet.hosts().iter().for_each(|host| consul.register("docker", host, 4));
    let config = discovered("drained", &consul, "").fixture(
        "echo",
        "warm: 3, max: 12, network: Bridge",
        &[],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");

    // Four stay on each host, three each beside the stock, and others come and go.
    let mut held: Vec<_> = (0..6).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| client.echo("here I stay"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = StopOnDrop(&stop);
        for number in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect(port);
                    client.echo(&format!("client {number}"));
                    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
                }
            });
        }
        let leaving = &fleet.hosts()[0];
        assert!(spread(&fleet, &ganger).contains_key(&leaving.name));
        consul.deregister(leaving);
        ganger.wait_for_line(DEADLINE, |line| {
            line.contains("left the fleet") && line.contains(&leaving.name)
        });
        for client in &mut held {
            client.echo("still here");
        }
        for client in held {
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        }
        ganger.wait_for_line(DEADLINE, |line| {
            line.contains("the daemon is drained") && line.contains(&leaving.name)
        });
        assert!(!spread(&fleet, &ganger).contains_key(&leaving.name));
        drop(done);
    });
    for end in ganger.ends_after(0) {
        assert_eq!(end.field("end"), "--", "{end:?}");
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn while_consul_is_away_the_fleet_stays_as_it_was() {
    let fleet = Fleet::take(2);
    let mut consul = Consul::start(&fleet, "dc1", None);
    let (first, second) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    consul.register("docker", first, 4);
    let config = discovered("away", &consul, "").fixture("echo", "warm: 1, max: 8", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let port = config.port("echo");

    consul.stop();
    ganger.wait_for_line(DEADLINE, |line| line.contains("Consul does not answer"));
    Client::connect(port).echo("all the same");
    consul.resume();
    ganger.wait_for_line(DEADLINE, |line| line.contains("Consul answers again"));
    consul.register("docker", second, 4);
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains("joined the fleet") && line.contains(&second.name)
    });
    Client::connect(port).echo("and again");
    assert_eq!(ganger.count("left the fleet"), 0);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_second_datacenter_is_used_only_when_the_first_is_full() {
    let fleet = Fleet::take(2);
    let near = Consul::start(&fleet, "eu", None);
    let far = Consul::start(&fleet, "us", Some(&near));
    let (first, second) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    near.register("docker", first, 2);
    far.register("docker", second, 8);
    let config = discovered("far", &near, ", datacenters: [\"eu\", \"us\"]").fixture(
        "echo",
        "warm: 0, max: 8",
        &[],
    );
    fleet.load_images();
    let mut ganger = config.start(GANGER, &fleet);
    for host in [first, second] {
        ganger.wait_for_line(DEADLINE, |line| {
            line.contains("containers are reached") && line.contains(&host.name)
        });
    }
    // With `warm: 0` it is full as soon as both daemons are settled.
    ganger.wait_until_stocked("echo");
    let port = config.port("echo");
    let mut held = Vec::new();
    for (clients, eu, us) in [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 2, 2)] {
        let mut client = Client::connect(port);
        client.echo("which one am I?");
        held.push(client);
        let spread = spread(&fleet, &ganger);
        let on = |name: &str| spread.get(name).copied().unwrap_or_default();
        assert_eq!((on(&first.name), on(&second.name)), (eu, us), "{clients} clients: {spread:?}");
    }
    drop(held);
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn what_consul_lists_and_cannot_be_used_is_said() {
    let fleet = Fleet::take(1);
    let consul = Consul::start(&fleet, "dc1", None);
    consul.register("docker", &fleet.hosts()[0], 0);
    let config = discovered("unfit", &consul, "").fixture("echo", "warm: 1, max: 2", &[]);
    let (code, said) = check(&fleet, &config);
    assert!(code == Some(4) && said.contains("Consul lists no daemon"), "{said}");
    let mut ganger = config.start(GANGER, &fleet);
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("cannot be a daemon"));
    assert!(line.contains(&fleet.hosts()[0].name) && line.contains("max_containers"), "{line}");
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    assert_eq!(Client::connect(config.port("echo")).ending(), Ending::Reset(Vec::new()));
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_consul_with_acls_is_asked_with_the_token_that_the_file_holds_now() {
    let fleet = Fleet::take(2);
    let consul = Consul::with_acls(&fleet);
    let (first, second) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    consul.register("docker", first, 4);
    let fields = "warm: 1, max: 8";
    fleet.load_images();
    let config = |token: &str| discovered("acl", &consul, token).fixture("echo", fields, &[]);
    let refused = |token: &str, why: &[&str]| {
        let (code, said) = check(&fleet, &config(token));
        let of_consul = said.lines().filter(|line| line.contains("Consul at")).count();
        assert!(code == Some(4) && of_consul == 1, "{said}");
        why.iter().for_each(|why| assert!(said.contains(why), "{why}: {said}"));
    };
    let dir = Dir::new();
    refused("", &["an ACL token is wanted", "add `token_file`", "`service:read` of \"docker\""]);
    let other = consul.token("service \"other\" { policy = \"read\" }");
    let file = dir.put("other", &other.secret);
    refused(&token_file(&file), &["may not read", file.to_str().unwrap(), "`service:read`"]);
    let file = dir.put("nonsense", "no-such-token");
    refused(&token_file(&file), &["ACL not found", file.to_str().unwrap()]);

    let rules = "service \"docker\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }";
    let token = consul.token(rules);
    let file = dir.put("token", &format!("{}\n", token.secret));
    let config = config(&token_file(&file));
    let (code, said) = check(&fleet, &config);
    assert!(code == Some(0) && said.contains(&format!("{}: engine", first.name)), "{said}");
    let mut ganger = config.serve(GANGER, &fleet);
    Client::connect(config.port("echo")).echo("let in");

    consul.revoke(&token);
    // A query that is held is answered, and refused, when there is news.
    consul.register("docker", second, 4);
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("Consul refuses"));
    assert!(line.contains("ACL not found") && line.contains(file.to_str().unwrap()), "{line}");
    Client::connect(config.port("echo")).echo("all the same");
    let next = consul.token(rules);
    dir.put("token", &next.secret);
    ganger.wait_for_line(DEADLINE, |line| line.contains("Consul answers again"));
    ganger.wait_for_line(DEADLINE, |line| {
        line.contains("joined the fleet") && line.contains(&second.name)
    });
    assert_eq!((ganger.count("left the fleet"), ganger.count("Consul refuses")), (0, 1));
    assert_eq!(ganger.stop(), 0);
    assert_eq!(ganger.count(&token.secret) + ganger.count(&next.secret), 0, "shown in the log");
}

#[test]
fn a_consul_is_reached_by_https_with_its_own_authority() {
    let fleet = Fleet::take(1);
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let consul = Consul::with_tls(&fleet, &ours.issue(&["127.0.0.1"]), &ours);
    consul.register("docker", &fleet.hosts()[0], 4);
    let (https, http) = (consul.https_url(), consul.https_url().replace("https", "http"));
    let config = |server: &str, fields: &str| {
        let fields = format!(
            "servers: [{server:?}], service: \"docker\", max_containers: 1, insecure: true{fields}"
        );
        Config::new("https").discovery(format!("Consul({fields})")).fixture(
            "echo",
            "warm: 1, max: 4",
            &[],
        )
    };
    let refused = |config: Config, why: &str| {
        let (code, said) = check(&fleet, &config);
        assert!(code == Some(4) && said.contains(why), "{why}: {said}");
    };
    refused(config(&http, ""), "it speaks TLS there: write https://");
    let with = |tls: String| config(&https, &format!(", server_tls: {tls}"));
    let (one, other, nobody) = (Dir::new(), Dir::new(), Dir::new());
    let identity = ours.issue(&[]);
    refused(with(other.tls(&foreign, Some(&identity))), "not signed by an authority in the file");
    refused(with(nobody.tls(&ours, None)), "does not take our certificate");
    let config = with(one.tls(&ours, Some(&identity)));
    let mut ganger = config.serve(GANGER, &fleet);
    Client::connect(config.port("echo")).echo("over https");
    assert_eq!(ganger.stop(), 0);
}
