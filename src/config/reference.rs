//! The reference of keys, for programs: the tables as data. RON has no schema language; editors
//! and generators of configurations can use this in its place.

use serde::Serialize;

use super::fleet::SOURCES;
use super::keys::{Row, Without};
use super::read::TOP_ROWS;
use super::ready::{EXCHANGE_ROWS, HEALTHCHECK_ROWS, HTTP_ROWS, LOGGED_ROWS, TCP_ROWS};
use super::register::REGISTER_ROWS;
use super::tls::TLS_ROWS;

/// The keys of `Word(…)`, for the words that `ready` takes, and of `tls: (…)`.
pub(super) const GROUPS: [(&str, &[Row]); 6] = [
    ("Tcp", TCP_ROWS),
    ("Exchange", EXCHANGE_ROWS),
    ("Http", HTTP_ROWS),
    ("Healthcheck", HEALTHCHECK_ROWS),
    ("Log", LOGGED_ROWS),
    ("tls", TLS_ROWS),
];

/// The keys of a configuration.
#[derive(Debug, Serialize)]
pub struct KeyReference {
    /// Top-level keys, each with the keys in it.
    pub keys: Vec<KeyEntry>,
    /// Keys of structs that several keys, or one of several words, take.
    pub groups: Vec<KeyGroup>,
}

/// The keys of one struct.
#[derive(Debug, Serialize)]
pub struct KeyGroup {
    /// The word before its bracket, or the key that takes it.
    pub name: &'static str,
    /// Its keys.
    pub keys: Vec<KeyEntry>,
}

/// A key.
#[derive(Debug, Serialize)]
pub struct KeyEntry {
    /// As it is written.
    pub name: &'static str,
    /// Its values, in words or by an example.
    pub takes: &'static str,
    /// Whether the file is refused without it.
    pub required: bool,
    /// The value that holds without it, as a file has it.
    pub default: Option<&'static str>,
    /// Without a default: what its absence means, in words.
    pub without: Option<&'static str>,
    /// A value of it, as a file has it.
    pub example: String,
    /// Its description in Markdown; links start in docs/.
    pub about: String,
    /// The keys of the struct that it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyEntry>,
}

/// All structs that have a table of their own, by name.
pub(super) fn groups() -> impl Iterator<Item = (&'static str, &'static [Row])> {
    let sources = SOURCES.iter().map(|source| (source.name, source.rows));
    GROUPS.into_iter().chain(sources).chain([("register", REGISTER_ROWS)])
}

// === impl KeyReference ===

impl KeyReference {
    /// The tables as data.
    #[must_use]
    pub fn new() -> Self {
        let groups = groups().map(|(name, rows)| KeyGroup { name, keys: entries(rows) });
        Self { keys: entries(TOP_ROWS), groups: groups.collect() }
    }
}

impl Default for KeyReference {
    fn default() -> Self {
        Self::new()
    }
}

// === impl KeyEntry ===

impl KeyEntry {
    fn new(row: &Row) -> Self {
        let (default, without) = match row.without {
            Without::Refused => (None, None),
            Without::Default(default) => (Some(default), None),
            Without::Nothing(what) => (None, Some(what)),
        };
        Self {
            name: row.name,
            takes: row.what,
            required: row.without == Without::Refused,
            default,
            without,
            example: row.shown(),
            about: format!("{} {}", row.about, row.more).trim_end().to_owned(),
            keys: entries(row.within),
        }
    }
}

fn entries(rows: &[Row]) -> Vec<KeyEntry> {
    rows.iter().map(KeyEntry::new).collect()
}
