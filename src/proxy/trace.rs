//! What is known of one connection, for whoever asks what became of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::record::{ConnRecord, ReplacedContainer};

/// What is known of a connection that is there, or has ended.
#[derive(Debug, Clone)]
pub struct SessionTrace {
    /// Its record; of one that is there, as far as it has come.
    pub record: Arc<ConnRecord>,
    /// Each time that it had to wait for a container, in order.
    pub queued: Vec<QueuePlace>,
    /// The containers that failed before their first byte, in order.
    pub replaced: Vec<ReplacedContainer>,
    /// When it ended; `None` when it is there.
    pub ended: Option<SystemTime>,
}

/// A connection's place in the queue of its service when it began to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePlace {
    /// From accept until then.
    pub after: Duration,
    /// 1 is the next to be served. Nobody was behind it yet, so that so many waited.
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
    /// It has ended just now.
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
