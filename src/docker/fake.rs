//! A fake engine for tests: as much HTTP as the adapter needs, answers by closure.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ganger_pool::core::{Generation, LaunchId};
use ganger_pool::runtime::{ContainerRuntime, LaunchOrder};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Container, Docker, Identity, Reach, Site, Spec};
use crate::endpoint::Endpoint;

/// A request as it came, its path without the API's version.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) line: String,
    pub(crate) body: Value,
}

/// How the engine answers a request.
pub(crate) enum Reply {
    Json(u16, Value),
    /// Answers a ping, as a server of this name.
    Ping(&'static str),
    /// Answers once the gate is open, with what is true by then.
    Held(watch::Receiver<bool>, Box<dyn FnOnce() -> Reply + Send>),
    /// Sends headers and a part of the body, and no more.
    Stalled,
    /// Sends this as the body.
    Chunked(String),
    /// Gives up HTTP, sends each of these as a program's standard output, and ends.
    Attached(Vec<&'static str>),
    /// Sends this as the body and breaks the connection before its end.
    Truncated(String),
}

/// A fake engine. It stops when dropped.
pub(crate) struct Engine {
    path: PathBuf,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

/// A container of this spec, started by an engine that asks `answer` first.
pub(crate) async fn launched(
    spec: Spec,
    answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> (Engine, Arc<Container>) {
    let engine = Engine::start(answer);
    let identity = Identity { instance: "edge-1".into(), boot: "3fa9c1d2".into() };
    let docker = Docker::new(identity, Vec::new());
    let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let site = Site { endpoint: engine.endpoint(), publish_on };
    docker.connect(&"d".into(), &site).await.unwrap();
    let order = LaunchOrder {
        launch: LaunchId(7),
        daemon: "d".into(),
        service: "echo".into(),
        generation: Generation(3),
        spec: Arc::new(Spec { reach: Reach::Published, ..spec }),
        max_containers: 2,
    };
    let container = docker.launch(&order).await.unwrap();
    (engine, container)
}

// === impl Engine ===

impl Engine {
    /// Starts an engine that asks `answer` first and knows the usual answers itself.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ganger-fake-{}-{count}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let Some(request) = read(&mut stream).await else {
                        return;
                    };
                    log.lock().push(request.clone());
                    let reply = answer(&request).unwrap_or_else(|| usual(&request));
                    write(stream.into_inner(), reply).await;
                });
            }
        });
        Self { path, seen, server }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.path.clone())
    }

    /// The requests whose first line contains `part`.
    pub(crate) fn requests(&self, part: &str) -> Vec<Seen> {
        self.seen.lock().iter().filter(|seen| seen.line.contains(part)).cloned().collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `None` for a connection on which nothing is asked.
async fn read(stream: &mut BufReader<UnixStream>) -> Option<Seen> {
    let (mut first, mut length, mut chunked) = (String::new(), 0, false);
    stream.read_line(&mut first).await.unwrap();
    if first.is_empty() {
        return None;
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding:");
    }
    // An archive, of which nothing is kept. It may break off.
    let mut line = Vec::new();
    while chunked && !line.ends_with(b"0\r\n") {
        line.clear();
        if stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read == 0) {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let (method, rest) = first.trim().split_once(' ').unwrap();
    let path = rest.strip_suffix(" HTTP/1.1").unwrap();
    let (version, path) = match path.strip_prefix("/v1.") {
        Some(rest) => rest.split_once('/').unwrap(),
        None => ("", path.strip_prefix('/').unwrap()),
    };
    Some(Seen {
        version: version.to_owned(),
        line: format!("{method} /{path}"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

async fn write(mut stream: UnixStream, mut reply: Reply) {
    loop {
        let text = match reply {
            Reply::Held(mut gate, then) => {
                gate.wait_for(|open| *open).await.unwrap();
                reply = then();
                continue;
            }
            Reply::Json(status, body) => {
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let length = body.len();
                format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\
                     Date: Fri, 13 Feb 2009 23:31:30 GMT\r\nConnection: close\r\n\r\n{body}"
                )
            }
            Reply::Ping(server) => format!(
                "HTTP/1.1 200 X\r\nContent-Length: 2\r\nApi-Version: 1.41\r\n\
                 Server: {server}\r\nConnection: close\r\n\r\nOK"
            ),
            Reply::Stalled => {
                stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n[").await.unwrap();
                return std::future::pending().await;
            }
            Reply::Chunked(body) => {
                let length = body.len();
                format!(
                    "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                     {length:x}\r\n{body}\r\n0\r\n\r\n"
                )
            }
            Reply::Attached(pieces) => {
                let mut text =
                    "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_owned();
                for piece in pieces {
                    let length = u8::try_from(piece.len()).unwrap();
                    text.extend(['\x01', '\0', '\0', '\0', '\0', '\0', '\0', char::from(length)]);
                    text.push_str(piece);
                }
                text
            }
            Reply::Truncated(body) => {
                let length = body.len();
                format!(
                    "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n"
                )
            }
        };
        // The adapter may have given up.
        let _ = stream.write_all(text.as_bytes()).await;
        return;
    }
}

fn usual(seen: &Seen) -> Reply {
    let line = seen.line.as_str();
    if line == "GET /_ping" {
        return Reply::Ping("Docker/20.10.24 (linux)");
    }
    if line == "GET /version" {
        return Reply::Json(200, json!({"ApiVersion": "1.41", "Version": "20.10.24"}));
    }
    if line == "GET /info" {
        let info = json!({"ID": "one", "NCPU": 2, "ServerVersion": "20.10.24", "OSType": "linux"});
        return Reply::Json(200, info);
    }
    if line.starts_with("GET /images/") {
        return Reply::Json(200, json!({"Id": "sha256:pinned"}));
    }
    if line.starts_with("GET /containers/json") || line.starts_with("GET /networks?") {
        return Reply::Json(200, json!([]));
    }
    if line == "POST /networks/create" {
        return Reply::Json(201, json!({"Id": "e".repeat(64), "Warning": ""}));
    }
    if line.starts_with("POST /containers/create") {
        return Reply::Json(201, json!({"Id": "c".repeat(64), "Warnings": []}));
    }
    if line.ends_with("/start") || line.starts_with("DELETE") {
        return Reply::Json(204, Value::Null);
    }
    if line.ends_with("/json") {
        let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
        let state = json!({"Running": true, "Pid": 4_000_000});
        let seen = json!({"State": state, "NetworkSettings": {"Ports": ports}});
        return Reply::Json(200, seen);
    }
    Reply::Json(404, json!({"message": format!("nothing at {line}")}))
}
