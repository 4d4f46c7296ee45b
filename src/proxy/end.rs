//! How connections end: the two-letter code and the log line.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ganger_pool::core::{DaemonName, ServiceName, short_id};

use super::supply::{Refusal, StartKind};

/// Who ended a connection, and in which phase, after HAProxy. Displays as two letters.
///
/// | code | what happened | the client sees |
/// | --- | --- | --- |
/// | `--` | both sides ended their direction, or the container exited with code 0 | end |
/// | `RQ` | the connection cap is reached | reset |
/// | `PQ` | the queue is full, or the wait in it was too long | reset |
/// | `DQ` | no daemon can launch a container | reset |
/// | `DL` | the service's containers keep failing | reset |
/// | `KQ` | draining: no new leases; or the operator cut it while it waited | reset |
/// | `IQ` | the pool does not know the service | reset |
/// | `CQ` `CC` | the client left before it had a container; before it had another one | - |
/// | `SC` `sC` | no container took the connection; not in time | reset |
/// | `RC` | this machine lacked descriptors, memory or local ports for it | reset |
/// | `IC` `ID` | an error in Ganger | reset |
/// | `KC` | the operator cut it while connecting | reset |
/// | `CD` | the client reset the connection | - |
/// | `cD` | idle, the client does not send or read; or it vanished | reset |
/// | `SD` | the container reset the connection | reset, after all its bytes |
/// | `sD` | idle, the container does not read; no first byte in time; or it vanished | reset |
/// | `DD` | the container died | reset, after all its bytes |
/// | `PD` | the session time-out | reset |
/// | `KD` | the operator cut it | reset |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndCode {
    /// Who.
    pub who: Who,
    /// When.
    pub phase: Phase,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Nobody in particular: a normal end.
    Nobody,
    /// `C`: the client.
    Client,
    /// `c`: a time-out, waiting for the client.
    ClientTimeout,
    /// `S`: the container.
    Container,
    /// `s`: a time-out, waiting for the container.
    ContainerTimeout,
    /// `P`: a limit of the proxy.
    Limit,
    /// `D`: the death of a container or daemon.
    Death,
    /// `K`: the operator.
    Operator,
    /// `R`: lack of resources.
    Resources,
    /// `I`: an error in Ganger.
    Internal,
}

/// In which phase a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// `Q`: waiting for a container.
    Queue,
    /// `L`: its container was being launched.
    Launch,
    /// `C`: connecting to the container.
    Connect,
    /// `D`: moving data.
    Data,
    /// `-`: done.
    Done,
}

/// How one connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: EndCode,
    /// What happened, in words. None for a normal end.
    pub(super) reason: Option<String>,
}

/// What is logged about one connection. What never came to be is `-`.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) service: ServiceName,
    pub(super) client: SocketAddr,
    /// The container's id, or as much of it as is shown.
    pub(super) container: Option<String>,
    pub(super) daemon: Option<DaemonName>,
    pub(super) start: Option<StartKind>,
    /// This lease of the container, and the most that it may have.
    pub(super) uses: Option<(u32, u32)>,
    /// From accept to the first lease.
    pub(super) wait: Option<Duration>,
    /// From the first dial to the first that was taken.
    pub(super) connect: Option<Duration>,
    /// From accept to the container's first byte.
    pub(super) first_byte: Option<Duration>,
    /// From the client.
    pub(super) bytes_in: u64,
    /// To the client.
    pub(super) bytes_out: u64,
}

/// What is logged about a container that failed, when another is asked for in its place.
#[derive(Debug)]
pub(super) struct Failure {
    service: ServiceName,
    client: SocketAddr,
    container: Option<String>,
    daemon: Option<DaemonName>,
}

/// A value or `-`.
struct Maybe<T>(Option<T>);

/// A duration as people read it: `0.2ms`, `5.007s`.
struct Span(Duration);

// === impl EndCode ===

impl EndCode {
    /// A normal end.
    pub const NORMAL: Self = Self::new(Who::Nobody, Phase::Done);

    pub(super) const fn new(who: Who, phase: Phase) -> Self {
        Self { who, phase }
    }
}

impl fmt::Display for EndCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Nobody => "-",
            Who::Client => "C",
            Who::ClientTimeout => "c",
            Who::Container => "S",
            Who::ContainerTimeout => "s",
            Who::Limit => "P",
            Who::Death => "D",
            Who::Operator => "K",
            Who::Resources => "R",
            Who::Internal => "I",
        };
        let phase = match self.phase {
            Phase::Queue => "Q",
            Phase::Launch => "L",
            Phase::Connect => "C",
            Phase::Data => "D",
            Phase::Done => "-",
        };
        write!(f, "{who}{phase}")
    }
}

// === impl End ===

impl End {
    pub(super) const NORMAL: Self = Self { code: EndCode::NORMAL, reason: None };

    pub(super) fn new(who: Who, phase: Phase, reason: impl Into<String>) -> Self {
        Self { code: EndCode::new(who, phase), reason: Some(reason.into()) }
    }

    pub(super) fn is_normal(&self) -> bool {
        self.code == EndCode::NORMAL
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        let (who, phase) = match &refusal {
            Refusal::QueueFull | Refusal::TimedOut { .. } => (Who::Limit, Phase::Queue),
            Refusal::Failing { .. } => (Who::Death, Phase::Launch),
            Refusal::NoDaemon { .. } => (Who::Death, Phase::Queue),
            Refusal::Draining => (Who::Operator, Phase::Queue),
            Refusal::UnknownService => (Who::Internal, Phase::Queue),
        };
        Self::new(who, phase, refusal.to_string())
    }
}

// === impl Line ===

impl Line {
    pub(super) fn new(service: ServiceName, client: SocketAddr) -> Self {
        Self {
            service,
            client,
            container: None,
            daemon: None,
            start: None,
            uses: None,
            wait: None,
            connect: None,
            first_byte: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// What there is to be said of the container that it has had so far.
    pub(super) fn failure(&self) -> Failure {
        Failure {
            service: self.service.clone(),
            client: self.client,
            container: self.container.clone(),
            daemon: self.daemon.clone(),
        }
    }

    /// Writes it. Outside of any span, whose fields it would only repeat.
    pub(super) fn log(&self, end: &End, total: Duration) {
        let container = self.container.as_deref().map(short_id);
        tracing::info!(
            parent: None,
            service = %self.service,
            client = %self.client,
            container = %Maybe(container),
            daemon = %Maybe(self.daemon.as_ref()),
            start = %Maybe(self.start),
            wait = %Maybe(self.wait.map(Span)),
            connect = %Maybe(self.connect.map(Span)),
            first_byte = %Maybe(self.first_byte.map(Span)),
            total = %Span(total),
            "in" = %format_args!("{}B", self.bytes_in),
            out = %format_args!("{}B", self.bytes_out),
            end = %end.code,
            uses = %Maybe(self.uses.map(|(uses, most)| format!("{uses}/{most}"))),
            reason = end.reason.as_deref(),
            "conn end"
        );
    }
}

// === impl Failure ===

impl Failure {
    /// Writes it.
    pub(super) fn log(&self, end: &End) {
        let container = self.container.as_deref().map(short_id);
        tracing::info!(
            parent: None,
            service = %self.service,
            client = %self.client,
            container = %Maybe(container),
            daemon = %Maybe(self.daemon.as_ref()),
            end = %end.code,
            reason = end.reason.as_deref(),
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
    use super::*;
    use crate::telemetry::tests::{Capture, json, text};

    fn line() -> Line {
        Line {
            container: Some("0123456789abcdef".repeat(4)),
            daemon: Some("local".into()),
            start: Some(StartKind::Warm),
            uses: Some((1, 1)),
            wait: Some(Duration::from_micros(200)),
            connect: Some(Duration::from_micros(100)),
            first_byte: Some(Duration::from_micros(620)),
            bytes_in: 212,
            bytes_out: 213,
            ..Line::new("echo".into(), "192.0.2.1:4711".parse().unwrap())
        }
    }

    #[test]
    fn the_line_reads_as_documented() {
        let (capture, _guard) = Capture::install(text);
        line().log(&End::NORMAL, Duration::from_micros(5_007_400));
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
        Line::new("echo".into(), "[2001:db8::1]:4711".parse().unwrap()).log(&end, Duration::ZERO);
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
        line().log(&End::NORMAL, Duration::from_millis(3));
        let log: serde_json::Value = serde_json::from_str(&capture.text()).unwrap();
        assert_eq!(log["message"], "conn end");
        assert_eq!(log["in"], "212B");
        assert_eq!(log["end"], "--");
        assert_eq!(log["total"], "3.0ms");
        assert_eq!(log.get("reason"), None);
    }

    #[test]
    fn refusals_map_to_their_codes() {
        let code = |refusal: Refusal| End::from(refusal).code.to_string();
        assert_eq!(code(Refusal::QueueFull), "PQ");
        assert_eq!(code(Refusal::TimedOut { reason: None }), "PQ");
        assert_eq!(code(Refusal::Failing { reason: "".into() }), "DL");
        assert_eq!(code(Refusal::NoDaemon { reason: "".into() }), "DQ");
        assert_eq!(code(Refusal::Draining), "KQ");
        assert_eq!(code(Refusal::UnknownService), "IQ");
    }
}
