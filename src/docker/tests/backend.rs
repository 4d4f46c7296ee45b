//! A container as the data path sees it.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::*;
use crate::spec::Preconnect;

/// The first process of the container `ccc…`, as a rootless Podman keeps it: by a conmon, in a
/// group of this test's.
pub(super) struct Kept {
    pub(super) pid: i32,
    keeper: Child,
}

// === impl Kept ===

impl Kept {
    pub(super) async fn new() -> Self {
        let id = "c".repeat(64);
        let mut keeper = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait", "conmon", "-c", &id])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(keeper.stdout.take().unwrap()).lines();
        let pid = said.next_line().await.unwrap().unwrap().parse().unwrap();
        Self { pid, keeper }
    }

    pub(super) async fn end(mut self) {
        kill_process(Pid::from_raw(self.pid).unwrap(), Signal::KILL).unwrap();
        self.keeper.wait().await.unwrap();
    }
}

fn inspects(seen: &Seen) -> bool {
    seen.line.starts_with("GET /containers/c") && seen.line.ends_with("c/json")
}

/// An inspection of a container whose port is published at this one.
fn published_at(port: u16) -> Value {
    let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]});
    json!({"State": {"Running": true, "Pid": 4_000_000}, "NetworkSettings": {"Ports": ports}})
}

#[tokio::test]
#[ignore = "needs root"]
async fn the_kernel_s_word_on_a_process_of_this_machine_comes_before_the_engine_s() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (kept, notices) = (Kept::new().await, Arc::new(AtomicBool::new(false)));
    let (pid, noticed) = (kept.pid, Arc::clone(&notices));
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let ended = noticed.load(Ordering::Relaxed);
        let state = json!({"Running": !ended, "Pid": pid, "ExitCode": if ended { 137 } else { 0 }});
        inspects(seen).then(|| Reply::Json(200, json!({ "State": state })))
    })
    .await;
    let port = service.local_addr().unwrap().port();
    let order = order(Spec { reach: Reach::Namespace, port, ..spec() });
    let container = docker.launch(&order).await.unwrap();
    assert_eq!(container.id(), "c".repeat(64));
    let asked = engine.requests("").len();
    let (mut dialled, accepted) = tokio::join!(container.dial(), service.accept());
    accepted.unwrap().0.write_all(b"!").await.unwrap();
    assert_eq!(dialled.as_mut().unwrap().read_u8().await.unwrap(), b'!');
    let unacknowledged = container.unacknowledged(dialled.as_ref().unwrap()).await.unwrap();
    assert_eq!(unacknowledged.unwrap().bytes, 0);
    assert!(container.runs().await && container.is_certain());
    assert_eq!(container.fate().await, Fate::Running);
    assert_eq!(engine.requests("").len(), asked, "no engine was asked");

    kept.end().await;
    assert!(!container.runs().await);
    // The engine says how it ended, once it has noticed.
    let told = async {
        while engine.requests("").len() < asked + 2 {
            tokio::task::yield_now().await;
        }
        notices.store(true, Ordering::Relaxed);
    };
    let (fate, ()) = tokio::join!(container.fate(), told);
    assert!(matches!(&fate, Fate::Died { reason, .. } if reason.contains("137")), "{fate:?}");
}

#[tokio::test]
async fn a_connection_that_was_made_ahead_is_the_one_that_is_dialled() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        inspects(seen).then(|| Reply::Json(200, published_at(port)))
    })
    .await;
    let order = order(Spec { preconnect: Preconnect::Tcp, ..spec() });
    let container = docker.launch(&order).await.unwrap();
    assert!(!container.is_certain(), "whoever has its port by now may be another one");
    container.preconnect(true).await.unwrap();
    assert!(container.is_certain(), "there is a connection from before");
    let (_stream, ahead) = service.accept().await.unwrap();
    let dialled = container.dial().await.unwrap();
    assert_eq!(dialled.local_addr().unwrap(), ahead);
    assert!(container.unacknowledged(&dialled).await.unwrap().is_some());
    // The connection is made ahead once.
    assert!(!container.is_certain());
    let another = container.dial().await.unwrap();
    assert_eq!(another.local_addr().unwrap(), service.accept().await.unwrap().1);
}

#[tokio::test]
async fn a_service_that_says_nothing_by_itself_is_not_listened_to() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        inspects(seen).then(|| Reply::Json(200, published_at(port)))
    })
    .await;
    let hangs_up = async {
        let (stream, _) = service.accept().await.unwrap();
        drop(stream);
    };
    let order = order(Spec { preconnect: Preconnect::Tcp, ..spec() });
    let container = docker.launch(&order).await.unwrap();
    let (made, ()) = tokio::join!(container.preconnect(true), hangs_up);
    made.unwrap();
}

#[tokio::test]
async fn an_end_that_an_engine_sees_a_moment_later_is_waited_for() {
    let ended = Arc::new(Mutex::new(None::<std::time::Instant>));
    let armed = Arc::new(AtomicBool::new(false));
    let (its, on) = (Arc::clone(&ended), Arc::clone(&armed));
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        let mut answer = published_at(32768);
        if inspects(seen) && on.load(Ordering::Relaxed) {
            // Since it was asked for the first time.
            let since = its.lock().get_or_insert_with(std::time::Instant::now).elapsed();
            answer["State"]["Running"] = json!(since < SHORT);
        }
        inspects(seen).then(|| Reply::Json(200, answer))
    })
    .await;
    let container = docker.launch(&order(spec())).await.unwrap();
    armed.store(true, Ordering::Relaxed);
    assert_eq!(container.fate().await, Fate::Finished);
}

#[tokio::test]
async fn what_a_container_said_last_is_shown_to_whoever_loses_it() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        let logs = seen.line.contains("/logs?");
        logs.then(|| Reply::Chunked("\x01\0\0\0\0\0\0\x0eno such table\n".into()))
    })
    .await;
    let container = docker.launch(&order(spec())).await.unwrap();
    assert_eq!(container.last_lines().await, ["no such table"]);
}

#[tokio::test]
async fn a_published_container_runs_as_long_as_its_engine_says_nothing_else() {
    let state = Arc::new(Mutex::new(Some(true)));
    let its = Arc::clone(&state);
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        let mut answer = published_at(32768);
        match *its.lock() {
            _ if !inspects(seen) => None,
            Some(running) => {
                answer["State"]["Running"] = json!(running);
                Some(Reply::Json(200, answer))
            }
            None => no(500, "not now"),
        }
    })
    .await;
    let container = docker.launch(&order(spec())).await.unwrap();
    assert!(container.runs().await);
    *state.lock() = None;
    assert!(container.runs().await, "no word on the container");
    let Fate::Died { reason, .. } = container.fate().await else {
        panic!("its daemon may be gone")
    };
    assert!(!reason.is_empty());
    *state.lock() = Some(false);
    assert!(!container.runs().await);
    assert_eq!(container.fate().await, Fate::Finished);
}
