//! What is known of one connection, for whoever asks what became of it.

use std::sync::Arc;
use std::time::SystemTime;

use super::record::{ConnRecord, ReplacedContainer};

/// What is known of a connection that is there, or has ended.
#[derive(Debug, Clone)]
pub struct SessionTrace {
    /// Its record; of one that is there, as far as it has come.
    pub record: Arc<ConnRecord>,
    /// The containers that failed before their first byte, in order.
    pub replaced: Vec<ReplacedContainer>,
    /// When it ended; `None` when it is there.
    pub ended: Option<SystemTime>,
}

/// A connection that has ended.
#[derive(Debug)]
pub(super) struct EndedSession {
    pub(super) record: Arc<ConnRecord>,
    pub(super) replaced: Vec<ReplacedContainer>,
    at: SystemTime,
}

// === impl EndedSession ===

impl EndedSession {
    /// It has ended just now.
    pub(super) fn new(record: ConnRecord) -> Self {
        Self { record: Arc::new(record), replaced: Vec::new(), at: SystemTime::now() }
    }
}

impl From<&EndedSession> for SessionTrace {
    fn from(ended: &EndedSession) -> Self {
        let (record, replaced) = (Arc::clone(&ended.record), ended.replaced.clone());
        Self { record, replaced, ended: Some(ended.at) }
    }
}
