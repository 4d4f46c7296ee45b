//! The stream of events, as it comes over the line.

use super::super::super::Failure;
use super::super::remote::Remote;
use crate::admin::Happening;
use crate::http::Lines;
use crate::legible::legible_value;

/// A stream that is followed.
pub(in crate::cli) struct EventStream(Lines);

/// An event of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct StreamedEvent {
    /// `service`, `daemon`, `about`, `happening` or `gap`.
    pub(in crate::cli) name: String,
    /// Its number, but for a gap.
    pub(in crate::cli) id: Option<u64>,
    /// As JSON.
    pub(in crate::cli) data: String,
}

// === impl EventStream ===

impl EventStream {
    /// Begins after the event of this number, or with the state of everything now.
    pub(in crate::cli) async fn open(remote: &Remote, after: Option<u64>) -> Result<Self, Failure> {
        remote.events(after).await.map(Self)
    }

    /// The next event; `None` at the end of the stream, when the process stops.
    pub(in crate::cli) async fn next(
        &mut self,
        remote: &Remote,
    ) -> Result<Option<StreamedEvent>, Failure> {
        let mut event = StreamedEvent::default();
        loop {
            let line = self.0.next().await.map_err(|error| remote.failure(&error))?;
            let Some(line) = line else { return Ok(None) };
            let line = String::from_utf8_lossy(&line);
            if event.is_whole_with(line.trim_end_matches(['\r', '\n'])) {
                return Ok(Some(event));
            }
        }
    }
}

// === impl StreamedEvent ===

impl StreamedEvent {
    /// Takes a line of the stream in. True when that was the end of an event.
    fn is_whole_with(&mut self, line: &str) -> bool {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            // A line without a field is a comment: the stream is alive.
            "" if line.is_empty() => return !self.name.is_empty(),
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = value.parse().ok(),
            "data" => self.data.push_str(value),
            _ => {}
        }
        false
    }

    /// The happening, for people, if the event is one.
    pub(in crate::cli) fn happening(&self) -> Option<Happening> {
        let data = (self.name == "happening").then_some(&self.data)?;
        serde_json::from_value(legible_value(serde_json::from_str(data).ok()?)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_lines_up_to_an_empty_one() {
        let mut event = StreamedEvent::default();
        let lines = [":", "", "id: 7", "event: service", "data: {\"a\":", "data: 1}"];
        assert!(!lines.iter().any(|line| event.is_whole_with(line)));
        assert!(event.is_whole_with(""));
        let data = "{\"a\":1}".to_owned();
        assert_eq!(event, StreamedEvent { name: "service".to_owned(), id: Some(7), data });
        assert_eq!(event.happening(), None);
    }
}
