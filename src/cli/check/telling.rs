//! The output of `ganger check`: to people line by line, to programs all at the end.

use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::super::out::say;
use super::super::{Exit, Failure};
use crate::config::{ConfigError, Remark, origin};

/// How what was found is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CheckFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON array of what is wrong or looks wrong.
    Json,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Nothing is wrong.
    Note,
    /// The subject can be used.
    Warning,
    /// The subject cannot be used.
    Error,
}

/// Something that is wrong or looks wrong, for programs. Places are those of the file, where it has
/// to do with one.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Flagged {
    severity: Severity,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    help: Option<String>,
}

/// The receiver of findings: people are told at once, programs at the end.
pub(super) struct Telling {
    format: CheckFormat,
    flagged: Vec<Flagged>,
}

// === impl Flagged ===

impl Flagged {
    fn new(severity: Severity, message: impl ToString) -> Self {
        let message = message.to_string();
        Self { severity, file: None, line: None, column: None, message, help: None }
    }

    fn placed(severity: Severity, remark: Remark) -> Self {
        let Remark { file, line, column, message, help } = remark;
        let (file, line, column) = (Some(file), Some(line), Some(column));
        Self { severity, file, line, column, message, help }
    }
}

// === impl Telling ===

impl Telling {
    pub(super) fn new(format: CheckFormat) -> Self {
        Self { format, flagged: Vec::new() }
    }

    /// A line for people; programs get its text, too, unless nothing is wrong.
    pub(super) fn tell(&mut self, severity: Severity, text: &str) {
        self.say(text);
        if severity != Severity::Note {
            let text = text.strip_prefix("error: ").unwrap_or(text);
            self.flagged.push(Flagged::new(severity, text));
        }
    }

    /// A line for people alone.
    pub(super) fn say(&self, text: &str) {
        if self.format == CheckFormat::Text {
            say(text);
        }
    }

    /// For programs alone: something in a file.
    pub(super) fn flag(&mut self, severity: Severity, remark: Remark) {
        self.flagged.push(Flagged::placed(severity, remark));
    }

    /// Flags why there is no configuration.
    pub(super) fn refuse(&mut self, path: &Path, error: &ConfigError) {
        match error {
            ConfigError::Invalid(report) => {
                report.remarks().for_each(|mistake| self.flag(Severity::Error, mistake));
            }
            error => {
                let file = Some(origin(path));
                self.flagged.push(Flagged { file, ..Flagged::new(Severity::Error, error) });
            }
        }
    }

    /// Tells programs all findings, and what ended the check.
    pub(super) fn finish(mut self, outcome: Result<Exit, Failure>) -> Result<Exit, Failure> {
        if self.format == CheckFormat::Text {
            return outcome;
        }
        let exit = outcome.unwrap_or_else(|Failure { exit, message }| {
            if !self.flagged.iter().any(|verdict| verdict.severity == Severity::Error) {
                self.flagged.push(Flagged::new(Severity::Error, message));
            }
            exit
        });
        let text = serde_json::to_string_pretty(&self.flagged);
        say(&text.map_err(|error| Failure::new(Exit::Failed, error))?);
        Ok(exit)
    }
}
