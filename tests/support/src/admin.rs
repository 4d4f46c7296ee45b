//! A running Ganger, asked by its admin socket as any HTTP client would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// The admin socket of a running Ganger.
#[derive(Debug, Clone)]
pub struct AdminClient {
    path: String,
}

// === impl AdminClient ===

impl AdminClient {
    /// That of the instance of this name.
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
        let mut stream = UnixStream::connect(&self.path).expect(&self.path);
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        };
        (status.expect("a status"), body)
    }

    /// What a path tells.
    ///
    /// # Panics
    /// Nothing.
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

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).expect("a length");
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    text
}
