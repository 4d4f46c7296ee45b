//! The configuration: a RON file, read whole, with all its mistakes reported
//! at once.

mod admin;
mod compose;
mod consul;
mod daemon;
mod decode;
mod defaults;
mod effective;
mod fleet;
mod image;
mod include;
mod instance;
mod keys;
mod lex;
mod name;
mod quantity;
mod read;
mod ready;
mod reference;
mod register;
mod report;
mod service;
mod source_text;
mod start;
mod swarm;
mod tls;
mod tree;
mod value;
mod variables;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use admin::Admin;
pub(crate) use admin::BESIDE;
pub use daemon::ListedDaemon;
pub(crate) use decode::{Values, similar};
pub use effective::{Effective, EffectiveKey, EffectivePart, EffectiveValue, FilePlace};
pub use fleet::Daemons;
pub use image::ImageRef;
pub use name::Name;
pub(crate) use read::no_room;
pub use reference::{KeyEntry, KeyGroup, KeyReference};
pub use register::Register;
pub use report::{Remark, Report};
pub use service::Service;
use source_text::SourceText;

pub use crate::spec::{Network, Ready, Sandbox, StockedAs};
pub(crate) use quantity::time;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// As the path of a configuration: standard input.
pub const STDIN: &str = "-";

/// The configuration of a Ganger process. All values are valid, each by itself
/// and together.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where containers run.
    pub daemons: Daemons,
    /// The services, in the order of the file. Never empty.
    pub services: Vec<Service>,
    /// Where the services are registered, if they are.
    pub register: Option<Register>,
    /// The name containers are labelled with; see [`Config::instance`].
    pub instance: Option<Name>,
    /// How long running leases may go on when Ganger is told to stop; 0 cuts
    /// them at once.
    pub drain_timeout: Duration,
    /// Whether a child process is kept that removes the containers when this
    /// process is killed.
    pub guardian: bool,
    /// Settings of the log.
    pub log: Log,
    /// The admin socket and address.
    pub admin: Admin,
    /// The file for a record of each connection that has ended.
    pub access_log: Option<PathBuf>,
    /// Usable values that look wrong, or will not be right for long.
    pub warnings: Vec<Remark>,
    /// Every key with its effective value, to be shown: without secrets.
    pub effective: Effective,
    /// The value of each key at the top.
    pub(crate) values: Values,
}

/// Settings of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// Each connection has a line when it begins, too.
    pub begin: bool,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}{}", origin(path), advice(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is no text, or too much of it.
    #[error("{} is not a configuration: {why}", origin(path))]
    NotText {
        /// The file.
        path: PathBuf,
        /// Why it is no text.
        why: String,
    },
    /// No instance is named, and none can be derived.
    #[error(
        "the configuration has no `instance`, and none can be made for it: {why}. After a restart \
         its containers would not be found again: add `instance: \"NAME\"`"
    )]
    Nameless {
        /// The flaw in the machine's name, or the file's.
        why: String,
    },
    /// The file has mistakes.
    #[error(transparent)]
    Invalid(#[from] Report),
}

// === impl Config ===

impl Config {
    /// Reads a file, or standard input where the path is [`STDIN`].
    ///
    /// # Errors
    /// The file is unreadable, or all mistakes in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = match is_stdin(path) {
            true => text_from(path, Ok(io::stdin().lock())),
            false => text_of(path),
        }?;
        let dir = path.parent().unwrap_or(Path::new(""));
        Ok(Self::parse_in(dir, &text, &origin(path))?)
    }

    /// Reads text that came from `origin`, which messages name. Paths in it are
    /// relative to the current directory.
    ///
    /// # Errors
    /// All mistakes of it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Report> {
        Self::parse_in(Path::new(""), text, origin)
    }

    fn parse_in(dir: &Path, text: &str, origin: &str) -> Result<Self, Report> {
        let mut sources = SourceText::new(origin, dir, text);
        match read::config(&mut sources) {
            Ok((config, warnings)) => {
                let warnings = warnings.iter().map(|warning| warning.remark(&sources)).collect();
                Ok(Self { warnings, ..config })
            }
            Err(mistakes) => Err(Report::new(sources, mistakes)),
        }
    }

    /// A commented configuration to start from: one echo service on this
    /// machine's daemon.
    #[must_use]
    pub fn default_text() -> String {
        start::start()
    }

    /// The name that tells this process's containers from those of others: the
    /// configured one, else one of the machine's name and the file's path.
    /// The same for every start with one file on one machine.
    ///
    /// # Errors
    /// None is configured, and the machine's name does not last, or there is no file.
    pub fn instance(&self, path: &Path) -> Result<String, ConfigError> {
        match &self.instance {
            Some(name) => Ok(name.to_string()),
            None => instance::derived(path).map_err(|why| ConfigError::Nameless { why }),
        }
    }
}

/// The text of a file.
fn text_of(path: &Path) -> Result<String, ConfigError> {
    text_from(path, File::open(path))
}

fn text_from(path: &Path, from: io::Result<impl Read>) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let read = from.and_then(|from| from.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let not_text = |why: String| ConfigError::NotText { path: path.to_owned(), why };
    if bytes.len() as u64 > LARGEST {
        return Err(not_text(format!("it is larger than {} KiB", LARGEST >> 10)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        not_text(format!("byte {at} is not UTF-8 text"))
    })
}

/// Whether this stands for standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// The name in messages of a configuration from this path.
#[must_use]
pub fn origin(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "; name another with --config or GANGER_CONFIG_FILE, or write one with `ganger init`"
        }
        io::ErrorKind::PermissionDenied => "; the user Ganger runs as has to be able to read it",
        io::ErrorKind::IsADirectory => "; name a file in it",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
