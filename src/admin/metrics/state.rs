//! The metrics that are read at the moment of a scrape, a row each.

use std::fmt;
use std::time::{Duration, SystemTime};

use ganger_pool::core::{DaemonView, ServiceView};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::happenings::start_word;
use super::reading::{MetricsReading, SourceNow, SourceReading};
use crate::proxy::{Counts, StartKind};

/// A metric that is read when it is asked for.
struct MetricRow {
    /// Its name; that of a counter without `_total`.
    name: &'static str,
    /// A counter, which only rises.
    is_counter: bool,
    /// The names of its labels.
    labels: &'static [&'static str],
    /// The help, for people.
    help: &'static str,
    read: fn(&MetricsReading, &mut RowValues<'_>),
}

/// Takes the values of a row: the values of its labels, and the number.
struct RowValues<'a> {
    told: &'a mut dyn FnMut(&[&str], f64),
}

// === impl RowValues ===

impl RowValues<'_> {
    fn add(&mut self, labels: &[&str], value: impl Into<Number>) {
        (self.told)(labels, value.into().0);
    }
}

struct Number(f64);

impl From<u64> for Number {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl From<Duration> for Number {
    fn from(value: Duration) -> Self {
        Self(value.as_secs_f64())
    }
}

impl From<SystemTime> for Number {
    fn from(value: SystemTime) -> Self {
        let since = value.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs_f64())
    }
}

const SERVICE: &[&str] = &["service"];
const DAEMON: &[&str] = &["daemon"];
const SOURCE: &[&str] = &["source"];

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&MetricsReading, &mut RowValues<'_>),
) -> MetricRow {
    MetricRow { name, is_counter: true, labels, help, read }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&MetricsReading, &mut RowValues<'_>),
) -> MetricRow {
    MetricRow { name, is_counter: false, labels, help, read }
}

fn by_service(
    reading: &MetricsReading,
    series: &mut RowValues<'_>,
    of: impl Fn(&ServiceView) -> Number,
) {
    for service in &reading.pool.services {
        series.add(&[service.name.as_str()], of(service));
    }
}

fn by_daemon(
    reading: &MetricsReading,
    series: &mut RowValues<'_>,
    of: impl Fn(&DaemonView) -> Number,
) {
    for daemon in &reading.pool.daemons {
        series.add(&[daemon.name.as_str()], of(daemon));
    }
}

/// Of sources that are followed.
fn by_source(
    reading: &MetricsReading,
    series: &mut RowValues<'_>,
    of: impl Fn(&SourceNow) -> Option<Number>,
) {
    for SourceReading { source, now, .. } in &reading.sources {
        if let Some(value) = now.as_ref().and_then(&of) {
            series.add(&[source], value);
        }
    }
}

fn by_proxy(reading: &MetricsReading, series: &mut RowValues<'_>, of: impl Fn(&Counts) -> u64) {
    for (service, counts) in &reading.proxy {
        series.add(&[service.as_str()], of(counts));
    }
}

static ROWS: &[MetricRow] = &[
    gauge("ganger_build_info", &["version"], "Always 1; the program", |_, series| {
        series.add(&[env!("CARGO_PKG_VERSION")], true);
    }),
    counter(
        "ganger_connections",
        SERVICE,
        "Connections accepted, whether refused later or not",
        |r, s| {
            by_proxy(r, s, |counts| counts.accepted);
        },
    ),
    gauge(
        "ganger_connections_active",
        SERVICE,
        "Connections there now, waiting or served",
        |r, s| {
            by_proxy(r, s, |counts| counts.open);
        },
    ),
    gauge(
        "ganger_connections_max",
        &[],
        "The most connections at a time, of all services together: what the limit on open files leaves",
        |r, s| s.add(&[], r.connections_max as u64),
    ),
    counter(
        "ganger_connections_rejected",
        &["service", "reason"],
        "Connections that got no container, by reason",
        |r, s| {
            for service in &r.pool.services {
                for (reason, count) in &service.totals.refused {
                    s.add(&[service.name.as_str(), reason], *count);
                }
            }
            for (service, counts) in &r.proxy {
                s.add(&[service.as_str(), "resources"], counts.turned_away);
            }
        },
    ),
    counter(
        "ganger_relay_bytes",
        &["service", "direction"],
        "Bytes moved, of connections that are there too: in is from clients, out is to them",
        |r, s| {
            for (service, counts) in &r.proxy {
                s.add(&[service.as_str(), "in"], counts.bytes_in);
                s.add(&[service.as_str(), "out"], counts.bytes_out);
            }
        },
    ),
    counter(
        "ganger_failovers",
        SERVICE,
        "Containers that failed before their first byte and were replaced",
        |r, s| by_proxy(r, s, |counts| counts.failovers),
    ),
    counter(
        "ganger_leases",
        &["service", "start"],
        "Leases given, by how they were served: warm, reused or cold",
        |r, s| {
            for service in &r.pool.services {
                // Zeros are written, too: a share of an absent series is absent.
                for start in [StartKind::Warm, StartKind::Reused, StartKind::Cold] {
                    let count = service.totals.leases.get(&start).copied().unwrap_or_default();
                    s.add(&[service.name.as_str(), start_word(start)], count);
                }
            }
        },
    ),
    gauge("ganger_queue_length", SERVICE, "Connections that wait for a container", |r, s| {
        by_service(r, s, |service| service.waiting.into());
    }),
    gauge(
        "ganger_queue_oldest_seconds",
        SERVICE,
        "How long the first of those has been waiting; 0 where nobody waits",
        |r, s| {
            let now = tokio::time::Instant::now().into_std();
            by_service(r, s, |service| {
                let waited = service.oldest_wait.map(|since| now.saturating_duration_since(since));
                waited.unwrap_or_default().into()
            });
        },
    ),
    counter("ganger_waits", SERVICE, "Clients that had to wait for a container", |r, s| {
        by_service(r, s, |service| service.totals.waited.into());
    }),
    counter("ganger_queue_abandoned", SERVICE, "Clients that left while they waited", |r, s| {
        by_service(r, s, |service| service.totals.abandoned.into());
    }),
    gauge(
        "ganger_containers",
        &["service", "daemon", "state"],
        "Containers by state; all count against capacity",
        |r, s| {
            for ((service, daemon), counts) in &r.containers {
                for (state, count) in counts.by_word() {
                    s.add(&[service, daemon, state], count);
                }
            }
        },
    ),
    gauge("ganger_stock_target", SERVICE, "Ready containers that are to be kept", |r, s| {
        by_service(r, s, |service| service.warm.into());
    }),
    gauge("ganger_service_max", SERVICE, "The most containers that a service may have", |r, s| {
        by_service(r, s, |service| service.max.into());
    }),
    gauge(
        "ganger_service_serving",
        SERVICE,
        "1 where clients are served, 0 where they are refused, as far as is known",
        |r, s| {
            // A service that is being removed has no value: its listening socket is closed.
            for service in r.pool.services.iter().filter(|service| !service.leaving) {
                s.add(&[service.name.as_str()], service.refusing.is_none());
            }
        },
    ),
    gauge(
        "ganger_service_enabled",
        SERVICE,
        "0 where the operator has a service drained, 1 elsewhere",
        |r, s| by_service(r, s, |service| service.admin.is_ready().into()),
    ),
    counter("ganger_launches", SERVICE, "Launches ordered", |r, s| {
        by_service(r, s, |service| service.totals.launched.into());
    }),
    counter("ganger_hedges", SERVICE, "Launches ordered because another took too long", |r, s| {
        by_service(r, s, |service| service.totals.hedged.into());
    }),
    counter(
        "ganger_containers_retired",
        &["service", "reason"],
        "Containers whose removal has begun, by reason",
        |r, s| {
            for service in &r.pool.services {
                for (reason, count) in &service.totals.retired {
                    s.add(&[service.name.as_str(), &reason.to_string()], *count);
                }
            }
        },
    ),
    gauge("ganger_daemon_up", DAEMON, "1 where a daemon answers and was listed", |r, s| {
        by_daemon(r, s, |daemon| (daemon.down.is_none() && daemon.listed).into());
    }),
    gauge(
        "ganger_daemon_enabled",
        DAEMON,
        "0 where the operator has a daemon drained or works on it, 1 elsewhere",
        |r, s| by_daemon(r, s, |daemon| daemon.admin.is_ready().into()),
    ),
    gauge(
        "ganger_daemon_degraded",
        DAEMON,
        "1 where launches fail by the daemon's fault",
        |r, s| {
            by_daemon(r, s, |daemon| daemon.degraded.is_some().into());
        },
    ),
    gauge(
        "ganger_daemon_capacity",
        DAEMON,
        "The most containers that a daemon may hold",
        |r, s| {
            by_daemon(r, s, |daemon| daemon.capacity.into());
        },
    ),
    gauge("ganger_daemon_containers", DAEMON, "Containers of this instance on a daemon", |r, s| {
        by_daemon(r, s, |daemon| daemon.held().into());
    }),
    gauge(
        "ganger_daemon_other_containers",
        DAEMON,
        "Containers of other instances, which share the capacity of a daemon",
        |r, s| by_daemon(r, s, |daemon| daemon.others.into()),
    ),
    gauge("ganger_daemon_launches", DAEMON, "Launches that are under way on a daemon", |r, s| {
        by_daemon(r, s, |daemon| daemon.in_flight.into());
    }),
    gauge(
        "ganger_daemon_launch_limit",
        DAEMON,
        "The most launches at a time on a daemon, as far as was learnt",
        |r, s| by_daemon(r, s, |daemon| daemon.launch_limit.into()),
    ),
    gauge(
        "ganger_discovery_up",
        SOURCE,
        "1 while all who are asked for the daemons answer, 0 from the first time that one does not",
        |r, s| by_source(r, s, |now| Some(now.is_up.into())),
    ),
    gauge("ganger_discovery_daemons", SOURCE, "Daemons that a source names now", |r, s| {
        by_source(r, s, |now| Some((now.daemons as u64).into()));
    }),
    counter(
        "ganger_discovery_updates",
        SOURCE,
        "Answers of a source that have changed the fleet",
        |r, s| r.sources.iter().for_each(|it| s.add(&[it.source], it.updates)),
    ),
    counter(
        "ganger_discovery_failures",
        SOURCE,
        "Questions to a source that have failed",
        |r, s| r.sources.iter().for_each(|it| s.add(&[it.source], it.failures)),
    ),
    gauge(
        "ganger_discovery_last_success_timestamp_seconds",
        SOURCE,
        "When a source answered last, or the file was read that names the daemons",
        |r, s| by_source(r, s, |now| now.answered.map(Into::into)),
    ),
    gauge(
        "ganger_config_last_reload_success",
        &[],
        "1 if the configuration read last is used",
        |r, s| {
            if let Some(reload) = r.reload {
                s.add(&[], reload.taken);
            }
        },
    ),
    gauge(
        "ganger_config_last_reload_timestamp_seconds",
        &[],
        "When the configuration was read last",
        |r, s| {
            if let Some(reload) = r.reload {
                s.add(&[], reload.at);
            }
        },
    ),
    gauge(
        "ganger_tls_certificate_expiry_timestamp_seconds",
        &["file"],
        "When the first certificate of a file expires, since the epoch",
        |r, s| {
            for file in &r.certificates {
                s.add(&[&file.path.to_string_lossy()], file.expires);
            }
        },
    ),
];

/// Writes all rows.
pub(super) fn encode(reading: &MetricsReading, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    ROWS.iter().try_for_each(|row| row.encode(reading, encoder))
}

// === impl MetricRow ===

impl MetricRow {
    fn encode(&self, reading: &MetricsReading, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = if self.is_counter { MetricType::Counter } else { MetricType::Gauge };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        let mut written = Ok(());
        let mut told = |values: &[&str], value: f64| {
            let labels: Vec<_> = self.labels.iter().copied().zip(values.iter().copied()).collect();
            let series = metric.encode_family(&labels);
            let encoded = series.and_then(|mut series| match self.is_counter {
                true => series.encode_counter(&value, None::<&Exemplar<Vec<(&str, &str)>, f64>>),
                false => series.encode_gauge(&value),
            });
            if written.is_ok() {
                written = encoded;
            }
        };
        (self.read)(reading, &mut RowValues { told: &mut told });
        written
    }
}
