//! A Ganger that verbs are tested against: it gives answers that were written before.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ganger_test_support::unique;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;

use super::remote::Remote;

/// A server that listens until it has given all its answers, one on each connection.
pub(super) struct FakeGanger {
    pub(super) path: PathBuf,
    /// The heads of the requests.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    _answers: AbortOnDropHandle<()>,
}

// === impl FakeGanger ===

impl FakeGanger {
    /// A client of it, which waits so long for an order.
    pub(super) fn remote(&self, order_patience: Duration) -> Remote {
        Remote::new(self.path.clone(), order_patience)
    }

    /// An empty answer is none: the connection stays open.
    pub(super) fn start(answers: impl IntoIterator<Item = String>) -> Self {
        let path = std::env::temp_dir().join(unique("ganger-fake"));
        let listener = UnixListener::bind(&path).unwrap();
        let (asked, answers) = (Arc::default(), answers.into_iter().collect());
        let given = give(listener, path.clone(), Arc::clone(&asked), answers);
        Self { path, asked, _answers: AbortOnDropHandle::new(tokio::spawn(given)) }
    }
}

impl Drop for FakeGanger {
    fn drop(&mut self) {
        // The file goes with the last answer.
        _ = fs::remove_file(&self.path);
    }
}

async fn give(
    listener: UnixListener,
    path: impl AsRef<Path>,
    asked: Arc<Mutex<Vec<String>>>,
    mut answers: VecDeque<String>,
) {
    let mut open = Vec::new();
    while let Some(answer) = answers.pop_front() {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut head, mut part) = (Vec::new(), [0; 4096]);
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let length = stream.read(&mut part).await.unwrap();
            assert!(length > 0, "a request ended early: {head:?}");
            head.extend_from_slice(&part[..length]);
        }
        asked.lock().push(String::from_utf8(head).unwrap());
        if answers.is_empty() && !answer.is_empty() {
            // A client that has the last answer finds nobody there any more.
            fs::remove_file(&path).unwrap();
        }
        match answer.is_empty() {
            true => open.push(stream),
            // The client may have left.
            false => _ = stream.write_all(answer.as_bytes()).await,
        }
    }
    if !open.is_empty() {
        std::future::pending::<()>().await;
    }
}

/// A whole answer.
pub(super) fn reply(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A stream of events, which ends in order, as when a process stops, or breaks off.
pub(super) fn stream(events: &str, is_whole: bool) -> String {
    let head = "HTTP/1.1 200 X\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let end = if is_whole { "0\r\n\r\n" } else { "" };
    format!("{head}{:x}\r\n{events}\r\n{end}", events.len())
}
