//! The record of a connection that has ended, and those who are told of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{DaemonName, LaunchId, ServiceName};
use ganger_pool::runtime::PostMortem;

use super::end::{End, EndCode};
use super::supply::StartKind;

/// The number of a connection, which no other one of this process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A connection that has ended. Steps that it never reached are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnRecord {
    /// Its number.
    pub id: ConnId,
    /// The service that it was accepted for.
    pub service: ServiceName,
    /// The client's address.
    pub client: SocketAddr,
    /// The id of the container that served it last, as the engine gives it.
    pub container: Option<Arc<str>>,
    /// The launch of that container.
    pub launch: Option<LaunchId>,
    /// The daemon of that container.
    pub daemon: Option<DaemonName>,
    /// How its last lease was served.
    pub start: Option<StartKind>,
    /// Which lease of the container it was, and the most that a container may have.
    pub uses: Option<(u32, u32)>,
    /// How many containers were ready when that one was chosen, itself included.
    pub ready: Option<u32>,
    /// Containers that failed before their first byte, and in whose place another was asked for.
    pub replaced: u32,
    /// From accept to the first lease.
    pub wait: Option<Duration>,
    /// From accept to the lease of the container that served it last.
    pub leased: Option<Duration>,
    /// How long the first dial that succeeded took.
    pub connect: Option<Duration>,
    /// From accept to the container's first byte.
    pub first_byte: Option<Duration>,
    /// From accept to the end.
    pub total: Duration,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// Who ended it, and in which phase.
    pub end: EndCode,
    /// The cause, in words, with the container's last log lines. `None` for a normal end.
    pub reason: Option<String>,
    /// The same in parts, where something is known of the container that failed.
    pub remains: Option<Box<ContainerRemains>>,
}

/// The cause and the post-mortem of a container that failed under its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRemains {
    /// The cause, in words, without the container's log.
    pub reason: String,
    /// How the container ended, and its last log lines.
    pub post_mortem: PostMortem,
}

/// A container that failed before its first byte, in whose place another was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedContainer {
    /// The number of its connection.
    pub id: ConnId,
    /// The service.
    pub service: ServiceName,
    /// The client's address.
    pub client: SocketAddr,
    /// The container's id, as the engine gives it.
    pub container: Option<Arc<str>>,
    /// The container's launch.
    pub launch: Option<LaunchId>,
    /// The container's daemon.
    pub daemon: Option<DaemonName>,
    /// From accept to its failure.
    pub after: Duration,
    /// The end that the connection would have had.
    pub end: EndCode,
    /// The cause, in words, with the container's last log lines.
    pub reason: Option<String>,
    /// The same in parts, where something is known of the container.
    pub remains: Option<Box<ContainerRemains>>,
}

/// Receives the ends of connections: the log, metrics, a benchmark.
///
/// The threads that relay bytes call it: an implementation must not wait for anything.
pub trait Recorder: Send + Sync + 'static {
    /// A connection was let in.
    fn began(&self, id: ConnId, service: &ServiceName, client: SocketAddr) {
        _ = (id, service, client);
    }

    /// A connection has ended. Each is told once.
    fn ended(&self, record: &ConnRecord);

    /// A container failed before its first byte; its connection goes on.
    fn replaced(&self, replaced: &ReplacedContainer) {
        _ = replaced;
    }
}

// === impl ConnId ===

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ConnRecord ===

impl ConnRecord {
    /// The record of a connection that was accepted just now.
    pub(crate) fn new(id: ConnId, service: ServiceName, client: SocketAddr) -> Self {
        Self {
            id,
            service,
            client,
            container: None,
            launch: None,
            daemon: None,
            start: None,
            ready: None,
            uses: None,
            replaced: 0,
            wait: None,
            leased: None,
            connect: None,
            first_byte: None,
            total: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            end: EndCode::NORMAL,
            reason: None,
            remains: None,
        }
    }

    /// The record with its end, and the time from accept to that.
    pub(super) fn with_end(self, end: End, total: Duration) -> Self {
        let (code, reason) = (end.code, end.told());
        Self { total, end: code, reason, remains: ContainerRemains::of(end), ..self }
    }

    /// The container so far, as one that failed with this end, so long after accept.
    pub(super) fn replaced_container(&self, end: End, after: Duration) -> ReplacedContainer {
        ReplacedContainer {
            id: self.id,
            service: self.service.clone(),
            client: self.client,
            container: self.container.clone(),
            launch: self.launch,
            daemon: self.daemon.clone(),
            after,
            end: end.code,
            reason: end.told(),
            remains: ContainerRemains::of(end),
        }
    }
}

// === impl ContainerRemains ===

impl ContainerRemains {
    fn of(end: End) -> Option<Box<Self>> {
        let (reason, post_mortem) = (end.reason?, end.post_mortem?);
        Some(Box::new(Self { reason, post_mortem: *post_mortem }))
    }
}
