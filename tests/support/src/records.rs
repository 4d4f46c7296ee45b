//! The built program's records of connections that have ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

/// How many digits of a container's id are shown.
const SHORT: usize = 12;

/// The record of a connection that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnEnd(BTreeMap<String, String>);

/// The records in the file of one process, as they are written.
#[derive(Debug)]
pub(crate) struct Records {
    path: PathBuf,
    /// Up to where the file has been read.
    read: u64,
    /// The beginning of a line that is not whole yet.
    rest: Vec<u8>,
    pub(crate) ends: Vec<ConnEnd>,
}

// === impl ConnEnd ===

impl ConnEnd {
    /// # Panics
    /// When this is no record.
    fn parse(line: &str) -> Self {
        let record: BTreeMap<String, Value> = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{error} in the record {line}"));
        let text = |(name, value): (String, Value)| {
            let text = match value {
                Value::Null => "-".to_owned(),
                Value::String(id) if name == "container" => id[..SHORT.min(id.len())].to_owned(),
                Value::String(text) => text,
                Value::Array(parts) => {
                    let parts: Vec<_> = parts.iter().map(Value::to_string).collect();
                    parts.join("/")
                }
                other => other.to_string(),
            };
            (name, text)
        };
        Self(record.into_iter().map(text).collect())
    }

    /// The value of one of its fields, such as `daemon` or `end`, as the log shows it: the first
    /// digits of a container's id, `1/4` for uses, `-` for what has none.
    ///
    /// # Panics
    /// When it has no such field.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// Why the connection ended as it did; empty for a normal end.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self.field("reason") {
            "-" => "",
            reason => reason,
        }
    }
}

// === impl Records ===

impl Records {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, read: 0, rest: Vec::new(), ends: Vec::new() }
    }

    /// Reads what has come since.
    pub(crate) fn read(&mut self) {
        // There is none before the program has read its configuration.
        let Ok(mut file) = File::open(&self.path) else { return };
        file.seek(SeekFrom::Start(self.read)).expect("a position in the records");
        self.read += file.read_to_end(&mut self.rest).expect("the records") as u64;
        // The rest may end within a line, and within a letter.
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<_> = self.rest.drain(..whole).collect();
        let lines = String::from_utf8(lines).expect("text");
        self.ends.extend(lines.lines().map(ConnEnd::parse));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shows_what_the_log_shows() {
        let line = r#"{"client":"127.0.0.1:4711","container":"0123456789abcdef","daemon":null,
            "uses":[1,4],"in":12,"end":"DL","reason":"it says \"no\""}"#;
        let end = ConnEnd::parse(line);
        let shown = ["client", "container", "daemon", "uses", "in", "end"];
        assert_eq!(
            shown.map(|name| end.field(name)),
            ["127.0.0.1:4711", "0123456789ab", "-", "1/4", "12", "DL"]
        );
        assert_eq!(end.reason(), "it says \"no\"");
    }
}
