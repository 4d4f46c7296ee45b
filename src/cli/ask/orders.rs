//! Orders to a running Ganger.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::time::sleep;

use super::super::out::say;
use super::super::{Exit, Failure};
use super::AGAIN;
use super::confirm::Consent;
use super::remote::Remote;
use crate::admin::{Condition, ServiceStatus};
use crate::http::escape;

/// Has services and daemons used again.
pub(super) async fn resume(remote: &Remote, places: &[(String, String)]) -> Result<Exit, Failure> {
    let ready = json!({"state": "ready"});
    for (path, what) in places {
        let ordered = remote.order(&format!("{path}/state"), Some(&ready)).await?;
        say(&format!("{what}: {}", ordered.detail));
    }
    Ok(Exit::Ok)
}

/// Sets how many containers a service has. A smaller number needs consent first.
pub(super) async fn scale(
    remote: &Remote,
    service: &str,
    (warm, max): (Option<u32>, Option<u32>),
    consent: Consent,
) -> Result<Exit, Failure> {
    let path = service_path(service);
    let now: ServiceStatus = remote.get(&path).await?;
    let less = |wanted: Option<u32>, now: u32| wanted.filter(|wanted| *wanted < now);
    if less(warm, now.target).is_some() || less(max, now.max).is_some() {
        let now = format!("warm {}, max {}", now.target, now.max);
        consent.to(&format!("leave {service} with less than now ({now})"))?;
    }
    let wanted: BTreeMap<_, _> = [("warm", warm), ("max", max)]
        .into_iter()
        .filter_map(|(name, count)| count.map(|count| (name, count)))
        .collect();
    let ordered = remote.order(&format!("{path}/scale"), Some(&json!(wanted))).await?;
    say(&format!("service {service}: {}", ordered.detail));
    Ok(Exit::Ok)
}

/// Has the configuration read again.
pub(super) async fn reload(remote: &Remote, dry_run: bool) -> Result<Exit, Failure> {
    let path = if dry_run { "/api/v1/reload?dry_run" } else { "/api/v1/reload" };
    let ordered = remote.order(path, None).await?;
    let begin = if dry_run { "" } else { "changed: " };
    say(&format!("{begin}{}", ordered.detail));
    Ok(Exit::Ok)
}

/// Replaces every container of a service.
pub(super) async fn roll(remote: &Remote, service: &str, wait: bool) -> Result<Exit, Failure> {
    let path = service_path(service);
    let before: ServiceStatus = remote.get(&path).await?;
    let ordered = remote.order(&format!("{path}/roll"), None).await?;
    say(&format!("service {service}: {}", ordered.detail));
    if wait {
        wait_for_roll(remote, &before).await?;
    }
    Ok(Exit::Ok)
}

/// Waits until the generation after this one runs alone, and prints the progress.
async fn wait_for_roll(remote: &Remote, before: &ServiceStatus) -> Result<(), Failure> {
    let (service, path) = (&before.name, service_path(&before.name));
    let mut told = None;
    loop {
        let now: ServiceStatus = remote.get(&path).await?;
        if matches!(now.state, Condition::Drain | Condition::Maint) {
            let state = now.state;
            let message = format!(
                "service {service}: it is in {state}, and its rollout stands still meanwhile"
            );
            return Err(Failure::new(Exit::Failed, message));
        }
        match now.rollout {
            Some(stage) if told.as_ref() != Some(&stage) => {
                say(&format!("service {service}: {stage}"));
                told = Some(stage);
            }
            Some(_) => {}
            None if now.generation > before.generation => {
                say(&format!("service {service}: generation {} runs", now.generation));
                return Ok(());
            }
            None => {
                let why = now.last_error.map_or_else(String::new, |why| format!(": {why}"));
                let message = format!("service {service}: the rollout was given up{why}");
                return Err(Failure::new(Exit::Failed, message));
            }
        }
        sleep(AGAIN).await;
    }
}

/// Gives the rollout of a service up.
pub(super) async fn roll_back(remote: &Remote, service: &str) -> Result<Exit, Failure> {
    let ordered = remote.order(&format!("{}/rollback", service_path(service)), None).await?;
    say(&format!("service {service}: {}", ordered.detail));
    Ok(Exit::Ok)
}

/// Retires containers, and tells of each that is not there.
pub(super) async fn retire(remote: &Remote, launches: &[u64]) -> Result<Exit, Failure> {
    let mut missing = Vec::new();
    for launch in launches {
        let path = format!("/api/v1/containers/{launch}/retire");
        match remote.order(&path, None).await {
            Ok(ordered) => say(&format!("container {launch}: {}", ordered.detail)),
            Err(Failure { exit: Exit::Failed, message }) => missing.push(message),
            Err(error) => return Err(error),
        }
    }
    all_but(&missing)
}

/// Cuts connections, and tells of each that is not there.
pub(super) async fn cut(remote: &Remote, ids: &[u64]) -> Result<Exit, Failure> {
    let mut missing = Vec::new();
    for id in ids {
        match remote.delete(&format!("/api/v1/sessions/{id}")).await {
            Ok(()) => {}
            Err(Failure { exit: Exit::Failed, message }) => missing.push(message),
            Err(error) => return Err(error),
        }
    }
    all_but(&missing)
}

/// Fails for missing ones; the rest was done.
fn all_but(missing: &[String]) -> Result<Exit, Failure> {
    match missing {
        [] => Ok(Exit::Ok),
        missing => Err(Failure::new(Exit::Failed, missing.join("\n"))),
    }
}

fn service_path(service: &str) -> String {
    format!("/api/v1/services/{}", escape(service))
}
