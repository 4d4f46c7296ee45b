//! The dashboard, the recording rules and the alerts of deploy/, on a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ganger_test_support::{
    Authority, Client, Config, Fleet, Ganger, free_port, unique, wait_until,
};
use serde_json::Value;

use super::DEADLINE;
use super::prometheus::Prometheus;
use crate::GANGER;

/// Alerts whose expressions have a value only when something is wrong that is not done here.
const QUIET: [(&str, &str); 8] = [
    ("GangerRestarts", "the process is not killed"),
    ("GangerFileDescriptorsRunOut", "there are few connections"),
    ("GangerWaitsAreLong", "nobody waits for longer than a launch takes"),
    ("GangerQueueStuck", "likewise"),
    ("GangerNoDaemonAnswers", "one of two answers"),
    ("GangerDaemonDegraded", "the daemon that answers launches"),
    ("GangerDiscoveryFails", "the file names the daemons"),
    ("GangerFleetNearlyFull", "there is room"),
];

/// A query, and where it stands.
type Queries = BTreeMap<String, String>;

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn promtool(args: &[&str]) -> Output {
    let mut promtool = Command::new("promtool");
    promtool.args(args).current_dir(deployed("prometheus")).output().unwrap()
}

/// The queries of the dashboard, with what Grafana puts in for its variables.
fn dashboard() -> Queries {
    let text = fs::read_to_string(deployed("grafana/ganger.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(!text.contains("${DS_"), "an input that has to be filled in by hand");
    let mut queries = Queries::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            queries.insert(substituted(query), panel["title"].as_str().unwrap().to_owned());
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["definition"].as_str().unwrap();
            let inner = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (series, label) = inner.and_then(|it| it.rsplit_once(", ")).unwrap();
            let query = format!("count by ({label}) ({})", substituted(series));
            queries.insert(query, format!("variable {}", variable["name"]));
        }
    }
    assert!(queries.len() > 50, "{}", queries.len());
    queries
}

fn substituted(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "30s");
    for variable in ["instance", "service", "daemon"] {
        query = query.replace(&format!("\"${variable}\""), "\".*\"");
    }
    assert!(!query.contains('$'), "{query}");
    query
}

/// The rules that a Prometheus has loaded, as it has understood them.
fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let mut answer = None;
    wait_until(DEADLINE, "Prometheus answers", || {
        answer = prometheus.ask("rules", "");
        answer.is_some()
    });
    let answer = answer.unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Two daemons of which one does not answer; services that serve, that launch for each client, that
/// use containers again, and that fail.
fn troubled(fleet: &Fleet, port: u16) -> Config {
    let dir = std::env::temp_dir().join(unique("ganger-monitored"));
    fs::create_dir_all(&dir).unwrap();
    let authority = Authority::new("monitored");
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    authority.issue_valid(&["127.0.0.1"], -1..3).write(&dir);
    let file = |name: &str| dir.join(name).display().to_string();
    let gone = format!(
        "(name: \"gone\", url: \"tcp://127.0.0.1:{}\", max_containers: 4, \
         tls: (ca: {:?}, cert: {:?}, key: {:?}))",
        free_port(),
        file("ca.pem"),
        file("cert.pem"),
        file("key.pem"),
    );
    Config::new("monitored")
        .daemon(fleet.hosts()[0].daemon(40))
        .daemon(gone)
        .fixture("echo", "warm: 1, max: 3, reuse: 0", &[])
        .fixture("reused", "warm: 1, max: 1, reuse: 1000", &[])
        .fixture("broken", "warm: 1, max: 1", &["--exit", "1"])
        .with(&format!("admin: (listen: \"127.0.0.1:{port}\")"))
}

/// Clients of every service, two of them at once where one is in stock.
fn visit(config: &Config) {
    let mut both = [Client::connect(config.port("echo")), Client::connect(config.port("echo"))];
    both.iter_mut().for_each(|client| client.echo("hello"));
    Client::connect(config.port("reused")).echo("hello");
    _ = Client::connect(config.port("broken")).finish();
}

fn is_told(prometheus: &Prometheus, query: &str) -> bool {
    // 0 / 0 is not a number, and no panel shows it.
    prometheus.query(query).iter().any(|(_, value)| !value.is_nan())
}

fn reload(ganger: &Ganger, config: &str, said: &str) {
    ganger.reload(config);
    ganger.wait_for_line(DEADLINE, |line| line.contains(said));
}

#[test]
fn promtool_takes_rules_and_alerts_and_each_alert_is_tested() {
    let check = promtool(&["check", "rules", "rules.yml", "alerts.yml"]);
    assert!(check.status.success(), "{check:?}");
    let test = promtool(&["test", "rules", "alerts_test.yml"]);
    assert!(test.status.success(), "{test:?}");
    let dir = std::env::temp_dir().join(unique("ganger-alerts"));
    let generated = Command::new(GANGER).args(["generate", "alerts"]).output().unwrap();
    fs::write(&dir, generated.stdout).unwrap();
    let check = promtool(&["check", "rules", &dir.display().to_string()]);
    assert!(check.status.success(), "{check:?}");
    fs::remove_file(dir).unwrap();
    let read = |name: &str| fs::read_to_string(deployed("prometheus").join(name)).unwrap();
    let (alerts, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let asked = format!("- expr: 'ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}'");
        let asked: Vec<_> = tests.split(&asked).skip(1).collect();
        let is_quiet = |after: &&&str| after.lines().nth(2).unwrap().ends_with("[]");
        assert_eq!((asked.len(), asked.iter().filter(is_quiet).count()), (2, 1), "{alert}");
    }
}

#[test]
fn every_query_of_dashboard_and_rules_has_an_answer() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let port = free_port();
    let config = troubled(&fleet, port);
    let mut ganger = config.start(GANGER, &fleet);
    ganger.wait_until_stocked("echo");
    ganger.wait_until_stocked("reused");
    // Nobody listens at the other one.
    let targets = [format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", free_port())];
    let files = ["rules", "alerts"].map(|name| deployed(&format!("prometheus/{name}.yml")));
    let prometheus = Prometheus::scraping(&targets, &files);
    let (mut queries, mut alerts) = (dashboard(), BTreeSet::new());
    for rule in rules(&prometheus) {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        if rule["type"] == "alerting" {
            alerts.insert(name.to_owned());
        }
        queries.insert(query.to_owned(), name.to_owned());
    }
    let quiet: BTreeSet<_> = QUIET.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(quiet.is_subset(&alerts), "{quiet:?}");

    // A rollout that is completed, and a file that cannot be used.
    let rolled =
        config.clone().changed("reused", "warm: 1, max: 2, reuse: 1000, env: {\"A\": \"1\"}", &[]);
    reload(&ganger, &rolled.to_string(), "switched over");
    reload(&ganger, "(", "configuration");
    let deadline = Duration::from_secs(120);
    wait_until(deadline, "every query has an answer", || {
        visit(&config);
        queries.retain(|query, name| !is_told(&prometheus, query) && !quiet.contains(name));
        // Shown where the time was not enough.
        println!("yet to be answered: {queries:#?}");
        queries.is_empty()
    });
    for rule in rules(&prometheus) {
        assert_eq!(rule["health"], "ok", "{rule}");
        for alert in rule["alerts"].as_array().into_iter().flatten() {
            let texts = alert["annotations"].to_string();
            assert!(!texts.contains("<error") && !texts.contains("no value"), "{texts}");
        }
    }
    assert_eq!(ganger.stop(), 0);
}
