//! The targets, and whether they are met: the rows of one table.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command;

/// A table in Markdown.
#[derive(Debug, Default)]
pub(super) struct Targets(Vec<String>);

/// The output of `ganger bench --json`, as far as it is wanted here (docs/bench.md).
#[derive(Debug, Deserialize)]
pub(super) struct Measured {
    #[serde(default)]
    pub(super) points: Vec<Point>,
    #[serde(default)]
    pub(super) refill: Vec<Point>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Point {
    pub(super) series: Vec<Series>,
    #[serde(default)]
    pub(super) phases: Vec<Series>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) rate: f64,
    latency_us: Latency,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

// === impl Targets ===

impl Targets {
    pub(super) fn note(&mut self, what: &str, figure: &str, target: &str, met: bool) {
        let verdict = if met { "met" } else { "MISSED" };
        let row = format!("| {what} | {figure} | {target} | {verdict} |");
        // At once: what comes later may fail.
        command::say(&row);
        self.0.push(row);
    }

    /// A ratio that is to be at least this.
    pub(super) fn at_least(&mut self, what: &str, ratio: f64, least: f64) {
        self.note(what, &format!("{ratio:.2}"), &format!(">= {least}"), ratio >= least);
    }

    /// The rows that a benchmark of the repository prints.
    pub(super) fn of_benchmark(&mut self, name: &str) -> Result<()> {
        let mut command = command::cargo(&["bench", "--package", "ganger", "--bench", name]);
        command::say(&format!("+ {}", command::line(&command)));
        let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
        command::check(&command, output.status)?;
        let text = String::from_utf8(output.stdout)?;
        self.0.extend(text.lines().filter(|line| line.starts_with("| ")).map(str::to_owned));
        Ok(())
    }

    pub(super) fn text(&self) -> String {
        format!("| what | | target | |\n| --- | ---: | ---: | --- |\n{}\n", self.0.join("\n"))
    }
}

// === impl Measured ===

impl Measured {
    /// The measurements of `ganger bench` with these arguments.
    pub(super) fn by(socket: &Path, args: &[&str]) -> Result<Self> {
        Self::on(&std::env::var("PATH").unwrap_or_default(), socket, args)
    }

    /// The same, where programs are found on this path.
    pub(super) fn on(programs: &str, socket: &Path, args: &[&str]) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ganger-bench-{}.json", std::process::id()));
        let mut command = command::ganger();
        command.arg("bench").args(args).arg("--docker").arg(format!("unix://{}", socket.display()));
        command.arg("--json").arg(&path).env("PATH", programs).stdout(Stdio::null());
        command::run(&mut command)?;
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        fs::remove_file(&path)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

// === impl Series ===

impl Series {
    /// The median, in milliseconds.
    pub(super) fn median(&self) -> Result<f64> {
        self.milliseconds(self.latency_us.p50)
    }

    /// What 99 of 100 are below, in milliseconds.
    pub(super) fn p99(&self) -> Result<f64> {
        self.milliseconds(self.latency_us.p99)
    }

    fn milliseconds(&self, us: Option<f64>) -> Result<f64> {
        Ok(us.with_context(|| format!("{}: none was served", self.name))? / 1e3)
    }
}

/// The middle value.
pub(super) fn median(values: &[f64]) -> Result<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("nothing was measured")
}
