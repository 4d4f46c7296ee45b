//! Services that are registered with a real Consul.

use std::fs;
use std::time::Duration;

use ganger_test_support::{
    Authority, Client, Config, Consul, Ending, Fleet, Ganger, Registered, unique, wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const FIELDS: &str = "warm: 1, max: 4, network: Sealed";

/// A configuration whose services are registered with this agent.
fn registered(name: &str, fleet: &Fleet, agent: &str) -> Config {
    let register = format!(
        "register: Consul(agent: {agent:?}, prefix: \"g-\", tags: [\"edge\"], ttl: \"3s\")"
    );
    Config::new(name).daemon(fleet.local().daemon(40)).with(&register)
}

fn id(config: &Config, service: &str) -> String {
    format!("ganger-{}-{service}", config.instance())
}

/// Waits until the agent has the service so, and returns all that it has of it.
fn wait_for_status(consul: &Consul, config: &Config, service: &str, status: &str) -> Registered {
    let (id, mut known) = (id(config, service), None);
    wait_until(DEADLINE, &format!("{service} is {status}"), || {
        known = consul.registered(&id).filter(|known| known.status == status);
        known.as_ref().is_some_and(|known| !known.output.is_empty())
    });
    known.unwrap()
}

#[test]
fn services_are_registered_as_they_are_while_they_accept() {
    let fleet = Fleet::shared();
    let mut consul = Consul::start(&fleet, "dc1", None);
    let config = registered("known", &fleet, &consul.url())
        .fixture("echo", FIELDS, &[])
        .fixture("goes", FIELDS, &[])
        .fixture("sick", "warm: 1, max: 4, network: Sealed", &["--exit", "3"]);
    fleet.load_images();
    let mut ganger = config.start(GANGER, &fleet);
    let port = config.port("echo");
    let known = wait_for_status(&consul, &config, "echo", "passing");
    let expected = Registered {
        name: "g-echo".to_owned(),
        address: "127.0.0.1".to_owned(),
        port,
        tags: vec!["edge".to_owned()],
        ..known.clone()
    };
    assert_eq!(known, expected);
    let failing = "containers keep failing";
    wait_until(DEADLINE, "sick is critical", || {
        let sick = consul.registered(&id(&config, "sick"));
        sick.is_some_and(|sick| sick.status == "critical" && sick.output.contains(failing))
    });
    wait_for_status(&consul, &config, "goes", "passing");

    // An agent that was started anew knows nothing.
    consul.forget();
    assert_eq!(consul.registered(&id(&config, "none")), None);
    wait_for_status(&consul, &config, "echo", "passing");

    let next = config.clone().without("goes").without("sick").moved("echo");
    let next = next.fixture("comes", FIELDS, &[]);
    ganger.reload(&next.to_string());
    ganger.wait_for_line(DEADLINE, |line| line.contains("the configuration is reloaded"));
    for gone in ["goes", "sick"] {
        assert_eq!(consul.registered(&id(&config, gone)), None);
    }
    wait_for_status(&consul, &config, "comes", "passing");
    let moved = wait_for_status(&consul, &config, "echo", "passing");
    assert_eq!(moved.port, next.port("echo"));

    let mut held = Client::connect(moved.port);
    held.echo("here I stay");
    wait_until(DEADLINE, "there is one for the next", || {
        let known = consul.registered(&id(&config, "echo"));
        known.is_some_and(|known| known.output.starts_with("1 ready, 1 leased"))
    });
    // As long as it is listed there, it is let in.
    consul.freeze();
    ganger.signal(Signal::TERM);
    ganger.wait_for_line(DEADLINE, |line| line.contains("stopping: no more connections"));
    let mut late = Client::connect(moved.port);
    late.echo("listed, and let in");
    consul.thaw();
    wait_until(DEADLINE, "nobody is let in any more", || !Client::is_listening(moved.port));
    for service in ["echo", "comes"] {
        assert_eq!(consul.registered(&id(&config, service)), None, "listed, and not let in");
    }
    for mut client in [held, late] {
        client.echo("still here");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
    ganger.assert_nothing_left();
}

#[test]
fn a_service_whose_program_was_killed_is_critical() {
    let fleet = Fleet::shared();
    let consul = Consul::start(&fleet, "dc1", None);
    let config = registered("killed", &fleet, &consul.url()).fixture("echo", FIELDS, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    wait_for_status(&consul, &config, "echo", "passing");
    ganger.kill();
    let known = wait_for_status(&consul, &config, "echo", "critical");
    assert!(known.output.contains("TTL expired"), "{known:?}");
}

#[test]
fn an_agent_that_is_away_disturbs_nobody() {
    let fleet = Fleet::shared();
    let mut consul = Consul::start(&fleet, "dc1", None);
    consul.stop();
    let config = registered("away", &fleet, &consul.url()).fixture("echo", FIELDS, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_for_line(DEADLINE, |line| line.contains("cannot tell Consul of the service"));
    Client::connect(config.port("echo")).echo("all the same");
    consul.resume();
    wait_for_status(&consul, &config, "echo", "passing");
    consul.stop();
    assert_eq!(ganger.stop(), 0);
    assert_eq!(ganger.count("cannot be taken out of Consul"), 1);
}

#[test]
fn an_agent_with_acls_takes_services_by_token() {
    let fleet = Fleet::shared();
    let consul = Consul::with_acls(&fleet);
    let dir = std::env::temp_dir().join(unique("ganger-register"));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("token");
    let config = |token: &str| {
        let agent = consul.url();
        let register = format!("register: Consul(agent: {agent:?}, ttl: \"3s\"{token})");
        let config = Config::new("acl").daemon(fleet.local().daemon(40)).with(&register);
        config.fixture("echo", FIELDS, &[])
    };
    let check = |config: &Config| {
        let (instance, text) = (config.instance(), config.to_string());
        let mut check = Ganger::start(GANGER, &fleet, instance, &text, &["check", "--online"]);
        (check.wait(DEADLINE).code(), check.lines().join("\n"))
    };
    fleet.load_images();
    let (code, said) = check(&config(""));
    assert!(
        code == Some(4) && said.contains("it may not register echo; add `token_file`"),
        "{said}"
    );

    fs::write(&file, consul.token("service \"other\" { policy = \"write\" }").secret).unwrap();
    let config = config(&format!(", token_file: {file:?}"));
    let mut ganger = config.serve(GANGER, &fleet);
    let told = "cannot tell Consul of the service";
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains(told));
    assert!(line.contains("Missing service:write on echo"), "{line}");
    Client::connect(config.port("echo")).echo("all the same");
    fs::write(&file, consul.token("service \"echo\" { policy = \"write\" }").secret).unwrap();
    wait_for_status(&consul, &config, "echo", "passing");
    let (code, said) = check(&config);
    assert!(code == Some(0) && said.contains("to be registered with Consul"), "{said}");
    assert_eq!((ganger.stop(), ganger.count(told)), (0, 1));
    assert_eq!(consul.registered(&id(&config, "echo")), None);
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn an_agent_is_told_by_https() {
    let fleet = Fleet::shared();
    let ca = Authority::new("ca");
    let consul = Consul::with_tls(&fleet, &ca.issue(&["127.0.0.1"]), &ca);
    let dir = std::env::temp_dir().join(unique("ganger-register"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    ca.issue(&[]).write(&dir);
    let file = |name: &str| dir.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let agent = consul.https_url();
    let register = format!(
        "register: Consul(agent: {agent:?}, tls: (ca: {ca:?}, cert: {cert:?}, key: {key:?}))"
    );
    let config = Config::new("https").daemon(fleet.local().daemon(40)).with(&register);
    let config = config.fixture("echo", FIELDS, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    wait_for_status(&consul, &config, "echo", "passing");
    assert_eq!(ganger.stop(), 0);
    assert_eq!(consul.registered(&id(&config, "echo")), None);
    fs::remove_dir_all(&dir).unwrap();
}
