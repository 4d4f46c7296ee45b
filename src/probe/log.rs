//! Readiness by a text that the container prints.

use std::time::Duration;

use futures_util::StreamExt;
use ganger_pool::probe::{NotYet, ProbeError};
use tokio::time::sleep;

use crate::docker::Container;

/// The pause before an output that broke off is read anew.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits until the container has printed `text` so many times. The text may be part of a line, or
/// cross lines; standard output and standard error are taken as one.
pub(super) async fn wait_for(
    container: &Container,
    text: &str,
    times: u32,
    not_yet: &NotYet,
) -> Result<(), ProbeError> {
    loop {
        let mut search = Search::new(text);
        match container.output() {
            Ok(mut output) => {
                while let Some(Ok(piece)) = output.next().await {
                    let before = search.found;
                    search.read(&piece.into_bytes());
                    if search.found >= times {
                        return Ok(());
                    }
                    if search.found > before {
                        not_yet.note(format!(
                            "it has logged the text {} of {times} times",
                            search.found
                        ));
                    }
                }
            }
            Err(error) => not_yet.note(error.message),
        }
        // The output ends with the container, which is noticed elsewhere.
        sleep(AGAIN).await;
    }
}

/// Counts a text in the pieces of an output, and holds no more bytes of that than the text has.
/// Matches do not overlap.
struct Search<'a> {
    text: &'a [u8],
    tail: Vec<u8>,
    found: u32,
}

// === impl Search ===

impl<'a> Search<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), tail: Vec::new(), found: 0 }
    }

    fn read(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(piece);
        let length = self.text.len();
        let mut start = 0;
        while let Some(place) =
            self.tail[start..].windows(length).position(|window| window == self.text)
        {
            self.found = self.found.saturating_add(1);
            start += place + length;
        }
        let keep = length - 1;
        self.tail.drain(..start.max(self.tail.len().saturating_sub(keep)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_text_across_pieces() {
        let mut search = Search::new("ready");
        search.read(b"starting, not rea");
        assert_eq!((search.found, search.tail.as_slice()), (0, &b" rea"[..]));
        search.read(b"dy\n");
        assert_eq!(search.found, 1);
        let mut search = Search::new("ready");
        for piece in ["rea", "d", "x"] {
            search.read(piece.as_bytes());
        }
        assert_eq!(search.found, 0);
    }

    #[test]
    fn what_was_counted_is_not_counted_again() {
        let mut search = Search::new("aba");
        search.read(b"ababa");
        assert_eq!((search.found, search.tail.as_slice()), (1, &b"ba"[..]));
        search.read(b"ba aba,aba");
        assert_eq!((search.found, search.tail.len()), (4, 0));
    }
}
