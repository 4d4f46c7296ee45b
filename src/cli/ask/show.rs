//! Shows answers: once or again and again, as a table or as JSON.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::super::out::{is_read, print, say};
use super::super::{Exit, Failure};
use super::remote::{Asking, Remote};

/// The interval of requests with `--watch`.
const OFTEN: Duration = Duration::from_secs(1);
/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Whom to ask, and how the answer is shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct Showing {
    #[command(flatten)]
    asking: Asking,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show it again every second; with --json, a line for each change
    #[arg(long)]
    watch: bool,
    /// Show all that is known, in as many columns as that takes
    #[arg(long, conflicts_with = "json")]
    wide: bool,
}

// === impl Showing ===

impl Showing {
    /// Shows the value at a path, in words that `text` makes of it.
    pub(super) async fn show<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        config: Option<PathBuf>,
        text: impl Fn(&T, bool) -> String,
    ) -> Result<Exit, Failure> {
        let remote = self.asking.remote(config)?;
        if !self.watch {
            let told = self.ask(&remote, path).await?;
            return self.once(&told, text);
        }
        let mut ticks = interval(OFTEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clears = io::stdout().is_terminal();
        let mut shown = None;
        while is_read() {
            ticks.tick().await;
            let told = self.ask(&remote, path).await?;
            if self.json {
                let now = lasting(json(&told)?);
                if shown.as_ref() != Some(&now) {
                    say(&serde_json::to_string(&told).map_err(unsaid)?);
                    shown = Some(now);
                }
            } else if clears {
                print(&format!("{CLEAR}{}\n", text(&told, self.wide)));
            } else {
                say(&format!("{}\n", text(&told, self.wide)));
            }
        }
        Ok(Exit::Ok)
    }

    /// The value at a path, for people or for programs.
    async fn ask<T: DeserializeOwned>(&self, remote: &Remote, path: &str) -> Result<T, Failure> {
        if self.json { remote.get_as_told(path).await } else { remote.get(path).await }
    }

    fn once<T: Serialize>(
        &self,
        told: &T,
        text: impl Fn(&T, bool) -> String,
    ) -> Result<Exit, Failure> {
        if self.json {
            say(&serde_json::to_string_pretty(told).map_err(unsaid)?);
        } else {
            let text = text(told, self.wide);
            if !text.is_empty() {
                say(&text);
            }
        }
        Ok(Exit::Ok)
    }
}

fn json(told: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(told).map_err(unsaid)
}

fn unsaid(error: serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, error)
}

/// The value without its times, which differ in each answer.
fn lasting(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, _)| !name.ends_with("_seconds"));
            Value::Object(fields.map(|(name, value)| (name, lasting(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(lasting).collect()),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lasting;

    #[test]
    fn that_time_passes_is_no_change() {
        let told = |age, bytes| json!([{"id": 1, "age_seconds": age, "in": {"bytes": bytes}}]);
        assert_eq!(lasting(told(1, 5)), lasting(told(2, 5)));
        assert_ne!(lasting(told(1, 5)), lasting(told(1, 6)));
    }
}
