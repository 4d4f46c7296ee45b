//! A real PostgreSQL, as `config/database.ron` has it.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use ganger_test_support::{
    ACCESS_LOG, Fleet, Ganger, POSTGRES, free_port, postgres_client, postgres_image, unique,
};

use crate::GANGER;

/// How many clients come one after the other, and how many at once. GANGER_DATABASE_CLIENTS
/// says otherwise, as `100,50`.
fn clients() -> (usize, usize) {
    let Ok(text) = std::env::var("GANGER_DATABASE_CLIENTS") else { return (20, 10) };
    let read = |text: &str| text.trim().parse().ok();
    let numbers = text.split_once(',').and_then(|(a, b)| Some((read(a)?, read(b)?)));
    numbers.unwrap_or_else(|| panic!("GANGER_DATABASE_CLIENTS is {text:?}, and not as 100,50"))
}

/// The example with its PostgreSQL alone, on a daemon of the fleet.
fn example(fleet: &Fleet, instance: &str, port: u16) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/database.ron");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let between = |start: &str, end: &str| {
        let from = text.find(start).unwrap_or_else(|| panic!("the example lacks {start}"));
        let to = text[from..].find(end).unwrap_or_else(|| panic!("the example lacks {end}"));
        text[from..from + to].to_owned()
    };
    let service = between("\"postgres\": (", "\"mariadb\": (")
        .replace("127.0.0.1:5432", &format!("127.0.0.1:{port}"))
        .replace("postgres:16", POSTGRES)
        // On a slow machine, all have to be served, and no more is asked.
        .replace("timeouts: (start: \"60s\"", "queue: (timeout: \"10m\"), timeouts: (start: \"5m\"");
    let url = fleet.local().url();
    format!(
        "#![enable(implicit_some)]\n(\n    instance: {instance:?},\n    access_log: \"{ACCESS_LOG}\",\n    daemons: Static([(name: \
         \"local\", url: {url:?}, max_containers: 24, max_launches: 2)]),\n    services: \
         {{\n{service}\n    }},\n)"
    )
}

/// The answer of `psql` to a query, through Ganger.
fn asked(port: u16) -> Result<String, String> {
    let mut psql = postgres_client("psql");
    psql.args(["--no-psqlrc", "-X", "-At", "-h", "127.0.0.1", "-p", &port.to_string()]);
    psql.args(["-U", "test", "-d", "test", "-c", "CREATE TABLE t (n int)"]);
    psql.args(["-c", "INSERT INTO t VALUES (1), (2)", "-c", "SELECT sum(n) FROM t"]);
    let output = psql.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = || Err(String::from_utf8_lossy(&output.stderr).into_owned());
    if output.status.success() { Ok(said) } else { failed() }
}

#[test]
fn every_client_of_postgres_finds_a_server_that_serves() {
    let fleet = Fleet::shared();
    fleet.local().load(postgres_image());
    let (instance, port) = (unique("database"), free_port());
    let mut ganger = Ganger::run(GANGER, &fleet, &instance, &example(&fleet, &instance, port));
    // The first comes cold, as does whoever is faster than the stock is filled.
    ganger.wait_for_line(Duration::from_secs(60), |line| line.contains("listening"));
    let (one_by_one, at_once) = clients();
    let mut answers: Vec<_> = (0..one_by_one).map(|_| asked(port)).collect();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..at_once).map(|_| scope.spawn(|| asked(port))).collect();
        answers.extend(
            clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| Err("panic".to_owned()))),
        );
    });
    let served = |answer: &&Result<String, String>| {
        answer.as_ref().is_ok_and(|said| said.lines().last() == Some("3"))
    };
    let refused: Vec<_> = answers.iter().filter(|answer| !served(answer)).collect();
    let total = answers.len();
    assert!(refused.is_empty(), "{} of {total} were not served: {refused:#?}", refused.len());
    assert_eq!(answers.len(), one_by_one + at_once);
    for end in ganger.wait_for_ends(total) {
        assert_eq!(end.field("end"), "--", "{end:?}");
    }
    assert_eq!(ganger.count("launch failed"), 0);
    assert_eq!(ganger.stop(), 0);
}
