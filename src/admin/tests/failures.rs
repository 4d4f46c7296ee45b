//! The details of failures, as they are asked for and shown.

use ganger_pool::core::{Fault, LaunchId};
use ganger_pool::runtime::{LaunchError, LaunchFindings, LaunchPhase, PostMortem};
use ganger_pool::{EventKind, Observer, PoolEvent};

use super::*;

pub(super) fn told(bed: &Bed, kind: EventKind) {
    let at = Instant::now().into_std();
    bed.failures.observe(&PoolEvent { number: 1, at, kind });
}

/// A daemon cannot run a service.
pub(super) fn unfit(bed: &Bed, service: &str, why: &str) {
    let (daemon, service) = ("local".into(), service.into());
    told(bed, EventKind::ServiceUnfit { daemon, service, reason: why.into() });
}

/// A container has printed this, and ended with code 3 before it was ready.
pub(super) fn ended(bed: &Bed, printed: &str) {
    let error = LaunchError::new(Fault::Service, "the container did not get ready: it exited");
    let error = LaunchError { phase: LaunchPhase::Ready, ..error };
    let post_mortem = PostMortem {
        container: Some("0123456789abcdef".repeat(4)),
        exit_code: Some(3),
        out_of_memory: true,
        log: vec!["it begins".to_owned(), printed.to_owned()],
        hint: Some("`limits.memory`".to_owned()),
        ..PostMortem::default()
    };
    let findings = Arc::new(LaunchFindings::new(&error, Some(post_mortem)));
    let (launch, service, daemon) = (LaunchId(9), "echo".into(), "local".into());
    let (fault, reason) = (Fault::Service, "all in one".into());
    told(bed, EventKind::LaunchFailed { launch, service, daemon, fault, reason, findings });
}

#[tokio::test]
async fn what_is_known_of_a_failure_is_told_in_fields() {
    let bed = Bed::new();
    let limits = FailureLimits { memory_bytes: Some(64 << 20), cpus: Some(0.5), pids: None };
    bed.failures.set_limits([("echo".to_owned(), limits)].into());
    ended(&bed, "the cause");
    ended(&bed, "the cause");
    let mut told = bed.json("/api/v1/failures/1").await;
    let [at, first_at] = ["at", "first_at"].map(|key| told[key].take());
    assert!(first_at.as_str().unwrap() <= at.as_str().unwrap());
    let expected = json!({
        "id": 1, "at": null, "first_at": null, "count": 2, "service": "echo", "daemon": "local",
        "launch": 9, "container": "0123456789ab", "phase": "ready", "fault": "service",
        "end": null, "error": "the container did not get ready: it exited", "exit_code": 3,
        "out_of_memory": true, "log": ["it begins", "the cause"], "hint": "`limits.memory`",
        "limits": {"memory_bytes": 64 << 20, "cpus": 0.5, "pids": null},
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn failures_are_listed_like_all_else() {
    let bed = Bed::new();
    for (service, why) in [("echo", "one"), ("other", "two"), ("echo", "three"), ("echo", "one")] {
        unfit(&bed, service, why);
    }
    let ids = async |query: &str| {
        let list = bed.json(&format!("/api/v1/failures{query}")).await;
        let ids = list.as_array().unwrap().iter().map(|told| told["id"].as_u64().unwrap());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [1, 2, 3, 4]);
    assert_eq!(ids("?service=echo").await, [1, 3, 4]);
    assert_eq!(ids("?service=echo&daemon=local&state=pull&limit=2").await, [1, 3]);
    assert_eq!(ids("?limit=2&cursor=00000000000000000001").await, [2, 3]);
    assert!(ids("?state=lease").await.is_empty() && ids("?daemon=other").await.is_empty());
    let request = Request::new(Empty::<Bytes>::new());
    let path = "/api/v1/failures?service=echo&limit=1";
    let (head, _) = bed.transport.fetch(path, request).await.unwrap();
    let next = "</api/v1/failures?limit=1&cursor=00000000000000000001&service=echo>; rel=\"next\"";
    assert_eq!(head["link"], next);
    assert_eq!(bed.problem("GET", "/api/v1/failures?limit=0").await.0, 400);
    assert_eq!(bed.problem("GET", "/api/v1/failures?phase=pull").await.0, 400);
}

#[tokio::test]
async fn the_page_shows_what_failed_newest_first_and_as_text() {
    let bed = Bed::new();
    unfit(&bed, "echo", "there is no such image");
    ended(&bed, "<script>alert(1)</script>\x1b[31m");
    let page = bed.text("/").await.unwrap();
    let (_, rows) = page.split_once("id=\"failures-rows\"").unwrap();
    let (rows, _) = rows.split_once("</tbody>").unwrap();
    let at = |said: &str| rows.find(said).unwrap_or_else(|| panic!("{said}: {rows}"));
    assert!(at("there is no such image") > at("it begins"), "newest first");
    for said in ["0123456789ab", "out of memory", "see `limits.memory`", "ready", "local"] {
        at(said);
    }
    assert!(!rows.contains("<script>") && rows.contains("alert(1)"), "{rows}");
    assert!(!rows.contains('\x1b') && rows.contains("u{1b}[31m"), "{rows}");
    assert!(page.contains("<caption>Launches, containers in stock and leases that failed"));
}

#[tokio::test]
async fn the_page_says_how_many_failures_it_does_not_show() {
    let bed = Bed::new();
    (0..30).for_each(|at| unfit(&bed, "echo", &at.to_string()));
    let page = bed.text("/").await.unwrap();
    assert!(page.contains("newest first; 10 more are in the export"), "{page}");
}
