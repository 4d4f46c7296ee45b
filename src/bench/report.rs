//! The results, as plain data: written as JSON, and read again. The format is described in
//! docs/bench.md.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{is_stdin, origin};

/// The version of the format, raised when a reader of the old one would misread the new.
pub const SCHEMA: u32 = 1;

/// All that one call has measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program and its version.
    pub program: String,
    /// The command line, without the program.
    pub command: Vec<String>,
    /// When it began, in UTC, by RFC 3339.
    pub began: String,
    /// Where it ran.
    pub machine: Machine,
    /// The target of the connections, and the exchange.
    pub subject: String,
    /// The points of the sweep; a single one without a sweep.
    pub points: Vec<Point>,
    /// Points that could not be measured, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// How many containers can be launched and removed, by how many clients at a time ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refill: Vec<Point>,
}

/// The machine that clients, and Ganger, ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its processors, as far as this process may use them.
    pub cpus: usize,
    /// The kernel, by its release.
    pub kernel: String,
    /// The load average over the minute before.
    pub load: f64,
    /// The engine and its version, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// The results under one set of circumstances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The values that distinguish it from others, such as `concurrency` to `4`.
    #[serde(default)]
    pub at: IndexMap<String, String>,
    /// A series for each kind of start.
    pub series: Vec<Series>,
    /// The steps of a cold start, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Series>,
}

/// A point that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// As [`Point::at`].
    pub at: IndexMap<String, String>,
    /// Why.
    pub reason: String,
}

/// Connections of one kind, or one step of many launches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The kind.
    pub name: String,
    /// How long connections of this kind were made, pauses left out.
    pub seconds: f64,
    /// How many were served.
    pub count: u64,
    /// How many were served, per second.
    pub rate: f64,
    /// How many were not served, by failure.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// How the leases were served (`cold`, `warm`, `reused`), as the log has it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub started: BTreeMap<String, u64>,
    /// Microseconds: `min`, `mean`, percentiles, `max`. Empty when none was served.
    pub latency_us: IndexMap<String, f64>,
    /// Microseconds from, microseconds to, how many.
    pub histogram_us: Vec<(f64, f64, u64)>,
}

/// Why there is no report in a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The file cannot be read or written.
    #[error("{}: {source}", origin(path))]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file holds no report.
    #[error("{} is not what `ganger bench --json` writes: {source}", origin(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// The report is of another version.
    #[error("{} has schema {found}, and this program reads {SCHEMA}: measure again", origin(path))]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The part that every version of the format has.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

// === impl BenchReport ===

impl BenchReport {
    /// A report without a result, of a measurement that begins now.
    #[must_use]
    pub fn begin(subject: String, machine: Machine) -> Self {
        Self {
            schema: SCHEMA,
            program: concat!("ganger ", env!("CARGO_PKG_VERSION")).to_owned(),
            command: std::env::args().skip(1).collect(),
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine,
            subject,
            points: Vec::new(),
            skipped: Vec::new(),
            refill: Vec::new(),
        }
    }

    /// Reads a report, also from standard input, for which [`STDIN`](crate::config::STDIN) stands.
    ///
    /// # Errors
    /// The file cannot be read, or holds no report.
    pub fn load(path: &Path) -> Result<Self, ReportError> {
        let text = match is_stdin(path) {
            true => io::read_to_string(io::stdin().lock()),
            false => fs::read_to_string(path),
        };
        let text = text.map_err(|source| ReportError::File { path: path.to_owned(), source })?;
        let format = |source| ReportError::Format { path: path.to_owned(), source };
        let Version { schema } = serde_json::from_str(&text).map_err(format)?;
        if schema != SCHEMA {
            return Err(ReportError::Schema { path: path.to_owned(), found: schema });
        }
        serde_json::from_str(&text).map_err(format)
    }

    /// As JSON, indented.
    #[must_use]
    pub fn json(&self) -> String {
        // Maps have text for keys, and numbers are finite: JSON can hold all of it.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// All series with what they were measured at: points, and refills.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, &Series)> {
        let refill = self.refill.iter().map(|point| (point, "refill"));
        let points = self.points.iter().map(|point| (point, "")).chain(refill);
        points.flat_map(|(point, what)| {
            let label = [what, &point.label()].join(" ").trim().to_owned();
            let series = point.series.iter().chain(&point.phases);
            series.map(move |series| (label.clone(), series))
        })
    }
}

// === impl Point ===

impl Point {
    /// The values that distinguish it, such as `concurrency=4`; empty for the only one.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.at)
    }
}

// === impl Skipped ===

impl Skipped {
    /// As [`Point::label`].
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.at)
    }
}

fn label(at: &IndexMap<String, String>) -> String {
    let parts: Vec<_> = at.iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(" ")
}

// === impl Series ===

impl Series {
    /// How many were not served.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

// === impl Machine ===

impl Machine {
    /// This machine, as far as it can be known.
    #[must_use]
    pub fn here(engine: Option<String>) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            engine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_version_and_one_of_another_kind_are_told_apart() {
        let dir = std::env::temp_dir().join(format!("ganger-report-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("r.json");
        let report = BenchReport::begin("x".into(), Machine::here(None));
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            BenchReport::load(&path).map_err(|error| error.to_string())
        };
        assert_eq!(said(&report.json()), Ok(report.clone()));
        let newer = BenchReport { schema: SCHEMA + 1, ..report };
        let error = said(&newer.json()).unwrap_err();
        assert!(error.contains("has schema 2, and this program reads 1"), "{error}");
        let error = said("{\"schema\": 1}").unwrap_err();
        assert!(error.contains("is not what `ganger bench --json` writes"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
        let error = BenchReport::load(&path).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
