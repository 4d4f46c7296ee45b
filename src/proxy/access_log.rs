//! The log lines of connections.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ganger_pool::core::{DaemonName, ServiceName, short_id};

use super::record::{ConnId, ConnRecord, Recorder, ReplacedContainer};

/// Writes a line to the log for each connection that ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AccessLog(pub(super) ConnLines);

/// How the lines of connections are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnLines {
    /// With numbers, and their unit in the name of the field, for machines.
    pub is_json: bool,
    /// Each connection has a line when it begins, too.
    pub begin: bool,
}

/// A value or `-`.
struct Maybe<T>(Option<T>);

/// A duration as people read it: `0.2ms`, `5.007s`.
struct ShownDuration(Duration);

// === impl AccessLog ===

/// The end line, at its level: a refused client is a warning. Outside of any span, whose fields the
/// line would only repeat.
macro_rules! conn_line {
    ($record:expr, $($fields:tt)*) => {
        if $record.end.is_refusal() {
            tracing::warn!(parent: None, $($fields)*);
        } else {
            tracing::info!(parent: None, $($fields)*);
        }
    };
}

impl Recorder for AccessLog {
    fn began(&self, id: ConnId, service: &ServiceName, client: SocketAddr) {
        if self.0.begin {
            tracing::info!(parent: None, conn = id.0, %service, %client, "conn begin");
        }
    }

    fn ended(&self, record: &ConnRecord) {
        if self.0.is_json { numbers(record) } else { text(record) }
    }

    fn replaced(&self, replaced: &ReplacedContainer) {
        let container = replaced.container.as_deref().map(short_id);
        tracing::info!(
            parent: None,
            conn = replaced.id.0,
            service = %replaced.service,
            client = %replaced.client,
            container = %Maybe(container),
            daemon = %Maybe(replaced.daemon.as_ref()),
            end = %replaced.end,
            reason = replaced.reason.as_deref(),
            "a container failed before its first byte; another is asked for"
        );
    }
}

/// For people: times and sizes with their unit, and a dash for what is missing.
fn text(record: &ConnRecord) {
    let container = record.container.as_deref().map(short_id);
    conn_line!(
        record,
        conn = record.id.0,
        service = %record.service,
        client = %record.client,
        container = %Maybe(container),
        daemon = %Maybe(record.daemon.as_ref()),
        start = %Maybe(record.start),
        wait = %Maybe(record.wait.map(ShownDuration)),
        connect = %Maybe(record.connect.map(ShownDuration)),
        first_byte = %Maybe(record.first_byte.map(ShownDuration)),
        total = %ShownDuration(record.total),
        "in" = %format_args!("{}B", record.bytes_in),
        out = %format_args!("{}B", record.bytes_out),
        end = %record.end,
        uses = %Maybe(record.uses.map(|(uses, most)| format!("{uses}/{most}"))),
        reason = record.reason.as_deref(),
        "conn end"
    );
}

/// For machines: numbers, and no field for what is missing.
fn numbers(record: &ConnRecord) {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let (uses, max_uses) = record.uses.unzip();
    conn_line!(
        record,
        conn = record.id.0,
        service = record.service.as_str(),
        client = %record.client,
        container = record.container.as_deref().map(short_id),
        daemon = record.daemon.as_ref().map(DaemonName::as_str),
        start = record.start.map(|start| start.to_string()),
        wait_seconds = seconds(record.wait),
        connect_seconds = seconds(record.connect),
        first_byte_seconds = seconds(record.first_byte),
        total_seconds = record.total.as_secs_f64(),
        in_bytes = record.bytes_in,
        out_bytes = record.bytes_out,
        end = %record.end,
        uses,
        max_uses,
        reason = record.reason.as_deref(),
        "conn end"
    );
}

// === impl Maybe ===

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

// === impl ShownDuration ===

impl fmt::Display for ShownDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{:.1}ms", self.0.as_secs_f64() * 1e3)
        } else {
            write!(f, "{:.3}s", self.0.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::end::End;
    use super::super::supply::{Refusal, StartKind};
    use super::*;
    use crate::telemetry::tests::{Capture, json, text};

    fn fresh(client: &str) -> ConnRecord {
        ConnRecord::new(ConnId(1), "echo".into(), client.parse().unwrap())
    }

    fn record() -> ConnRecord {
        ConnRecord {
            container: Some("0123456789abcdef".repeat(4).into()),
            daemon: Some("local".into()),
            start: Some(StartKind::Warm),
            uses: Some((1, 1)),
            wait: Some(Duration::from_micros(200)),
            connect: Some(Duration::from_micros(100)),
            first_byte: Some(Duration::from_micros(620)),
            bytes_in: 212,
            bytes_out: 213,
            ..fresh("192.0.2.1:4711")
        }
    }

    #[test]
    fn the_line_reads_as_documented() {
        let (capture, _guard) = Capture::install(text);
        AccessLog::default()
            .ended(&record().with_end(End::NORMAL, Duration::from_micros(5_007_400)));
        let log = capture.text();
        assert!(
            log.ends_with(
                "  INFO conn end conn=1 service=echo client=192.0.2.1:4711 container=0123456789ab \
                 daemon=local start=warm wait=0.2ms connect=0.1ms first_byte=0.6ms total=5.007s \
                 in=212B out=213B end=-- uses=1/1\n"
            ),
            "{log}"
        );
    }

    #[test]
    fn a_refusal_says_why_and_what_never_came_to_be_is_a_dash() {
        let (capture, _guard) = Capture::install(text);
        let end = Refusal::Failing { reason: "exited with code 3".into() }.into();
        AccessLog::default().ended(&fresh("[2001:db8::1]:4711").with_end(end, Duration::ZERO));
        let log = capture.text();
        assert!(
            log.ends_with(
                "  WARN conn end conn=1 service=echo client=[2001:db8::1]:4711 container=- daemon=- start=- \
                 wait=- connect=- first_byte=- total=0.0ms in=0B out=0B end=DL uses=- \
                 reason=\"containers of this service keep failing: exited with code 3\"\n"
            ),
            "{log}"
        );
    }

    #[test]
    fn json_has_numbers_with_their_unit_in_the_key() {
        let (capture, _guard) = Capture::install(json);
        let lines = AccessLog(ConnLines { is_json: true, begin: true });
        let record = record().with_end(End::NORMAL, Duration::from_millis(3));
        lines.began(record.id, &record.service, record.client);
        lines.ended(&record);
        let text = capture.text();
        let [begin, end] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        let begin: serde_json::Value = serde_json::from_str(begin).unwrap();
        assert_eq!((&begin["message"], &begin["conn"]), (&"conn begin".into(), &1.into()));
        let log: serde_json::Value = serde_json::from_str(end).unwrap();
        assert_eq!(log["message"], "conn end");
        assert_eq!((&log["in_bytes"], &log["out_bytes"]), (&212.into(), &213.into()));
        assert_eq!((&log["wait_seconds"], &log["total_seconds"]), (&0.0002.into(), &0.003.into()));
        assert_eq!((&log["uses"], &log["max_uses"]), (&1.into(), &1.into()));
        assert_eq!(log["end"], "--");
        assert_eq!(log.get("reason"), None);
    }
}
