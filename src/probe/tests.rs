//! Readiness as an engine and a service make it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::docker::fake::{Engine, Reply, Seen, launched};
use crate::spec::{Healthcheck, Spec};

/// A container whose engine is asked `answer` first.
async fn container(
    ready: Ready,
    answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> (Engine, Arc<Container>) {
    launched(Spec { ready, ..Spec::new("demo", 7000) }, answer).await
}

/// The engine's answer to an inspection of a container whose port is published there.
fn inspected(port: u16, health: Option<&str>) -> Reply {
    let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]});
    let health = health.map(|status| json!({"Status": status, "Log": [{"Output": "not today\n"}]}));
    let state = json!({"Running": true, "Pid": 4_000_000, "Health": health});
    Reply::Json(200, json!({"State": state, "NetworkSettings": {"Ports": ports}}))
}

fn inspects(seen: &Seen) -> bool {
    seen.line.starts_with("GET /containers/") && seen.line.ends_with("c/json")
}

fn waits(seen: &Seen) -> Option<Reply> {
    // Nobody is told that it has ended.
    seen.line.contains("/wait?").then(|| Reply::Stalled)
}

#[tokio::test]
async fn a_program_is_run_again_until_it_succeeds() {
    let runs = AtomicUsize::new(0);
    let ready = Ready::Exec(vec!["pg_isready".to_owned()]);
    let (engine, container) = container(ready, move |seen| match seen.line.as_str() {
        line if line.ends_with("/exec") => Some(Reply::Json(201, json!({"Id": "e"}))),
        "POST /exec/e/start" => Some(Reply::Attached(vec!["no response\n"])),
        "GET /exec/e/json" => {
            let code = [2, 1, 0, 7][runs.fetch_add(1, Ordering::Relaxed).min(3)];
            Some(Reply::Json(200, json!({"Running": false, "ExitCode": code})))
        }
        _ => waits(seen),
    })
    .await;
    let not_yet = NotYet::default();
    Prober.ready(&container, &not_yet).await.unwrap();
    assert_eq!(engine.requests("POST /exec/e/start").len(), 3);
    let why = not_yet.last().unwrap();
    assert_eq!(why, "`pg_isready` exits with code 1: no response");
    // Between leases, once.
    let error = Prober.check(&container).await.unwrap_err();
    assert_eq!(error.to_string(), "`pg_isready` exits with code 7: no response");
    assert_eq!(engine.requests("POST /exec/e/start").len(), 4);
}

#[tokio::test]
async fn a_check_that_asks_an_engine_has_the_time_of_an_engine() {
    let kinds = [
        (Ready::Exec(vec!["pg_isready".to_owned()]), EXECUTED.attempt),
        (Ready::Healthcheck(Healthcheck::default()), EXECUTED.attempt),
        (Ready::Started, EXECUTED.attempt),
        (Ready::Log { text: "ready".to_owned(), times: 1 }, EXECUTED.attempt),
        (Ready::Tcp { linger: Duration::ZERO }, CHECK),
        (Ready::Banner(b"SSH-".to_vec()), CHECK),
    ];
    for (ready, limit) in kinds {
        let (_engine, container) = container(ready.clone(), waits).await;
        assert_eq!(Prober.check_limit(&container), limit, "{ready:?}");
    }
}

#[tokio::test]
async fn a_container_that_is_unhealthy_may_get_healthy() {
    let asked = AtomicUsize::new(0);
    let ready = Ready::Healthcheck(Healthcheck::default());
    let (_engine, container) = container(ready, move |seen| {
        if inspects(seen) {
            // The first is the launch's.
            let status = ["starting", "unhealthy", "unhealthy", "healthy", "unhealthy"]
                [asked.fetch_add(1, Ordering::Relaxed).min(4)];
            return Some(inspected(1, Some(status)));
        }
        waits(seen)
    })
    .await;
    let not_yet = NotYet::default();
    Prober.ready(&container, &not_yet).await.unwrap();
    assert_eq!(not_yet.last().as_deref(), Some("its HEALTHCHECK fails: not today"));
    let error = Prober.check(&container).await.unwrap_err();
    assert_eq!(error.to_string(), "its HEALTHCHECK fails: not today");
}

#[tokio::test]
async fn a_container_without_a_check_of_health_never_gets_ready_by_it() {
    let ready = Ready::Healthcheck(Healthcheck::default());
    let (_engine, container) =
        container(
            ready,
            |seen| if inspects(seen) { Some(inspected(1, None)) } else { waits(seen) },
        )
        .await;
    let error = Prober.ready(&container, &NotYet::default()).await.unwrap_err();
    assert!(error.to_string().contains("no HEALTHCHECK"), "{error}");
}

#[tokio::test]
async fn an_answer_by_http_counts_by_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Hangs up; speaks another protocol; is not ready yet; is ready; fails.
    let answers = [
        "",
        "220 mail ESMTP\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwait",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nand more that nobody reads",
        "HTTP/1.0 500 Oh\r\n\r\n",
    ];
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1000];
            let length = stream.read(&mut request).await.unwrap();
            request.truncate(length);
            asked.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let ready = Ready::Http { path: "/health?deep=1".to_owned(), status: 200 };
    let (_engine, container) =
        container(
            ready,
            move |seen| {
                if inspects(seen) { Some(inspected(port, None)) } else { waits(seen) }
            },
        )
        .await;
    let not_yet = NotYet::default();
    Prober.ready(&container, &not_yet).await.unwrap();
    let why = not_yet.last().unwrap();
    assert_eq!(why, "it answers GET /health?deep=1 with 503 instead of 200");
    let error = Prober.check(&container).await.unwrap_err().to_string();
    assert_eq!(error, "it answers GET /health?deep=1 with 500 instead of 200");
    let asked = server.await.unwrap();
    assert!(
        asked[0].starts_with("GET /health?deep=1 HTTP/1.1\r\nhost: localhost\r\n"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_text_is_looked_for_in_what_is_printed_and_then_in_the_log() {
    let ready = Ready::Log { text: "is ready".to_owned(), times: 2 };
    let (engine, container) = container(ready, |seen| {
        if seen.line.contains("/attach?") {
            return Some(Reply::Attached(vec!["it is re", "ady\n", "stopping\n"]));
        }
        if seen.line.contains("/logs?") {
            // The framing of an attachment without its head.
            let log = "\x01\0\0\0\0\0\0\x12is ready, is ready";
            return Some(Reply::Chunked(log.to_owned()));
        }
        waits(seen)
    })
    .await;
    let not_yet = NotYet::default();
    Prober.ready(&container, &not_yet).await.unwrap();
    assert_eq!(not_yet.last().as_deref(), Some("it has logged the text 1 of 2 times"));
    assert_eq!(engine.requests("/attach?").len(), 1);
    assert_eq!(engine.requests("/logs?").len(), 1);
}
