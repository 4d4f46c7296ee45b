//! Readiness by a text in the log.

use std::time::Duration;

use futures_util::StreamExt;
use ganger_pool::probe::ProbeError;
use tokio::time::sleep;

use crate::docker::Container;

/// How long to wait before a log that broke off is followed anew.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits until the container logs `text`. It may be part of a line, or cross
/// lines; what comes from standard output and standard error is one log.
pub(super) async fn wait_for(container: &Container, text: &str) -> Result<(), ProbeError> {
    loop {
        let mut search = Search::new(text);
        match container.follow_log() {
            Ok(log) => {
                let mut log = std::pin::pin!(log);
                while let Some(Ok(piece)) = log.next().await {
                    if search.found_in(&piece.into_bytes()) {
                        return Ok(());
                    }
                }
            }
            Err(error) => tracing::debug!(error = error.to_string(), "cannot follow the log"),
        }
        // The log ends with the container, which is noticed elsewhere.
        sleep(AGAIN).await;
    }
}

/// Looks for a text in pieces of a log, and holds no more of it than the text is long.
struct Search<'a> {
    text: &'a [u8],
    tail: Vec<u8>,
}

// === impl Search ===

impl<'a> Search<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), tail: Vec::new() }
    }

    fn found_in(&mut self, piece: &[u8]) -> bool {
        if self.text.is_empty() {
            return true;
        }
        self.tail.extend_from_slice(piece);
        if self.tail.windows(self.text.len()).any(|window| window == self.text) {
            return true;
        }
        let keep = self.text.len() - 1;
        let excess = self.tail.len().saturating_sub(keep);
        self.tail.drain(..excess);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_text_across_pieces() {
        let mut search = Search::new("ready");
        assert!(!search.found_in(b"starting, not rea"));
        assert_eq!(search.tail, b" rea");
        assert!(search.found_in(b"dy\n"));
        let mut search = Search::new("ready");
        assert!(!search.found_in(b"rea") && !search.found_in(b"d") && !search.found_in(b"x"));
    }
}
