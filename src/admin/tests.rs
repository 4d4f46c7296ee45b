//! The admin server, asked over its socket.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ganger_pool::core::{DaemonView, Generation, ServiceView};
use ganger_test_support::unique;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

mod changes;
mod config_status;
mod events;
mod failures;
mod openapi;
mod page;

use super::*;
use crate::endpoint::Endpoint;
use crate::http::{HttpError, Transport};
use crate::token::TokenFile;

/// A fake process, and how often its pool was copied.
#[derive(Default)]
struct Fake {
    refusing: AtomicBool,
    stopping: AtomicBool,
    copies: AtomicU32,
}

struct FakeRun(Arc<Fake>, Arc<Sessions>);

/// A served socket.
struct Bed {
    fake: Arc<Fake>,
    path: PathBuf,
    transport: Transport,
    feed: Arc<Feed>,
    failures: Arc<FailureMemory>,
    engines: Arc<DaemonMemory>,
    latencies: Arc<LatencyMemory>,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

/// A service as it may be found.
pub(super) fn sample_service() -> ServiceView {
    ServiceView {
        name: "echo".into(),
        generation: Generation(3),
        rollout: None,
        rolled_back: None,
        leaving: false,
        admin: Default::default(),
        counts: Default::default(),
        warm: 2,
        max: 8,
        waiting: 1,
        oldest_wait: None,
        failing: None,
        refusing: None,
        last_error: None,
        totals: Default::default(),
    }
}

/// A daemon that does not answer.
pub(super) fn sample_daemon() -> DaemonView {
    DaemonView {
        name: "local".into(),
        capacity: 20,
        tier: 0,
        counts: Default::default(),
        in_flight: 0,
        launch_limit: 8,
        strays: 0,
        others: 3,
        down: Some("no answer".into()),
        degraded: None,
        listed: false,
        leaving: false,
        admin: Default::default(),
        prepared: BTreeMap::new(),
    }
}

/// All paths, with no listener.
pub(super) fn bare_app() -> axum::Router {
    app_of(Arc::default(), AccessRules::default())
}

fn app_of(fake: Arc<Fake>, rules: AccessRules) -> axum::Router {
    let subject = Box::new(FakeRun(fake, Sessions::new(Vec::new())));
    let origin = Origin { instance: "edge-1".into(), boot: "3f".into(), since: SystemTime::now() };
    let shared =
        AdminShared::new(subject, Told::default(), origin, false, CancellationToken::new());
    routes::routes(Arc::new(shared), rules)
}

impl AdminSubject for FakeRun {
    fn snapshot(&self) -> Snapshot {
        self.0.copies.fetch_add(1, Ordering::Relaxed);
        let refusing = self.0.refusing.load(Ordering::Relaxed);
        let refusing = refusing.then(|| "no daemon\nanswers".into());
        let service = ServiceView { refusing, ..sample_service() };
        Snapshot { services: vec![service], daemons: vec![sample_daemon()], draining: false }
    }

    fn sessions(&self) -> &Sessions {
        &self.1
    }

    fn counts(&self) -> BTreeMap<ServiceName, Counts> {
        BTreeMap::from([("echo".into(), Counts { accepted: 4, ..Counts::default() })])
    }

    fn connections_max(&self) -> usize {
        4000
    }

    fn last_reload(&self) -> ReloadResult {
        ReloadResult { at: SystemTime::UNIX_EPOCH, taken: false }
    }

    fn config(&self) -> ConfigStatus {
        let text = crate::config::Config::default_text();
        let config = crate::config::Config::parse(&text, "ganger.ron").unwrap();
        ConfigStatus::new(&config.effective, SystemTime::UNIX_EPOCH, self.last_reload())
    }

    fn sources(&self) -> Vec<SourceReading> {
        Vec::new()
    }

    fn certificates(&self) -> Vec<TlsFile> {
        Vec::new()
    }

    fn containers(&self) -> Vec<ContainerStatus> {
        let state = ["ready", "leased", "starting"];
        let container = |(launch, state): (u64, &str)| ContainerStatus {
            launch,
            id: None,
            service: "echo".into(),
            generation: 1,
            daemon: if launch == 2 { "local" } else { "other" }.into(),
            state: state.into(),
            state_seconds: 1.0,
            age_seconds: 2.0,
            uses: 0,
            retire_reason: None,
        };
        (1..).zip(state).map(container).collect()
    }

    fn notes(&self) -> Notes {
        let at = Instant::now() + Duration::from_secs(60);
        let daemon_deadlines = BTreeMap::from([("local".into(), at)]);
        Notes { daemon_deadlines, ..Notes::default() }
    }

    fn order(&self, order: AdminOrder) -> OrderAnswer<'_> {
        Box::pin(async move {
            match &order {
                AdminOrder::Retire { launch } => Err(NotOrdered::Absent(format!("no {launch}"))),
                AdminOrder::Roll { .. } => Err(NotOrdered::Conflict("rolling already".into())),
                AdminOrder::Reload { dry_run: false } => Err(NotOrdered::Refused("line 3".into())),
                order => Ok(Ordered::changed(format!("{order:?}"))),
            }
        })
    }

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }
}

/// A subject that is there from the start.
fn begun(subject: Box<FakeRun>, told: Told) -> oneshot::Receiver<AdminBeginning> {
    let (begins, beginning) = oneshot::channel();
    let begun = oneshot::channel().0;
    assert!(begins.send(AdminBeginning { subject, told, begun }).is_ok());
    beginning
}

// === impl Bed ===

impl Bed {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-admin"));
        let path = dir.join("new/admin.sock");
        let (fake, stop) = (Arc::new(Fake::default()), CancellationToken::new());
        let socket = AdminSocket::bind(&path).unwrap();
        let listeners = AdminListeners { socket: Some(socket), ..AdminListeners::default() };
        let subject = Box::new(FakeRun(Arc::clone(&fake), Sessions::new(Vec::new())));
        let (instance, boot) = ("edge-1".into(), "3fa9c1d2".into());
        let origin = Origin { instance, boot, since: SystemTime::now() };
        let told = Told::default();
        let server =
            tokio::spawn(serve(listeners, origin, begun(subject, told.clone()), stop.clone()));
        let Told { feed, failures, engines, latencies, .. } = told;
        let transport = Transport::new(Endpoint::Unix(path.clone()));
        Self { fake, path, transport, feed, failures, engines, latencies, stop, server }
    }

    async fn text(&self, path: &str) -> Result<String, HttpError> {
        let answer = self.transport.fetch(path, Request::new(Empty::<Bytes>::new())).await;
        answer.map(|(_, body)| String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await.unwrap()).unwrap()
    }

    /// The problem that a request meets.
    async fn problem(&self, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).body(Empty::<Bytes>::new()).unwrap();
        match self.transport.fetch(path, request).await {
            Err(HttpError::Status { code, message }) => (code, message),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let dir = self.path.parent().and_then(|new| new.parent()).unwrap();
        let _ = std::fs::remove_dir_all(dir);
    }
}

#[tokio::test]
async fn what_runs_is_told() {
    let bed = Bed::new();
    let status = bed.json("/api/v1/status").await;
    assert_eq!(status["about"]["instance"], "edge-1");
    assert_eq!(status["sessions"], 0);
    let service = json!({
        "name": "echo", "state": "filling", "reason": null, "generation": 3, "target": 2,
        "max": 8, "is_scaled": false, "deadline_seconds": null,
        "oldest_wait_seconds": null, "wait": null, "first_byte": null,
        "containers": {"starting": 0, "ready": 0, "leased": 0, "checking": 0, "unknown": 0, "stopping": 0},
        "waiting": 1, "leases": {"warm": 0, "reused": 0, "cold": 0}, "refused": {},
        "rollout": null, "last_error": null,
    });
    assert_eq!(status["services"], json!([service]));
    assert_eq!(bed.json("/api/v1/services").await, json!([service]));
    assert_eq!(bed.json("/api/v1/services/echo").await, service);
    let daemon = bed.json("/api/v1/daemons/local").await;
    assert_eq!((&daemon["state"], &daemon["reason"]), (&json!("down"), &json!("no answer")));
    assert_eq!(bed.json("/api/v1/daemons").await.as_array().unwrap().len(), 1);
    assert_eq!(bed.json("/api/v1/sessions").await, json!([]));
    assert_eq!(bed.json("/api/v1/version").await["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(bed.text("/livez").await.unwrap(), "ok\n");
    assert_eq!(bed.fake.copies.load(Ordering::Relaxed), 1, "all of it from one copy");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let bed = Bed::new();
    for (method, path, code, detail) in [
        ("GET", "/api/v1/services/x", 404, "there is no service \\\"x\\\""),
        ("GET", "/api/v1/daemons/x", 404, "there is no daemon \\\"x\\\""),
        ("GET", "/api/v1/sessions/7", 404, "there is no connection \\\"7\\\", or it has ended"),
        ("DELETE", "/api/v1/sessions/7", 404, "there is no connection \\\"7\\\", or it has ended"),
        ("DELETE", "/api/v1/sessions/x", 404, "there is no connection \\\"x\\\", or it has ended"),
        ("GET", "/api/v1/failures/7", 404, "there is no failure \\\"7\\\", or it is not kept"),
        ("GET", "/api/v1/failures/x", 404, "there is no failure \\\"x\\\", or it is not kept"),
        ("GET", "/x", 404, "there is nothing at this path"),
        ("POST", "/api/v1/status", 405, "this path is not asked like that"),
        ("GET", "/readyz/x", 404, "there is no service \\\"x\\\""),
    ] {
        let (status, said) = bed.problem(method, path).await;
        assert_eq!(status, code, "{method} {path}: {said}");
        assert!(said.contains(detail), "{method} {path}: {said}");
    }
}

#[tokio::test]
async fn who_asks_is_told_when_nobody_is_to_be_sent_here() {
    let bed = Bed::new();
    assert_eq!(bed.text("/readyz").await.unwrap(), "ok\n");
    assert_eq!(bed.text("/readyz?verbose").await.unwrap(), "echo filling\nok\n");
    assert_eq!(bed.text("/readyz/echo").await.unwrap(), "echo filling\n");
    bed.fake.stopping.store(true, Ordering::Relaxed);
    assert_eq!(bed.problem("GET", "/readyz").await, (503, "stopping".to_owned()));
    assert_eq!(bed.problem("GET", "/readyz/echo").await.0, 503);
    bed.fake.stopping.store(false, Ordering::Relaxed);

    let bed = Bed::new();
    bed.fake.refusing.store(true, Ordering::Relaxed);
    let refusing = "echo refusing: no daemon\\nanswers".to_owned();
    assert_eq!(bed.problem("GET", "/readyz").await, (503, refusing.clone()));
    assert_eq!(bed.problem("GET", "/readyz/echo").await, (503, refusing));
    assert_eq!(bed.text("/livez").await.unwrap(), "ok\n");
    // A removed service has closed its socket, however long a client stays.
    let leaving = ServiceStatus::from(&ServiceView { leaving: true, ..sample_service() });
    assert!(!leaving.is_serving() && !leaving.is_refusing());
}

#[tokio::test]
async fn a_stranger_at_a_public_address_is_not_told_which_services_there_are() {
    let rules = || AccessRules {
        token: Some(TokenFile("/absent".into())),
        is_public: true,
        ..AccessRules::default()
    };
    for refusing in [false, true] {
        let fake = Fake { refusing: refusing.into(), ..Fake::default() };
        let mut app = app_of(Arc::new(fake), rules());
        for path in ["/readyz", "/readyz?verbose"] {
            let mut request = Request::builder().uri(path).header("host", "192.0.2.7:5455");
            let caller = access::Caller::Tcp(([198, 51, 100, 1], 9).into());
            request.extensions_mut().unwrap().insert(caller);
            let answer = app.call(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
            let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
            assert_eq!(&body[..], if refusing { b"not ready\n" as &[u8] } else { b"ok\n" });
        }
    }
}

#[tokio::test]
async fn a_socket_is_its_group_s_and_goes_with_its_process() {
    let bed = Bed::new();
    let mode = std::fs::metadata(&bed.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = AdminSocket::bind(&bed.path).unwrap_err().to_string();
    assert!(error.contains("another process listens at"), "{error}");
    bed.stop.cancel();
    let Bed { path, .. } = &bed;
    while !bed.server.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(!path.exists());

    // A leftover socket is replaced; another file is not.
    drop(UnixListener::bind(path).unwrap());
    drop(AdminSocket::bind(path).unwrap());
    std::fs::write(path, "").unwrap();
    let error = AdminSocket::bind(path).unwrap_err().to_string();
    assert!(error.contains("and is no socket"), "{error}");
}

#[tokio::test]
async fn a_path_that_is_taken_over_is_not_removed_by_who_had_it() {
    let dir = std::env::temp_dir().join(format!("ganger-beside-{}", std::process::id()));
    let path = dir.join("a.sock");
    let old = AdminSocket::bind(&path).unwrap();
    // A killed process has left this.
    std::mem::forget(AdminSocket::bind_beside(&path).unwrap());
    let new = AdminSocket::bind_beside(&path).unwrap();
    assert!(old.beside().is_none());
    new.beside().unwrap().carry_out().unwrap();
    drop(old);
    let (_client, met) =
        tokio::join!(tokio::net::UnixStream::connect(&path), new.listener.accept());
    met.unwrap();
    drop(new);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    std::fs::remove_dir(dir).unwrap();
}

#[tokio::test]
async fn one_that_is_stopped_while_the_process_starts_ends_at_once() {
    let origin = Origin { instance: "edge-1".into(), boot: "3f".into(), since: SystemTime::now() };
    let ((_subject, comes), stop) = (oneshot::channel(), CancellationToken::new());
    stop.cancel();
    let server = serve(AdminListeners::default(), origin, comes, stop);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), server).await;
    assert!(ended.is_ok(), "it waits for something to answer for");
}

#[tokio::test]
async fn by_tcp_it_answers_those_who_name_it_and_lets_nobody_change_anything() {
    let listener = AdminListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address().unwrap();
    let listeners = AdminListeners { listener: Some(listener), ..AdminListeners::default() };
    let subject = Box::new(FakeRun(Arc::default(), Sessions::new(Vec::new())));
    let origin = Origin { instance: "edge-1".into(), boot: "3f".into(), since: SystemTime::now() };
    let stop = CancellationToken::new();
    let (begins, subject_comes) = oneshot::channel();
    let server = tokio::spawn(serve(listeners, origin, subject_comes, stop.clone()));
    let ask = async |request: String| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let get = async |host: &str, path: &str| {
        ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    };
    for (path, status, said) in [
        ("/livez", "200", "ok\n"),
        ("/readyz", "503", "\r\n\r\nstarting\n"),
        ("/readyz/echo", "503", "\r\n\r\nstarting\n"),
        ("/", "503", "<meta http-equiv=\"refresh\" content=\"5\">"),
        ("/metrics", "503", "\"code\":\"starting\""),
    ] {
        let told = get("localhost", path).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{path} at the start: {told}");
        assert!(told.contains(said), "{path}: {told}");
    }
    assert!(get("evil.example.com", "/livez").await.starts_with("HTTP/1.1 403"));
    let (begun, has_begun) = oneshot::channel();
    assert!(begins.send(AdminBeginning { subject, told: Told::default(), begun }).is_ok());
    has_begun.await.unwrap();
    let told = get("localhost", "/api/v1/version").await;
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"may_act\":false"), "{told}");
    assert!(told.contains("content-security-policy: default-src 'none';"), "{told}");
    let foreign = get("evil.example.com", "/api/v1/version").await;
    assert!(foreign.starts_with("HTTP/1.1 403") && foreign.contains("foreign-host"), "{foreign}");
    assert!(get("localhost", "/metrics").await.contains("ganger_connections_total"));
    let cut = "DELETE /api/v1/sessions/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let cut = ask(cut.to_owned()).await;
    assert!(cut.starts_with("HTTP/1.1 403") && cut.contains("read-only"), "{cut}");
    stop.cancel();
    server.await.unwrap();
}
