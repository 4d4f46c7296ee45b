//! The state of pool, proxy and configuration, as a scrape reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ganger_pool::core::{ServiceName, Snapshot};

use crate::admin::view::ContainerCounts;
use crate::proxy::Counts;

/// The state of pool, proxy and configuration.
#[derive(Debug, Clone, Default)]
pub struct MetricsReading {
    /// The pool, as it was a moment ago.
    pub pool: Arc<Snapshot>,
    /// Its containers, by service and daemon.
    pub containers: BTreeMap<(String, String), ContainerCounts>,
    /// The proxy, by service.
    pub proxy: BTreeMap<ServiceName, Counts>,
    /// The most connections at a time.
    pub connections_max: usize,
    /// The sources of the fleet, past or present.
    pub sources: Vec<SourceReading>,
    /// The last time that the configuration was read.
    pub reload: Option<ReloadResult>,
    /// The certificates that Ganger shows and trusts.
    pub certificates: Vec<TlsFile>,
}

/// How the configuration was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadResult {
    /// When.
    pub at: SystemTime,
    /// The new configuration is in use.
    pub taken: bool,
}

/// A source of the fleet: what it has answered since the process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReading {
    /// Its kind, in one word.
    pub source: &'static str,
    /// Answers that have changed the fleet.
    pub updates: u64,
    /// Questions that failed.
    pub failures: u64,
    /// How it is; `None` where it is not followed any more.
    pub now: Option<SourceNow>,
}

/// The state of a source that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceNow {
    /// The source answers.
    pub is_up: bool,
    /// How many daemons it names.
    pub daemons: usize,
    /// When it answered last; `None` where it never has.
    pub answered: Option<SystemTime>,
}

/// A file of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// Its path.
    pub path: PathBuf,
    /// When the first of its certificates expires.
    pub expires: SystemTime,
}
