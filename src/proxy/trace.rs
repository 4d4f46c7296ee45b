//! The known history of one connection, for those who ask what became of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::record::{ConnRecord, ReplacedContainer};

/// The known history of a connection that is open, or has ended.
#[derive(Debug, Clone)]
pub struct SessionTrace {
    /// Its record; of an open connection, the record so far.
    pub record: Arc<ConnRecord>,
    /// Its waits for a container, in order.
    pub queued: Vec<QueuePlace>,
    /// The containers that failed before their first byte, in order.
    pub replaced: Vec<ReplacedContainer>,
    /// When it ended; `None` while it is open.
    pub ended: Option<SystemTime>,
}

/// A connection's place in the queue of its service when it began to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePlace {
    /// From accept until then.
    pub after: Duration,
    /// 1 is the next to be served. Also how many waited: nobody was behind it yet.
    pub place: u32,
}

/// A connection that has ended.
#[derive(Debug)]
pub(super) struct EndedSession {
    pub(super) record: Arc<ConnRecord>,
    pub(super) queued: Vec<QueuePlace>,
    pub(super) replaced: Vec<ReplacedContainer>,
    at: SystemTime,
}

// === impl EndedSession ===

impl EndedSession {
    /// A session that has ended just now.
    pub(super) fn new(record: ConnRecord) -> Self {
        let (queued, replaced) = Default::default();
        Self { record: Arc::new(record), queued, replaced, at: SystemTime::now() }
    }
}

impl From<&EndedSession> for SessionTrace {
    fn from(ended: &EndedSession) -> Self {
        let (record, replaced) = (Arc::clone(&ended.record), ended.replaced.clone());
        Self { record, queued: ended.queued.clone(), replaced, ended: Some(ended.at) }
    }
}
