//! `ganger events`: what happened lately, and what happens.

mod follow;
mod stream;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::out::{complain, is_read, say};
use super::super::{Exit, Failure};
use super::remote::{Asking, Remote};
use crate::admin::Happening;

use follow::{EventFollower, FollowNews};
pub(in crate::cli) use stream::{EventStream, StreamedEvent};

/// What is told of events.
#[derive(Debug, Args)]
pub(in crate::cli) struct EventsArguments {
    #[command(flatten)]
    asking: Asking,
    /// Print JSON; with --follow, a line for each event, also of each new state
    #[arg(long)]
    json: bool,
    /// Go on, and say what happens
    #[arg(long, short, visible_alias = "watch")]
    follow: bool,
    /// Only what is about this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only what is about this daemon
    #[arg(long, value_name = "NAME")]
    daemon: Option<String>,
}

/// Says what happened, and what happens.
pub(super) async fn events(
    arguments: &EventsArguments,
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let remote = arguments.asking.remote(config)?;
    if arguments.json && arguments.follow {
        return arguments.follow_all(&remote).await;
    }
    let path = "/api/v1/events";
    let happened: Vec<Happening> =
        if arguments.json { remote.get_as_told(path).await? } else { remote.get(path).await? };
    let last = happened.last().map(|happening| happening.id);
    let wanted: Vec<_> = happened.into_iter().filter(|it| arguments.wants(it)).collect();
    if arguments.json {
        let text = serde_json::to_string_pretty(&wanted);
        say(&text.map_err(|error| Failure::new(Exit::Failed, error))?);
        return Ok(Exit::Ok);
    }
    // Before the first line: whoever reads a line is told of all that follows it.
    let follower = match arguments.follow {
        // The stream leaves out no event since that answer.
        true => Some(EventFollower::begin(&remote, last.or(Some(0))).await?),
        false => None,
    };
    wanted.iter().for_each(|happening| say(&line(happening)));
    match follower {
        Some(follower) => arguments.follow(follower).await,
        None => Ok(Exit::Ok),
    }
}

// === impl EventsArguments ===

impl EventsArguments {
    fn wants(&self, happening: &Happening) -> bool {
        let fits = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        fits(&self.service, &happening.service) && fits(&self.daemon, &happening.daemon)
    }

    /// Whether the filters let an event through, of a state or a happening.
    fn wants_event(&self, event: &StreamedEvent) -> bool {
        match event.name.as_str() {
            "service" => self.daemon.is_none() && named(&self.service, &event.data),
            "daemon" => self.service.is_none() && named(&self.daemon, &event.data),
            "happening" => event.happening().is_none_or(|happening| self.wants(&happening)),
            _ => true,
        }
    }

    /// A line of JSON for each event.
    async fn follow_all(&self, remote: &Remote) -> Result<Exit, Failure> {
        let mut follower = EventFollower::begin(remote, None).await?;
        while is_read() {
            match follower.next().await? {
                Some(FollowNews::Event(event)) if self.wants_event(&event) => {
                    let data = serde_json::from_str(&event.data).unwrap_or(Value::Null);
                    say(&json!({"event": event.name, "id": event.id, "data": data}).to_string());
                }
                Some(FollowNews::Event(_)) => {}
                Some(FollowNews::Again { is_other }) => complain(again(is_other)),
                None => break,
            }
        }
        Ok(Exit::Ok)
    }

    /// A line for each happening after the last that was told.
    async fn follow(&self, mut follower: EventFollower<'_>) -> Result<Exit, Failure> {
        while is_read() {
            match follower.next().await? {
                Some(FollowNews::Event(event)) if event.name == "gap" => {
                    say("(more has happened than is kept)");
                }
                Some(FollowNews::Event(event)) => {
                    if let Some(happening) = event.happening().filter(|it| self.wants(it)) {
                        say(&line(&happening));
                    }
                }
                Some(FollowNews::Again { is_other }) => complain(again(is_other)),
                None => break,
            }
        }
        Ok(Exit::Ok)
    }
}

/// The line where the stream has begun again.
const fn again(is_other: bool) -> &'static str {
    if is_other {
        "another process answers: its events follow"
    } else {
        "the stream of events broke off, and goes on"
    }
}

/// Whether a state is of the subject with this name.
fn named(wanted: &Option<String>, data: &str) -> bool {
    let is = || serde_json::from_str::<Value>(data).ok()?["name"].as_str().map(str::to_owned);
    wanted.is_none() || *wanted == is()
}

/// A happening in one line.
fn line(happening: &Happening) -> String {
    let Happening { at, kind, is_bad, detail, count, .. } = happening;
    let mut line = format!("{at} {} {kind}", if *is_bad { "!" } else { " " });
    let launch = happening.launch.map(|launch| launch.to_string());
    let about =
        [("service", &happening.service), ("daemon", &happening.daemon), ("launch", &launch)];
    for (name, value) in about {
        if let Some(value) = value {
            line += &format!(" {name}={value}");
        }
    }
    if let Some(detail) = detail {
        line += &format!(": {detail}");
    }
    if *count > 1 {
        line += &format!(" ({count} times)");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_engine_says_an_event_is_one_line_that_steers_nothing() {
        let told = json!({
            "id": 7, "at": "2026-01-02T03:04:05.678Z", "kind": "launch-failed", "is_bad": true,
            "service": "echo", "detail": "\x1b[2Jno\n2026-01-02T03:04:06.000Z   ordered", "count": 2,
        });
        let (name, id, data) = ("happening".to_owned(), Some(7), told.to_string());
        let happening = StreamedEvent { name, id, data }.happening().unwrap();
        assert_eq!(
            line(&happening),
            "2026-01-02T03:04:05.678Z ! launch-failed service=echo: \\u{1b}[2Jno\\n2026-01-02T03:04:06.000Z   \
             ordered (2 times)"
        );
    }
}
