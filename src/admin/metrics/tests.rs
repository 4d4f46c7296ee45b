//! The metrics, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use ganger_pool::core::{Fault, Generation, GivenUp, RetireReason, Snapshot};
use ganger_pool::{EventKind, Observer, PoolEvent};
use ganger_test_support::assert_generated_part;

use super::*;
use crate::admin::ContainerCounts;
use crate::admin::tests::{sample_daemon, sample_service};
use crate::docker::{EngineObserver, EngineRequest, RequestOutcome, Step};
use crate::proxy::{ConnId, ConnRecord, Counts, Recorder, StartKind};

/// Metrics after one of everything has happened.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    metrics.ended(&ConnRecord {
        start: Some(StartKind::Cold),
        wait: Some(Duration::from_millis(300)),
        first_byte: Some(Duration::from_millis(310)),
        total: Duration::from_secs(2),
        ..ConnRecord::new(ConnId(1), "echo".into(), ([127, 0, 0, 1], 9).into())
    });
    metrics.step(&Step { name: "create", container: "c0ffee", took: Duration::from_millis(80) });
    metrics.request(&EngineRequest {
        operation: "container_create",
        outcome: RequestOutcome::Ok,
        took: Duration::from_millis(70),
    });
    let told = |number, kind| {
        let at = tokio::time::Instant::now().into_std();
        metrics.observe(&PoolEvent { number, at, kind });
    };
    let (launch, reason) = (ganger_pool::core::LaunchId(1), "no space left on device".into());
    let (service, daemon, fault) = ("echo".into(), "local".into(), Fault::Daemon);
    let error = ganger_pool::runtime::LaunchError::new(fault, "no space left on device");
    let findings = Arc::new(ganger_pool::runtime::LaunchFindings::new(&error, None));
    told(1, EventKind::LaunchFailed { launch, service, daemon, fault, reason, findings });
    let (generation, why) = (Generation(2), GivenUp::Failed);
    let (service, reason) = ("echo".into(), "it fails".into());
    told(2, EventKind::RolledBack { service, generation, why, reason });
    metrics
}

/// A reading with a value for each row.
fn reading() -> MetricsReading {
    let mut service = sample_service();
    service.totals.leases.insert(StartKind::Warm, 7);
    service.totals.refused.insert("queue_full", 1);
    service.totals.retired.insert(RetireReason::Spent, 5);
    let counts =
        Counts { accepted: 9, open: 2, bytes_in: 100, bytes_out: 200, ..Counts::default() };
    let (services, daemons) = (vec![service], vec![sample_daemon()]);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    MetricsReading {
        pool: Arc::new(Snapshot { services, daemons, draining: false }),
        containers: BTreeMap::from([(
            ("echo".into(), "local".into()),
            ContainerCounts { ready: 3, ..ContainerCounts::default() },
        )]),
        proxy: BTreeMap::from([("echo".into(), counts)]),
        connections_max: 4000,
        sources: vec![
            SourceReading {
                source: "config",
                updates: 1,
                failures: 0,
                now: Some(SourceNow { is_up: true, daemons: 4, answered: Some(at) }),
            },
            SourceReading { source: "swarm", updates: 3, failures: 7, now: None },
        ],
        reload: Some(ReloadResult { at, taken: true }),
        certificates: vec![TlsFile { path: "/etc/ganger/tls/cert.pem".into(), expires: at }],
    }
}

/// By name: type, help, labels.
fn families(text: &str) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut families = BTreeMap::<_, (String, String, BTreeSet<String>)>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            families.entry(name.to_owned()).or_default().1 = help.trim_end_matches('.').to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if !line.is_empty() {
            let series = line.split(' ').next().unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let family = families.iter_mut().rev().find(|(family, _)| {
                let rest = name.strip_prefix(family.as_str());
                rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            });
            let (_, (_, _, known)) = family.expect(line);
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
            known.extend(labels.filter(|label| *label != "le").map(str::to_owned));
        }
    }
    families
}

#[test]
fn the_reference_says_what_there_is() {
    let text = busy().encode(reading(), Exposition::Classic);
    let mut table = "| name | type | labels | |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, (kind, help, labels)) in families(&text) {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    let (root, source) = (env!("CARGO_MANIFEST_DIR"), "src/admin/metrics");
    assert_generated_part(root, "docs/metrics.md", "metrics", source, &table);
}

#[test]
fn counters_and_gauges_say_what_was_read_and_histograms_what_happened() {
    let text = busy().encode(reading(), Exposition::Classic);
    for line in [
        "ganger_connections_total{service=\"echo\"} 9",
        "ganger_connections_active{service=\"echo\"} 2",
        "ganger_connections_max 4000",
        "ganger_connections_rejected_total{service=\"echo\",reason=\"queue_full\"} 1",
        "ganger_leases_total{service=\"echo\",start=\"warm\"} 7",
        "ganger_leases_total{service=\"echo\",start=\"cold\"} 0",
        "ganger_service_enabled{service=\"echo\"} 1",
        "ganger_daemon_enabled{daemon=\"local\"} 1",
        "ganger_daemon_other_containers{daemon=\"local\"} 3",
        "ganger_relay_bytes_total{service=\"echo\",direction=\"out\"} 200",
        "ganger_containers_retired_total{service=\"echo\",reason=\"spent\"} 5",
        "ganger_containers{service=\"echo\",daemon=\"local\",state=\"ready\"} 3",
        "ganger_daemon_up{daemon=\"local\"} 0",
        "ganger_lease_wait_seconds_bucket{service=\"echo\",le=\"0.25\"} 0",
        "ganger_lease_wait_seconds_bucket{service=\"echo\",le=\"0.5\"} 1",
        "ganger_first_byte_seconds_count{service=\"echo\",start=\"cold\"} 1",
        "ganger_connection_ends_total{service=\"echo\",code=\"--\"} 1",
        "ganger_container_start_failures_total{service=\"echo\",fault=\"daemon\"} 1",
        "ganger_rollouts_total{service=\"echo\",result=\"failed\"} 1",
        "ganger_engine_request_seconds_count{op=\"container_create\",outcome=\"ok\"} 1",
        "ganger_discovery_up{source=\"config\"} 1",
        "ganger_discovery_daemons{source=\"config\"} 4",
        "ganger_discovery_updates_total{source=\"config\"} 1",
        "ganger_discovery_failures_total{source=\"config\"} 0",
        "ganger_discovery_last_success_timestamp_seconds{source=\"config\"} 1800000000",
        "ganger_discovery_failures_total{source=\"swarm\"} 7",
        "ganger_config_last_reload_success 1",
        "ganger_tls_certificate_expiry_timestamp_seconds{file=\"/etc/ganger/tls/cert.pem\"} 1800000000",
    ] {
        assert!(text.lines().any(|said| said.trim_end_matches(".0") == line), "{line}\n{text}");
    }
    let gone = "ganger_discovery_up{source=\"swarm\"}";
    assert!(!text.contains(gone), "a source that a reload has removed: {text}");
}

#[test]
fn a_reader_gets_the_text_that_it_asks_for() {
    let openmetrics = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
    assert_eq!(Exposition::accepted(Some(openmetrics)), Exposition::OpenMetrics);
    assert_eq!(Exposition::accepted(Some("text/html,*/*")), Exposition::Classic);
    assert_eq!(Exposition::accepted(None), Exposition::Classic);
    assert!(busy().encode(reading(), Exposition::OpenMetrics).ends_with("# EOF\n"));
    assert!(!busy().encode(reading(), Exposition::Classic).contains("# EOF"));
}
