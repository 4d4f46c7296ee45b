//! The log: set up once, text or JSON, on standard error.
//!
//! Lines are written by a thread of their own. A reader that is gone, or that
//! has stopped reading, loses them; it must not hold up anything else.

mod writer;

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use parking_lot::Mutex;
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::{self, MakeWriter};

use writer::Writer;

/// The thread that writes.
static WRITER: Mutex<Option<Writer>> = Mutex::new(None);

/// Whether to use colours, if that was set.
static COLOURED: OnceLock<bool> = OnceLock::new();

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, message, `key=value`.
    #[default]
    Text,
    /// For machines: one JSON object a line, the fields at its top level.
    Json,
}

/// Why the log cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error(
        "log filter {filter:?} is not understood: {source}; try for example \"info\" or \"ganger=debug\""
    )]
    Filter {
        /// As given.
        filter: String,
        /// The parser's error.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A word of the filter would name a target, of which everything is logged.
    #[error(
        "log filter {filter:?}: {word:?} is no level (error, warn, info, debug, trace, off) and no \
         TARGET=LEVEL; try for example \"info\" or \"ganger=debug\""
    )]
    Word {
        /// As given.
        filter: String,
        /// The word at fault.
        word: String,
    },
    /// There is no thread for it.
    #[error("the log has no thread that writes it: {0}")]
    Thread(#[from] io::Error),
    /// A log is set up already.
    #[error("the log is set up already")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Checks a filter, for verbs that log nothing.
///
/// # Errors
/// See [`TelemetryError`].
pub fn check(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

/// Sets for the whole process whether there are colours, whatever standard error is and the
/// environment asks for. Only the first call counts.
pub fn set_coloured(coloured: bool) {
    COLOURED.get_or_init(|| coloured);
}

/// The value that [`set_coloured`] set, if it was called.
#[must_use]
pub fn told_coloured() -> Option<bool> {
    COLOURED.get().copied()
}

/// Whether output to standard error is to have colours. By default it has them on a terminal,
/// unless the environment asks for none (<https://no-color.org>).
#[must_use]
pub fn is_coloured() -> bool {
    let wanted = || !wants_no_colour(env::var_os("NO_COLOR").as_deref());
    told_coloured().unwrap_or_else(|| io::stderr().is_terminal() && wanted())
}

fn wants_no_colour(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

/// Sets the log up for the whole process.
///
/// `filter` is in the language of tracing-subscriber's `EnvFilter`: a level, or
/// `target=level` pairs separated by commas.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(format: Format, filter: &str) -> Result<(), TelemetryError> {
    let parsed = parse(filter)?;
    let ansi = is_coloured();
    let writer = Writer::start(io::stderr())?;
    let lines = writer.clone();
    let subscriber = subscriber(format, parsed, ansi, move || lines.clone());
    tracing::subscriber::set_global_default(subscriber)?;
    *WRITER.lock() = Some(writer);
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    // A misspelt level, taken for a target, would silence everything.
    let plain = |word: &&str| !word.is_empty() && !word.contains(['=', '[']);
    let no_level = |word: &&str| word.parse::<LevelFilter>().is_err();
    let words = filter.split(',').map(str::trim);
    if let Some(word) = words.filter(plain).find(no_level) {
        return Err(TelemetryError::Word { filter: filter.to_owned(), word: word.to_owned() });
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })
}

/// Writes out what was logged, for at most a second; what is logged later may
/// be lost. For the end of the process.
pub fn flush() {
    if let Some(writer) = WRITER.lock().take() {
        writer.flush();
    }
}

fn subscriber<W>(
    format: Format,
    filter: EnvFilter,
    ansi: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(ansi)
        // Internal errors go to the same standard error, by a macro that panics.
        .log_internal_errors(false)
        .with_target(false);
    match format {
        Format::Text => Box::new(builder.finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use ganger_pool::testing::ask_every_subscriber;
    use parking_lot::Mutex;
    use tracing::subscriber::DefaultGuard;

    use super::*;

    /// The log of this thread.
    #[derive(Clone, Default)]
    pub(crate) struct Capture(Arc<Mutex<Vec<u8>>>);

    type Build = fn(Capture) -> Box<dyn Subscriber + Send + Sync>;

    pub(crate) fn text(capture: Capture) -> Box<dyn Subscriber + Send + Sync> {
        subscriber(Format::Text, EnvFilter::new("info"), false, move || capture.clone())
    }

    pub(crate) fn json(capture: Capture) -> Box<dyn Subscriber + Send + Sync> {
        subscriber(Format::Json, EnvFilter::new("info"), false, move || capture.clone())
    }

    impl Capture {
        /// Captures until the guard is dropped.
        pub(crate) fn install(build: Build) -> (Self, DefaultGuard) {
            ask_every_subscriber();
            let capture = Self::default();
            let guard = tracing::subscriber::set_default(build(capture.clone()));
            (capture, guard)
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl io::Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let error = init(Format::Text, "ganger=loud").unwrap_err().to_string();
        assert!(error.starts_with("log filter \"ganger=loud\" is not understood"), "{error}");
        let error = parse("ganger=debug,verbose").unwrap_err().to_string();
        assert!(error.contains("\"verbose\" is no level"), "{error}");
        for good in ["warn", "INFO,hyper=off", "ganger=debug, error", "off", "[span]=info"] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_filter_holds() {
        let (capture, _guard) = Capture::install(text);
        tracing::debug!("hidden");
        tracing::warn!(fd = 3, "shown");
        assert!(capture.text().ends_with("  WARN shown fd=3\n"), "{}", capture.text());
        assert!(!capture.text().contains("hidden"));
    }
}
