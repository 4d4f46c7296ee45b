//! The client's bytes before the container's first one, kept to be sent to another container.

/// The client's bytes so far, up to a limit.
#[derive(Debug)]
pub(super) struct Record {
    bytes: Vec<u8>,
    /// The most bytes to keep. Past it the record is worthless and is dropped.
    limit: usize,
    /// Whether `bytes` is all that the client sent.
    whole: bool,
}

// === impl Record ===

impl Record {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, whole: true }
    }

    /// Adds bytes of the client.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.whole {
            return;
        }
        if self.bytes.len() + bytes.len() > self.limit {
            self.drop_it();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Gives the memory back: there will be no replay.
    pub(super) fn drop_it(&mut self) {
        self.bytes = Vec::new();
        self.whole = false;
    }

    /// All that the client sent, or `None` when that is no longer known.
    pub(super) fn replay(&self) -> Option<&[u8]> {
        self.whole.then_some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_up_to_the_limit_and_nothing_past_it() {
        let mut record = Record::new(5);
        record.push(b"abc");
        record.push(b"de");
        assert_eq!(record.replay(), Some(&b"abcde"[..]));
        record.push(b"f");
        assert_eq!(record.replay(), None);
        assert_eq!(record.bytes.capacity(), 0);
        record.push(b"a");
        assert_eq!(record.replay(), None, "a record with a hole is never whole again");
    }

    #[test]
    fn nothing_sent_can_be_replayed_without_any_room() {
        assert_eq!(Record::new(0).replay(), Some(&b""[..]));
    }
}
