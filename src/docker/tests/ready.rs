//! The requests of readiness to an engine, and the settings that a container is created with.

use super::*;
use crate::spec::Healthcheck;

/// The answers of an engine that runs a program in a container, which ends with this code.
fn runs(seen: &Seen, said: &'static str, code: i64) -> Option<Reply> {
    match seen.line.as_str() {
        line if line.ends_with("/exec") => Some(Reply::Json(201, json!({"Id": "e"}))),
        "POST /exec/e/start" => Some(Reply::Attached(vec!["so\n", said])),
        "GET /exec/e/json" => Some(Reply::Json(200, json!({"Running": false, "ExitCode": code}))),
        _ => None,
    }
}

#[tokio::test]
async fn a_program_is_run_in_the_container_and_its_end_waited_for() {
    let noticed = AtomicBool::new(false);
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        // The engine says so a moment after the outputs have ended.
        if seen.line == "GET /exec/e/json" && !noticed.swap(true, Ordering::Relaxed) {
            return Some(Reply::Json(200, json!({"Running": true, "ExitCode": null})));
        }
        runs(seen, "no response\n", 2)
    })
    .await;
    let container = docker.launch(&order(spec())).await.unwrap();
    let executed = container.exec(&["pg_isready".to_owned(), "-q".to_owned()]).await.unwrap();
    assert_eq!(executed, Executed { code: 2, said: Some("no response".to_owned()) });

    let asked = engine.requests("/exec").remove(0);
    assert_eq!(asked.line, format!("POST /containers/{}/exec", "c".repeat(64)));
    assert_eq!(asked.version, "41");
    assert_eq!(asked.body["Cmd"], json!(["pg_isready", "-q"]));
    assert_eq!(asked.body["AttachStdout"], json!(true));
    assert_eq!(engine.requests("GET /exec/e/json").len(), 2);
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_a_failure_of_the_call() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.ends_with("/exec").then(|| no(409, "Container c is paused")).flatten()
    })
    .await;
    let container = docker.launch(&order(spec())).await.unwrap();
    let error = container.exec(&["true".to_owned()]).await.unwrap_err();
    assert!(error.message.contains("is paused"), "{}", error.message);
}

#[tokio::test]
async fn a_check_of_health_is_created_as_far_as_it_is_not_the_image_s() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let second = Some(Duration::from_secs(1));
    let whole = Healthcheck {
        test: Some(vec!["CMD".into(), "/check".into()]),
        interval: second,
        timeout: second,
        retries: Some(4),
        start_period: second,
    };
    let part = Healthcheck { retries: Some(9), ..Healthcheck::default() };
    let nanoseconds = 1_000_000_000;
    for (check, created) in [
        (Healthcheck::default(), Value::Null),
        (part, json!({"Retries": 9})),
        (
            whole,
            json!({
                "Test": ["CMD", "/check"],
                "Interval": nanoseconds,
                "Timeout": nanoseconds,
                "Retries": 4,
                "StartPeriod": nanoseconds,
            }),
        ),
    ] {
        let ready = Ready::Healthcheck(check);
        docker.launch(&order(Spec { ready, ..spec() })).await.unwrap();
        let create = engine.requests("/containers/create").pop().unwrap();
        assert_eq!(create.body["Healthcheck"], created);
    }
}

#[tokio::test]
async fn what_a_container_prints_is_listened_to_before_it_is_started_if_its_log_counts() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.contains("/attach").then(|| Reply::Attached(vec!["starting"]))
    })
    .await;
    let ready = Ready::Log { text: "ready".to_owned(), times: 1 };
    for (ready, attached) in [(Ready::Started, None), (ready, Some(2))] {
        engine.seen.lock().clear();
        docker.launch(&order(Spec { ready, ..spec() })).await.unwrap();
        let seen = engine.seen.lock();
        let place = |what: &str| seen.iter().position(|seen| seen.line.contains(what));
        assert_eq!(place("/attach").is_some(), attached.is_some());
        assert!(place("/attach") < place("/start"), "{seen:?}");
    }
}
