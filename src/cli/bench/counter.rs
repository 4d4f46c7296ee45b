//! The progress of a measurement, for whoever looks at the terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

/// Shows the progress where somebody looks.
pub(super) struct Counter {
    shown: bool,
    /// The unit counted, with a space behind it; nothing for connections.
    what: &'static str,
    of: Option<u64>,
    lasts: Option<Duration>,
    began: Instant,
}

// === impl Counter ===

impl Counter {
    /// Counts to a number, where there is one, and for a time.
    pub(super) fn new(what: &'static str, of: Option<u64>, lasts: Option<Duration>) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { shown, what, of, lasts, began: Instant::now() }
    }

    /// Replaces the line that it has shown.
    pub(super) fn tell(&mut self, name: &str, count: u64) {
        // Every connection would be more than a terminal keeps up with.
        if self.shown && (count < 100 || count.is_multiple_of(100)) {
            self.put(&self.line(name, count));
        }
    }

    pub(super) fn clear(&mut self) {
        if self.shown {
            self.put("");
        }
    }

    fn line(&self, name: &str, count: u64) -> String {
        let of = self.of.map_or_else(String::new, |of| format!(" of {of}"));
        let time = self.lasts.map_or_else(String::new, |lasts| {
            let (passed, lasts) = (self.began.elapsed().min(lasts).as_secs(), lasts.as_secs_f64());
            format!(", {passed} s of {lasts} s")
        });
        format!("{name}: {}{count}{of}{time}", self.what)
    }

    fn put(&mut self, text: &str) {
        let mut to = std::io::stderr().lock();
        // To the beginning of the line, and nothing after the text.
        _ = write!(to, "\r{text}\x1b[K").and_then(|()| to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_says_of_how_much() {
        let line = |what, of, lasts| Counter::new(what, of, lasts).line("warm", 3);
        assert_eq!(line("round ", Some(20), None), "warm: round 3 of 20");
        let long = Some(Duration::from_millis(1500));
        assert_eq!(line("", None, long), "warm: 3, 0 s of 1.5 s");
        assert_eq!(line("", Some(9), long), "warm: 3 of 9, 0 s of 1.5 s");
        let counter = Counter::new("", None, long);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(counter.line("x", 100), "x: 100, 1 s of 1.5 s");
    }
}
