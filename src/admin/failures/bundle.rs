//! The details of a failure, as they go over the wire.

use std::fmt;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::query::ListItem;
use crate::spec::Limits;

/// What is known of a failure. What happened in the same way in a row is one of them: then all but
/// `first_at` and `count` is of the last time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailureBundle {
    /// Its number: later failures have larger ones.
    pub id: u64,
    /// When it happened last, as RFC 3339 says it.
    pub at: String,
    /// When it happened first.
    pub first_at: String,
    /// How often it happened.
    pub count: u64,
    /// The service.
    pub service: String,
    /// The daemon, where one had been chosen.
    pub daemon: Option<String>,
    /// The number of the container's launch.
    pub launch: Option<u64>,
    /// The first 12 digits of the engine's id of the container, if there was one.
    pub container: Option<String>,
    /// What was being done.
    pub phase: FailurePhase,
    /// Who is at fault, where that is known: `service`, `daemon`, `unprepared` or `unwanted`, as in
    /// the metric `ganger_container_start_failures_total`.
    pub fault: Option<String>,
    /// The two letters of the connection's end, of a lease.
    pub end: Option<String>,
    /// What went wrong, in words: those of the engine, where it has said something.
    pub error: String,
    /// The exit code of the container's process, if that had ended.
    pub exit_code: Option<i64>,
    /// The kernel killed a process of the container for memory.
    pub out_of_memory: bool,
    /// What the container had logged last, oldest first: a few lines, cut to size.
    pub log: Vec<String>,
    /// The setting, or the part of the daemon, to look at.
    pub hint: Option<String>,
    /// What containers of the service were allowed to use, as it was configured then.
    pub limits: Option<FailureLimits>,
}

/// What was being done when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailurePhase {
    /// A daemon was made fit to launch the service: its image was fetched, and looked for what else the
    /// service needs there.
    Pull,
    /// A container was created, with what it needs beside it.
    Create,
    /// It was started.
    Start,
    /// It was waited for until it could serve.
    Ready,
    /// It was in stock.
    Stock,
    /// A client wanted a container, or had it.
    Lease,
}

/// What a container may use. What is `null` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailureLimits {
    /// Bytes of memory, without any swap.
    pub memory_bytes: Option<u64>,
    /// Processors, in parts.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

// === impl FailureBundle ===

impl FailureBundle {
    /// A failure that happened once, of which nothing else is known yet.
    pub(super) fn new(phase: FailurePhase, service: String, error: String) -> Self {
        Self {
            id: 0,
            at: String::new(),
            first_at: String::new(),
            count: 1,
            service,
            daemon: None,
            launch: None,
            container: None,
            phase,
            fault: None,
            end: None,
            error,
            exit_code: None,
            out_of_memory: false,
            log: Vec::new(),
            hint: None,
            limits: None,
        }
    }

    /// Whether it happened at the same place: what failed there between them, the other has seen.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        (&self.service, &self.daemon, self.phase) == (&other.service, &other.daemon, other.phase)
    }

    /// Whether the same happened again.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let how = |it: &Self| (it.exit_code, it.out_of_memory);
        self.is_beside(other)
            && how(self) == how(other)
            && (&self.fault, &self.end, &self.error) == (&other.fault, &other.end, &other.error)
    }
}

impl ListItem for FailureBundle {
    fn key(&self) -> String {
        format!("{:020}", self.id)
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn daemon(&self) -> Option<&str> {
        self.daemon.as_deref()
    }

    fn state(&self) -> Option<String> {
        Some(self.phase.to_string())
    }
}

// === impl FailurePhase ===

impl fmt::Display for FailurePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Start => "start",
            Self::Ready => "ready",
            Self::Stock => "stock",
            Self::Lease => "lease",
        })
    }
}

// === impl FailureLimits ===

impl fmt::Display for FailureLimits {
    /// The limits that are set: `memory 64.0 MiB, pids 32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_bytes, cpus, pids } = self;
        let said = [
            memory_bytes.map(|bytes| format!("memory {}", ByteSize(bytes).display().iec())),
            cpus.map(|cpus| format!("cpus {cpus}")),
            pids.map(|pids| format!("pids {pids}")),
        ];
        f.pad(&said.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl From<&Limits> for FailureLimits {
    fn from(limits: &Limits) -> Self {
        let Limits { memory, cpus, pids, .. } = *limits;
        Self { memory_bytes: memory, cpus, pids }
    }
}
