//! Orders to a running Ganger, on real engines.

use std::time::Duration;

use ganger_test_support::{AdminClient, Client, Config, Ending, Fleet, wait_until};
use serde_json::Value;

use super::DEADLINE;
use crate::GANGER;

/// The containers of a service in a state, and the daemons that they are on.
fn containers(admin: &AdminClient, query: &str) -> Vec<(u64, String)> {
    let told = admin.get(&format!("/api/v1/containers?{query}"));
    let told = told.as_array().unwrap().iter();
    told.map(|it| (it["launch"].as_u64().unwrap(), it["daemon"].as_str().unwrap().to_owned()))
        .collect()
}

fn order(admin: &AdminClient, path: &str, body: &str) -> String {
    let (status, detail) = admin.order(path, body);
    assert_eq!(status, 200, "{path}: {detail}");
    detail
}

#[test]
fn a_daemon_is_drained_worked_on_and_used_again() {
    let fleet = Fleet::shared();
    let [first, second] = [0, 1].map(|at| &fleet.hosts()[at]);
    let config = Config::new("orders").daemon(first.daemon(40)).daemon(second.remote_daemon(40));
    let config = config.fixture("echo", "warm: 2, max: 6", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_until_stocked("echo");
    let admin = AdminClient::of(config.instance());

    let mut client = Client::connect(config.port("echo"));
    client.echo("before");
    let on = || containers(&admin, "state=leased")[0].1.clone();
    let (daemon, other) = match on() == first.name {
        true => (first, second),
        false => (second, first),
    };
    let state = format!("/api/v1/daemons/{}/state", daemon.name);
    order(&admin, &state, r#"{"state": "drain"}"#);
    wait_until(DEADLINE, "the stock is on the other daemon alone", || {
        let stock = containers(&admin, "state=ready");
        stock.len() == 2 && stock.iter().all(|(_, on)| *on == other.name)
    });
    client.echo("a lease goes on");
    assert_eq!(on(), daemon.name);
    let of_daemon = format!("/api/v1/daemons/{}", daemon.name);
    assert_eq!(admin.get(&of_daemon)["state"], "drain");
    let (_, unchanged) = admin.order(&state, r#"{"state": "drain"}"#);
    assert_eq!(unchanged, "drain; leases go on until they end");
    assert_eq!(admin.ask("GET", "/readyz", "*/*", "").0, 200);

    order(&admin, &state, r#"{"state": "maint", "deadline_seconds": 0}"#);
    assert!(matches!(client.ending(), Ending::Reset(_)), "cut at the deadline");
    wait_until(DEADLINE, "nothing is left there", || {
        containers(&admin, &format!("daemon={}", daemon.name)).is_empty()
    });
    order(&admin, &state, r#"{"state": "ready"}"#);
    // Where others have most of their containers nothing goes by itself.
    let state = format!("/api/v1/daemons/{}/state", other.name);
    order(&admin, &state, r#"{"state": "drain"}"#);
    wait_until(DEADLINE, "the stock is on it again", || {
        let stock = containers(&admin, "state=ready");
        stock.len() == 2 && stock.iter().all(|(_, on)| *on == daemon.name)
    });
    assert_eq!(ganger.stop(), 0, "who was cut by order does not count");
}

#[test]
fn a_service_is_scaled_rolled_drained_and_rid_of_one_container() {
    let fleet = Fleet::shared();
    let config = Config::new("orders").daemon(fleet.hosts()[0].daemon(40));
    let config = config.fixture("echo", "warm: 1, max: 6", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_until_stocked("echo");
    let admin = AdminClient::of(config.instance());
    let service = || admin.get("/api/v1/services/echo");
    let ready = || containers(&admin, "state=ready");
    let at = |order: &str| format!("/api/v1/services/echo/{order}");

    let said = order(&admin, &at("scale"), r#"{"warm": 3}"#);
    assert_eq!(said, "warm 3, max 6, until the next reload");
    wait_until(DEADLINE, "three are ready", || ready().len() == 3);
    assert_eq!(service()["is_scaled"], true);
    assert_eq!(admin.order(&at("scale"), r#"{"warm": 9}"#).0, 409);

    let before = ready();
    let gone = before[0].0;
    order(&admin, &format!("/api/v1/containers/{gone}/retire"), "");
    wait_until(DEADLINE, "another took its place", || {
        let now = ready();
        now.len() == 3 && now.iter().all(|(launch, _)| *launch != gone)
    });

    let before = ready();
    let said = order(&admin, &at("roll"), "");
    assert_eq!(said, "rolling out generation 2");
    wait_until(DEADLINE, "all were replaced", || {
        let now = ready();
        now.len() == 3 && before.iter().all(|old| !now.contains(old))
    });
    wait_until(DEADLINE, "the rollout is over", || service()["rollout"] == Value::Null);
    assert_eq!(admin.order(&at("rollback"), "").0, 409, "there is none");

    let mut client = Client::connect(config.port("echo"));
    client.echo("before");
    order(&admin, &at("state"), r#"{"state": "drain"}"#);
    assert_eq!(admin.ask("GET", "/readyz/echo", "*/*", "").0, 503);
    assert!(matches!(Client::connect(config.port("echo")).finish(), Ending::Reset(_)));
    client.echo("a lease goes on");
    wait_until(DEADLINE, "the stock is gone", || ready().is_empty());
    order(&admin, &at("state"), r#"{"state": "ready"}"#);
    wait_until(DEADLINE, "it is back", || ready().len() == 3);

    let (status, said) = admin.order("/api/v1/reload?dry_run", "");
    assert_eq!((status, said.as_str()), (200, "would change: nothing"));
    let (status, said) = admin.order("/api/v1/reload", "");
    assert_eq!((status, said.as_str()), (200, "nothing"));
    wait_until(DEADLINE, "the file says one", || service()["target"] == 1);
    assert_eq!(service()["is_scaled"], false);

    drop(client);
    order(&admin, "/api/v1/drain", "");
    assert_eq!(ganger.wait(Duration::from_secs(60)).code(), Some(0));
    ganger.assert_nothing_left();
}
