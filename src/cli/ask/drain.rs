//! `ganger drain`: services, daemons, or the whole process.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::super::out::say;
use super::super::{Exit, Failure};
use super::confirm::Consent;
use super::remote::{Asking, Lookup, Remote};
use super::words::counted;
use super::{AGAIN, Drainable};
use crate::admin::{Condition, ContainerCounts, Status};

/// What is drained, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Draining {
    #[command(flatten)]
    which: Drainable,
    /// The whole process: it stops, as SIGTERM has it do
    #[arg(
        long,
        required_unless_present_any = ["services", "daemons"],
        conflicts_with_all = ["services", "daemons", "maint", "deadline"]
    )]
    process: bool,
    /// They are worked on: that a daemon does not answer is expected
    #[arg(long)]
    maint: bool,
    /// Cut what is still leased then [default: leases go on until they end]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Wait until nothing is leased there any more, or the process has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    consent: Consent,
}

/// The part of a subject's state that a wait reads.
#[derive(Debug, Deserialize)]
struct DrainState {
    state: Condition,
    containers: ContainerCounts,
}

/// Drains.
pub(super) async fn drain(draining: Draining, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let Draining { which, process, maint, deadline, wait, asking, consent } = draining;
    let places = which.places();
    if process {
        consent.to("stop the whole process")?;
        return stop(&asking.remote(config)?, wait).await;
    }
    let names: Vec<_> = places.iter().map(|(_, what)| what.as_str()).collect();
    consent.to(&format!("drain {}", names.join(", ")))?;
    let remote = asking.remote(config)?;
    let mut wanted = json!({"state": if maint { "maint" } else { "drain" }});
    if let Some(deadline) = deadline {
        wanted["deadline_seconds"] = json!(deadline.as_secs_f64());
    }
    for (path, what) in &places {
        let ordered = remote.order(&format!("{path}/state"), Some(&wanted)).await?;
        say(&format!("{what}: {}", ordered.detail));
    }
    for (path, what) in places.iter().filter(|_| wait) {
        wait_for(&remote, path, what).await?;
    }
    Ok(Exit::Ok)
}

/// Waits until nothing is leased there, and says how much is.
async fn wait_for(remote: &Remote, path: &str, what: &str) -> Result<(), Failure> {
    let mut told = None;
    loop {
        let DrainState { state, containers } = match remote.find(path).await? {
            Lookup::There(found) => found,
            // The drained subject, once empty, has left the fleet or the configuration.
            Lookup::Absent(_) if told.is_some() => return Ok(()),
            Lookup::Absent(why) => return Err(why),
            Lookup::Starting(_) => {
                let message = format!(
                    "{what}: the process that was to drain it has ended; another one starts, and \
                     will use it"
                );
                return Err(Failure::new(Exit::Failed, message));
            }
        };
        if !matches!(state, Condition::Drain | Condition::Maint | Condition::Leaving) {
            let message = format!("{what}: it is {state}: somebody has it used again");
            return Err(Failure::new(Exit::Failed, message));
        }
        if told != Some(containers.leased) {
            say(&format!("{what}: {} leased", containers.leased));
            told = Some(containers.leased);
        }
        if containers.leased == 0 {
            return Ok(());
        }
        sleep(AGAIN).await;
    }
}

/// Has the process stop.
async fn stop(remote: &Remote, wait: bool) -> Result<Exit, Failure> {
    say(&remote.order("/api/v1/drain", None).await?.detail);
    if wait {
        wait_for_end(remote).await?;
    }
    Ok(Exit::Ok)
}

/// Waits until the process has ended, and says how many connections it still has.
async fn wait_for_end(remote: &Remote) -> Result<(), Failure> {
    let (mut told, mut run) = (None, None);
    loop {
        match remote.find::<Status>("/api/v1/status").await {
            // Another process answers in its place.
            Ok(Lookup::Starting(_)) => {
                say("it has ended, and another one starts");
                return Ok(());
            }
            Ok(Lookup::There(status))
                if run.get_or_insert_with(|| status.about.boot.clone()) != &status.about.boot =>
            {
                say("it has ended, and another one runs");
                return Ok(());
            }
            Ok(Lookup::There(status)) if told != Some(status.sessions) => {
                say(&counted(status.sessions, "session"));
                told = Some(status.sessions);
            }
            Ok(Lookup::There(_)) => {}
            Ok(Lookup::Absent(why)) => return Err(why),
            Err(Failure { exit: Exit::Unreachable, .. }) if !remote.is_there() => {
                say("it has ended");
                return Ok(());
            }
            // The process is there, and slow.
            Err(Failure { exit: Exit::Unreachable, .. }) => {}
            Err(error) => return Err(error),
        }
        sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeGanger, reply};
    use super::*;

    fn draining(leased: u32) -> String {
        let containers = ContainerCounts { leased, ..ContainerCounts::default() };
        let told = json!({"state": "drain", "containers": containers});
        reply(200, &told.to_string())
    }

    fn problem(status: u16, code: &str) -> String {
        reply(status, &json!({"code": code, "detail": "why"}).to_string())
    }

    async fn waited(answers: [String; 2]) -> Result<(), Failure> {
        let fake = FakeGanger::start(answers);
        let remote = fake.remote(Duration::from_secs(10));
        wait_for(&remote, "/api/v1/daemons/a", "daemon a").await
    }

    #[tokio::test]
    async fn a_daemon_that_has_left_the_fleet_is_drained() {
        waited([draining(1), problem(404, "not-found")]).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_process_was_to_drain_is_not_drained_when_another_one_starts() {
        let why = waited([draining(1), problem(503, "starting")]).await.unwrap_err();
        assert_eq!(why.exit, Exit::Failed);
        assert!(why.message.contains("has ended; another one starts"), "{}", why.message);
    }

    #[tokio::test]
    async fn a_process_whose_successor_starts_has_ended() {
        let fake = FakeGanger::start([problem(503, "starting")]);
        wait_for_end(&fake.remote(Duration::from_secs(10))).await.unwrap();
    }
}
