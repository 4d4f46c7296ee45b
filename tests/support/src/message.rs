//! HTTP/1.1 as far as a relay has to know it: where a message begins and ends.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a read waits before it looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(20);
/// The most that is read at once.
const PART: usize = 16 << 10;

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Side<S> {
    stream: S,
    read: Vec<u8>,
}

/// A request or status line and its headers.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
}

/// How much of a body is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Nothing,
    Bytes(usize),
    Chunked,
    UntilEnd,
}

/// A connection whose reads can be given a limit.
pub(crate) trait Limited: Read {
    fn limit(&self, time: Duration) -> io::Result<()>;
}

impl Limited for TcpStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl Limited for UnixStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

// === impl Head ===

impl Head {
    /// Of a request: what it asks for, without the version of the API.
    pub(crate) fn path(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let path = text.split(' ').nth(1).unwrap_or_default();
        let versioned = path.strip_prefix("/v").and_then(|path| path.split_once('/'));
        versioned.map_or_else(|| path.to_owned(), |(_, rest)| format!("/{rest}"))
    }

    pub(crate) fn body_of_question(&self) -> Length {
        self.length().unwrap_or(Length::Nothing)
    }

    pub(crate) fn body_of_answer(&self, question: &Head) -> Length {
        let text = String::from_utf8_lossy(&self.bytes);
        match text.split(' ').nth(1) {
            _ if question.bytes.starts_with(b"HEAD ") => Length::Nothing,
            Some("204" | "304") => Length::Nothing,
            _ => self.length().unwrap_or(Length::UntilEnd),
        }
    }

    fn length(&self) -> Option<Length> {
        let text = String::from_utf8_lossy(&self.bytes).to_lowercase();
        let header = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        match (header("transfer-encoding"), header("content-length")) {
            (Some("chunked"), _) => Some(Length::Chunked),
            (_, Some("0")) => Some(Length::Nothing),
            (_, Some(length)) => length.parse().ok().map(Length::Bytes),
            (_, None) => None,
        }
    }
}

// === impl Side ===

impl<S: Limited> Side<S> {
    pub(crate) fn new(stream: S) -> io::Result<Self> {
        stream.limit(TICK)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// The next head; `None` when the connection ends before it.
    ///
    /// # Errors
    /// When it breaks, ends within a head, or the answer is not wanted any more.
    pub(crate) fn head(&mut self, gone: impl Fn() -> bool) -> io::Result<Option<Head>> {
        if self.read.is_empty() && !self.fill(&gone)? {
            return Ok(None);
        }
        let bytes = self.up_to(b"\r\n\r\n", 0, gone)?;
        Ok(Some(Head { bytes }))
    }

    /// The next piece of a body, as it came: of a chunked one, a chunk. `None` at its end.
    ///
    /// # Errors
    /// As for [`Side::head`].
    pub(crate) fn piece(
        &mut self,
        length: &mut Length,
        gone: impl Fn() -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        match *length {
            Length::Nothing => Ok(None),
            Length::Chunked => {
                let line = self.line_end(&gone)?;
                let size = String::from_utf8_lossy(&self.read[..line]);
                let size = usize::from_str_radix(size.trim(), 16);
                let size = size.map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
                if size == 0 {
                    *length = Length::Nothing;
                }
                self.up_to(b"\r\n", line + size, gone).map(Some)
            }
            Length::Bytes(left) => {
                if self.read.is_empty() && !self.fill(&gone)? {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let piece = self.take(left);
                let left = left - piece.len();
                *length = if left == 0 { Length::Nothing } else { Length::Bytes(left) };
                Ok(Some(piece))
            }
            Length::UntilEnd => {
                let more = !self.read.is_empty() || self.fill(&gone)?;
                Ok(more.then(|| self.take(PART)))
            }
        }
    }

    /// Where the first line ends, its end included.
    fn line_end(&mut self, gone: &impl Fn() -> bool) -> io::Result<usize> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(end + 1);
            }
            self.more(gone)?;
        }
    }

    /// Takes all up to a mark that is not before `least`, the mark included.
    fn up_to(&mut self, mark: &[u8], least: usize, gone: impl Fn() -> bool) -> io::Result<Vec<u8>> {
        loop {
            let rest = self.read.get(least..).unwrap_or_default();
            if let Some(at) = rest.windows(mark.len()).position(|bytes| bytes == mark) {
                return Ok(self.take(least + at + mark.len()));
            }
            self.more(&gone)?;
        }
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let rest = self.read.split_off(most.min(self.read.len()));
        std::mem::replace(&mut self.read, rest)
    }

    fn more(&mut self, gone: &impl Fn() -> bool) -> io::Result<()> {
        if self.fill(gone)? { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Whether more came; not so at the end.
    fn fill(&mut self, gone: &impl Fn() -> bool) -> io::Result<bool> {
        let mut part = [0; PART];
        loop {
            match self.stream.read(&mut part) {
                Ok(length) => {
                    self.read.extend_from_slice(&part[..length]);
                    return Ok(length > 0);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if gone() {
                        return Err(ErrorKind::ConnectionAborted.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn messages_are_told_from_each_other_however_they_say_how_long_they_are() {
        let (mut engine, ours) = UnixStream::pair().unwrap();
        let messages: [(&str, &str, &[&str]); 5] = [
            ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", &["{}"]),
            ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", &[]),
            ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n", &[]),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                &["6\r\n{\r\n}\r\n\r\n", "1\r\nx\r\n", "0\r\n\r\n"],
            ),
            ("GET", "HTTP/1.1 200 OK\r\n\r\n", &["to the end"]),
        ];
        for (_, head, body) in messages {
            engine.write_all(head.as_bytes()).unwrap();
            engine.write_all(body.concat().as_bytes()).unwrap();
        }
        drop(engine);
        let mut side = Side::new(ours).unwrap();
        for (method, head, body) in messages {
            let found = side.head(|| false).unwrap().unwrap();
            assert_eq!(found.bytes, head.as_bytes());
            let question = Head { bytes: format!("{method} / HTTP/1.1\r\n\r\n").into_bytes() };
            let mut length = found.body_of_answer(&question);
            for part in body {
                let piece = side.piece(&mut length, || false).unwrap().unwrap();
                assert_eq!(String::from_utf8_lossy(&piece), *part);
            }
            assert!(side.piece(&mut length, || false).unwrap().is_none());
        }
        assert!(side.head(|| false).unwrap().is_none());
        let asked = Head { bytes: b"GET /v1.41/events?filters=x HTTP/1.1\r\n\r\n".to_vec() };
        assert_eq!(
            (asked.path().as_str(), asked.body_of_question()),
            ("/events?filters=x", Length::Nothing)
        );
    }
}
