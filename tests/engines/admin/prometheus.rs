//! A real Prometheus scrapes a running Ganger.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ganger_test_support::{AdminClient, Client, Config, Fleet, free_port, unique, wait_until};
use serde_json::{Value, json};

use super::DEADLINE;
use crate::GANGER;

/// A Prometheus that scrapes some addresses every second.
pub(super) struct Prometheus {
    address: String,
    dir: PathBuf,
    process: Child,
}

impl Prometheus {
    /// With files of rules, by their paths.
    pub(super) fn scraping(targets: &[String], rules: &[PathBuf]) -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-prometheus"));
        fs::create_dir_all(&dir).unwrap();
        // JSON is YAML, too.
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": [
                {"job_name": "ganger", "static_configs": [{"targets": targets}]},
            ],
        });
        let config = config.to_string();
        fs::write(dir.join("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { address, dir, process }
    }

    /// The answer of a path of its API; `None` while there is none.
    pub(super) fn ask(&self, path: &str, query: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let mut curl = Command::new("curl");
        let output =
            curl.args(["-sS", "-G", "--data-urlencode"]).arg(format!("query={query}")).arg(url);
        let output = output.output().unwrap();
        let answer = serde_json::from_slice::<Value>(&output.stdout).ok()?;
        assert_ne!(answer["status"], "error", "{query}: {answer}");
        Some(answer)
    }

    /// The values of a query, by its series.
    pub(super) fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let Some(answer) = self.ask("query", query) else { return Vec::new() };
        let results = answer["data"]["result"].as_array().into_iter().flatten();
        let value = |result: &Value| result["value"][1].as_str().unwrap().parse::<f64>().unwrap();
        results.map(|result| (result["metric"].clone(), value(result))).collect()
    }

    fn value(&self, query: &str) -> Option<f64> {
        self.query(query).first().map(|(_, value)| *value)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn prometheus_reads_what_pool_and_proxy_count() {
    let fleet = Fleet::shared();
    let port = free_port();
    let config = Config::new("scraped").daemon(fleet.hosts()[0].daemon(40));
    let config = config.fixture("echo", "warm: 1, max: 4, reuse: 0", &[]);
    let config = config.with(&format!("admin: (listen: \"127.0.0.1:{port}\")"));
    let mut ganger = config.serve(GANGER, &fleet);
    ganger.wait_until_stocked("echo");
    let prometheus = Prometheus::scraping(&[format!("127.0.0.1:{port}")], &[]);
    for _ in 0..3 {
        let mut client = Client::connect(config.port("echo"));
        client.echo("hello");
    }
    let mut open = Client::connect(config.port("echo"));
    open.echo("still here");
    ganger.wait_for_ends(3);

    let is = |query: &str, wanted: f64| {
        wait_until(DEADLINE, query, || prometheus.value(query) == Some(wanted));
    };
    is("up", 1.0);
    is("ganger_connections_total{service=\"echo\"}", 4.0);
    is("ganger_connections_active", 1.0);
    is("sum(ganger_leases_total)", 4.0);
    is("sum(ganger_connection_ends_total{code=\"--\"})", 3.0);
    is("ganger_lease_wait_seconds_count", 3.0);
    is("sum(ganger_containers{state=\"leased\"})", 1.0);
    is("ganger_daemon_up", 1.0);
    // Of the one that is still there, too: "hello\n" thrice, and "still here\n".
    is("ganger_relay_bytes_total{direction=\"in\"}", 29.0);

    let admin = AdminClient::of(config.instance());
    let (_, classic) = admin.ask("GET", "/metrics", "text/plain", "");
    let dir = prometheus.dir.clone();
    let promtool = |args: &[&str], text: &str| {
        fs::write(dir.join("metrics"), text).unwrap();
        let file = fs::File::open(dir.join("metrics")).unwrap();
        let output = Command::new("promtool").args(args).stdin(file).current_dir(&dir).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}\n{text}");
    };
    promtool(&["check", "metrics"], &classic);
    // Its reader of OpenMetrics: what it reads becomes blocks.
    let (_, open_metrics) = admin.ask("GET", "/metrics", "application/openmetrics-text", "");
    assert!(open_metrics.ends_with("# EOF\n"));
    let timed = open_metrics.lines().map(|line| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("{line} 1700000000\n"),
    });
    let timed: String = timed.collect();
    promtool(&["tsdb", "create-blocks-from", "openmetrics", "metrics", "blocks"], &timed);
    drop(open);
    assert_eq!(ganger.stop(), 0);
}
