//! A running Ganger, asked by its admin socket as any HTTP client would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::poll::here;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The admin socket of a running Ganger.
#[derive(Debug, Clone)]
pub struct AdminClient {
    path: String,
}

// === impl AdminClient ===

impl AdminClient {
    /// The client for the instance of this name.
    #[must_use]
    pub fn of(instance: &str) -> Self {
        Self { path: format!("/run/ganger/{instance}.sock") }
    }

    /// Asks; the status of the answer, and its body.
    ///
    /// # Panics
    /// Nobody answers, or not in HTTP.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, accept: &str, body: &str) -> (u16, String) {
        let stream = UnixStream::connect(&self.path).expect(&self.path);
        stream.set_read_timeout(Some(here(PATIENCE))).expect("a time-out");
        let (status, body) = exchange(stream, method, path, accept, body);
        (status, String::from_utf8(body).expect("text"))
    }

    /// The JSON that a path answers.
    ///
    /// # Panics
    /// When the answer is not JSON with status 200.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "*/*", "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect(path)
    }

    /// Gives an order; the status of the answer, and what it says in detail.
    ///
    /// # Panics
    /// The answer is not that to an order.
    #[track_caller]
    pub fn order(&self, path: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.ask("POST", path, "*/*", body);
        let answer: Value = serde_json::from_str(&answer).expect(path);
        (status, answer["detail"].as_str().expect("a detail").to_owned())
    }
}

/// Sends one request, and reads the answer: its status and its body.
pub(crate) fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    accept: &str,
    body: &str,
) -> (u16, Vec<u8>) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let (mut answer, mut buffer) = (Vec::new(), [0; 65_536]);
    let (head, at) = loop {
        let read = stream.read(&mut buffer).expect("an answer");
        answer.extend_from_slice(&buffer[..read]);
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase(), end + 4);
        }
        assert!(read > 0, "an answer without a head");
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        // A server that gives the length may keep the connection.
        Some(length) => {
            while answer.len() < at + length {
                let read = stream.read(&mut buffer).expect("an answer");
                assert!(read > 0, "an answer that is cut short");
                answer.extend_from_slice(&buffer[..read]);
            }
        }
        None => _ = stream.read_to_end(&mut answer).expect("an answer"),
    }
    let body = &answer[at..];
    match head.contains("transfer-encoding: chunked") {
        true => (status, unchunked(body)),
        false => (status, body.to_owned()),
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&body[..end]).expect("a length").trim();
        let length = usize::from_str_radix(length, 16).expect("a length");
        body = &body[end + 2..];
        whole.extend_from_slice(&body[..length]);
        body = &body[(length + 2).min(body.len())..];
    }
    whole
}
