//! `ganger failures`: what is known of what failed lately.

use std::path::PathBuf;

use super::super::{Exit, Failure};
use super::lists::{Listing, ids};
use super::table::{Grid, Shown};
use super::words::{age, none};
use crate::admin::FailureBundle;

/// Says what failed, a line for each failure.
pub(super) async fn all(listing: &Listing, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let text = |told: &Vec<FailureBundle>, wide: bool| match listing.quiet {
        true => ids(told.iter().map(|failure| failure.id)),
        false => table(told, wide),
    };
    listing.showing.show(&listing.path("failures"), config, text).await
}

/// Says all that is known of one failure.
pub(super) async fn one(
    listing: &Listing,
    id: u64,
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let path = format!("/api/v1/failures/{id}");
    listing.showing.show(&path, config, |told: &FailureBundle, _wide| whole(told)).await
}

fn table(failures: &[FailureBundle], wide: bool) -> String {
    type F = FailureBundle;
    let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
    Grid::new(wide)
        .with("ID", Shown::Always, failures, |f: &F| f.id.to_string())
        .with("AGO", Shown::Always, failures, |f: &F| ago(&f.at))
        .with("LAST", Shown::Wide, failures, |f: &F| f.at.clone())
        .with("TIMES", Shown::Always, failures, |f: &F| f.count.to_string())
        .with("SERVICE", Shown::Always, failures, |f: &F| f.service.clone())
        .with("DAEMON", Shown::Filled, failures, |f: &F| text(&f.daemon))
        .with("CONTAINER", Shown::Wide, failures, |f: &F| text(&f.container))
        .with("PHASE", Shown::Always, failures, |f: &F| f.phase.to_string())
        .with("FAULT", Shown::Filled, failures, |f: &F| text(&f.fault))
        .with("EXIT", Shown::Filled, failures, |f: &F| exit(f, "oom"))
        .with("ERROR", Shown::Always, failures, |f: &F| f.error.clone())
        .lines()
}

/// How long ago that was.
fn ago(at: &str) -> String {
    let since = humantime::parse_rfc3339(at).ok().and_then(|at| at.elapsed().ok());
    age(since.unwrap_or_default().as_secs_f64())
}

/// The exit code, and a word where the container ran out of memory.
fn exit(failure: &FailureBundle, out_of_memory: &str) -> String {
    let code = failure.exit_code.map(|code| code.to_string());
    let memory = failure.out_of_memory.then(|| out_of_memory.to_owned());
    let said: Vec<_> = code.into_iter().chain(memory).collect();
    if said.is_empty() { none() } else { said.join(", ") }
}

/// All that is known, a line for each thing; what is not known is left out.
fn whole(failure: &FailureBundle) -> String {
    let FailureBundle { id, service, first_at, at, count, container, launch, .. } = failure;
    let when = match count {
        1 => at.clone(),
        count => format!("{count} times, from {first_at} to {at}"),
    };
    let exit = Some(exit(failure, "out of memory")).filter(|exit| *exit != none());
    let launch = launch.map(|launch| launch.to_string());
    let mut text = format!("failure {id} of {service}: {when}\n");
    for (name, value) in [
        ("phase", Some(&failure.phase.to_string())),
        ("fault", failure.fault.as_ref()),
        ("end", failure.end.as_ref()),
        ("daemon", failure.daemon.as_ref()),
        ("launch", launch.as_ref()),
        ("container", container.as_ref()),
        ("error", Some(&failure.error)),
        ("exit code", exit.as_ref()),
        ("limits", failure.limits.map(|limits| limits.to_string()).as_ref()),
        ("see", failure.hint.as_ref()),
    ] {
        if let Some(value) = value {
            text += &format!("\n{name:<10} {value}");
        }
    }
    let mut name = "log";
    for line in &failure.log {
        text += &format!("\n{name:<10} {line}");
        name = "";
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> FailureBundle {
        let told = json!({
            "id": 7, "at": "2026-01-02T03:04:05.678Z", "first_at": "2026-01-02T03:04:01.000Z",
            "count": 3, "service": "echo", "daemon": "local", "launch": 12,
            "container": "0123456789ab", "phase": "ready", "fault": "service", "end": null,
            "error": format!("the container did not get ready: {}", "x".repeat(99)),
            "exit_code": 137, "out_of_memory": true, "log": ["before", "the cause"],
            "hint": "`limits.memory`",
            "limits": {"memory_bytes": 64 << 20, "cpus": 0.5, "pids": null},
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn failures_are_a_line_each_and_one_is_told_whole() {
        let table = table(&[sample()], false);
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
        let said = "echo     local   ready  service  137, oom  the container did not get";
        assert!(table.contains(said), "{table}");
        assert!(super::table(&[sample()], true).contains("2026-01-02T03:04:05.678Z"));
        let whole = whole(&sample());
        let lines: Vec<_> = whole.lines().collect();
        assert_eq!(
            lines[0],
            "failure 7 of echo: 3 times, from 2026-01-02T03:04:01.000Z to 2026-01-02T03:04:05.678Z"
        );
        assert!(
            whole.contains("exit code  137, out of memory\nlimits     memory 64.0 MiB, cpus 0.5\n")
        );
        assert!(
            whole.ends_with("see        `limits.memory`\nlog        before\n           the cause")
        );
        assert!(!whole.contains("end "), "{whole}");
    }
}
