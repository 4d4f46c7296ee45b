//! The log lines of connections.

use std::fmt;
use std::time::Duration;

use ganger_pool::core::short_id;

use super::record::{ConnRecord, Recorder, ReplacedContainer};

/// Writes a line to the log for each connection that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLog;

/// A value or `-`.
struct Maybe<T>(Option<T>);

/// A duration as people read it: `0.2ms`, `5.007s`.
struct Span(Duration);

// === impl AccessLog ===

impl Recorder for AccessLog {
    /// Outside of any span, whose fields it would only repeat.
    fn ended(&self, record: &ConnRecord) {
        let container = record.container.as_deref().map(short_id);
        tracing::info!(
            parent: None,
            service = %record.service,
            client = %record.client,
            container = %Maybe(container),
            daemon = %Maybe(record.daemon.as_ref()),
            start = %Maybe(record.start),
            wait = %Maybe(record.wait.map(Span)),
            connect = %Maybe(record.connect.map(Span)),
            first_byte = %Maybe(record.first_byte.map(Span)),
            total = %Span(record.total),
            "in" = %format_args!("{}B", record.bytes_in),
            out = %format_args!("{}B", record.bytes_out),
            end = %record.end,
            uses = %Maybe(record.uses.map(|(uses, most)| format!("{uses}/{most}"))),
            reason = record.reason.as_deref(),
            "conn end"
        );
    }

    fn replaced(&self, replaced: &ReplacedContainer) {
        let container = replaced.container.as_deref().map(short_id);
        tracing::info!(
            parent: None,
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

// === impl Maybe ===

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

// === impl Span ===

impl fmt::Display for Span {
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
    use super::super::record::ConnId;
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
        AccessLog.ended(&record().with_end(End::NORMAL, Duration::from_micros(5_007_400)));
        let log = capture.text();
        assert!(
            log.ends_with(
                "  INFO conn end service=echo client=192.0.2.1:4711 container=0123456789ab \
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
        AccessLog.ended(&fresh("[2001:db8::1]:4711").with_end(end, Duration::ZERO));
        let log = capture.text();
        assert!(
            log.ends_with(
                "conn end service=echo client=[2001:db8::1]:4711 container=- daemon=- start=- \
                 wait=- connect=- first_byte=- total=0.0ms in=0B out=0B end=DL uses=- \
                 reason=\"containers of this service keep failing: exited with code 3\"\n"
            ),
            "{log}"
        );
    }

    #[test]
    fn json_has_the_same_keys() {
        let (capture, _guard) = Capture::install(json);
        AccessLog.ended(&record().with_end(End::NORMAL, Duration::from_millis(3)));
        let log: serde_json::Value = serde_json::from_str(&capture.text()).unwrap();
        assert_eq!(log["message"], "conn end");
        assert_eq!(log["in"], "212B");
        assert_eq!(log["end"], "--");
        assert_eq!(log["total"], "3.0ms");
        assert_eq!(log.get("reason"), None);
    }
}
