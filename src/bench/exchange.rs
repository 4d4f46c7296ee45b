//! A connection, and the proof that it was served.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long the other side may go on after its client's end.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many bytes of an unexpected answer are shown.
const SHOWN: usize = 60;

/// The bytes sent on a connection, and the answer that shows that it was served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The bytes that the client sends, once it is connected.
    pub send: Vec<u8>,
    /// The start of the answer; when it is empty, any first byte. `None` waits for no answer: a
    /// connection is enough.
    pub expect: Option<Vec<u8>>,
}

/// A connection that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// When.
    pub at: Instant,
    /// The client's own address.
    pub client: SocketAddr,
}

/// A connection that was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// Nobody listens there.
    Refused,
    /// The connection was reset.
    Reset,
    /// No answer, or not all of it, in time.
    TimedOut,
    /// The connection was ended before the answer.
    Ended,
    /// Another answer, by its first bytes.
    Unexpected(Vec<u8>),
    /// Another error of the system.
    Other(ErrorKind),
}

// === impl Exchange ===

impl Exchange {
    /// Whether nothing is sent and nothing waited for.
    #[must_use]
    pub fn is_connect_only(&self) -> bool {
        self.send.is_empty() && self.expect.is_none()
    }

    /// Makes a connection and runs the exchange on it, within `patience`.
    ///
    /// # Errors
    /// Why it was not served.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(&self, to: SocketAddr, patience: Duration) -> Result<Answered, Miss> {
        self.over(TcpStream::connect(to), patience).await
    }

    /// As [`Exchange::connect`], and ends the connection as a client in good order does: it reads
    /// the other side to its end. A side that goes on all the same is reset.
    ///
    /// # Errors
    /// Why it was not served.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn session(
        &self,
        to: SocketAddr,
        patience: Duration,
    ) -> Result<Answered, Miss> {
        let (answered, stream) = self.served(TcpStream::connect(to), patience).await?;
        // Closed with unread bytes it would be reset, and its container not be reused.
        if !matches!(timeout(FAREWELL, heard_out(&stream)).await, Ok(Ok(()))) {
            _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        Ok(answered)
    }

    /// As [`Exchange::connect`], over the connection that this makes.
    pub(super) async fn over(
        &self,
        connect: impl Future<Output = io::Result<TcpStream>>,
        patience: Duration,
    ) -> Result<Answered, Miss> {
        // The stream is closed after the time of its answer was noted.
        self.served(connect, patience).await.map(|(answered, _stream)| answered)
    }

    async fn served(
        &self,
        connect: impl Future<Output = io::Result<TcpStream>>,
        patience: Duration,
    ) -> Result<(Answered, TcpStream), Miss> {
        let served = async {
            let mut stream = connect.await?;
            let client = stream.local_addr()?;
            if !self.is_connect_only() {
                stream.set_nodelay(true)?;
            }
            stream.write_all(&self.send).await?;
            if let Some(expect) = &self.expect {
                read(&mut stream, expect).await?;
            }
            Ok((Answered { at: Instant::now(), client }, stream))
        };
        timeout(patience, served).await.unwrap_or(Err(Miss::TimedOut))
    }
}

/// Ends our direction, and reads the other to its end.
async fn heard_out(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)?;
    let mut rest = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut rest) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn read(stream: &mut TcpStream, expect: &[u8]) -> Result<(), Miss> {
    let needed = expect.len().max(1);
    // An unexpected answer is to be seen, be it longer than the expected one.
    let mut answer = vec![0; needed.max(SHOWN + 1)];
    let mut filled = 0;
    while filled < needed {
        let count = stream.read(&mut answer[filled..]).await?;
        if count == 0 {
            return Err(Miss::Ended);
        }
        filled += count;
        let known = filled.min(expect.len());
        if answer[..known] != expect[..known] {
            answer.truncate(filled);
            return Err(Miss::Unexpected(answer));
        }
    }
    Ok(())
}

// === impl Miss ===

impl Miss {
    /// The kind of miss, without the answer: few words, whatever a service says.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Unexpected(_) => "another answer".to_owned(),
            other => other.to_string(),
        }
    }
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            ErrorKind::TimedOut => Self::TimedOut,
            kind => Self::Other(kind),
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Ended => f.write_str("ended before the answer"),
            Self::Unexpected(answer) => {
                let shown = &answer[..answer.len().min(SHOWN)];
                let more = if shown.len() < answer.len() { "…" } else { "" };
                write!(f, "another answer: \"{}\"{more}", shown.escape_ascii())
            }
            Self::Other(kind) => write!(f, "{kind}"),
        }
    }
}

/// The bytes that a text with `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` in it stands for.
///
/// # Errors
/// Something else comes after a backslash.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let known = [('r', b'\r'), ('n', b'\n'), ('t', b'\t'), ('0', 0), ('\\', b'\\')];
        let found = known.iter().find_map(|(c, byte)| Some((*byte, after.strip_prefix(*c)?)));
        let hex = || {
            let digits = after.strip_prefix('x')?.get(..2)?;
            let digits = Some(digits).filter(|d| d.chars().all(|c| c.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(digits, 16).ok()?, &after[3..]))
        };
        let (byte, after) = found.or_else(hex).ok_or_else(|| {
            format!(
                "{text:?}: after a backslash comes r, n, t, 0, x and two digits, or another one"
            )
        })?;
        bytes.push(byte);
        rest = after;
    }
    bytes.extend(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(unescape(r"PING\r\n\x00\xff\\x").unwrap(), b"PING\r\n\0\xff\\x");
        for wrong in [r"\", r"\q", r"\x1", r"\x+1", r"\xzz"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }

    /// The outcome of a service that sends this, byte by byte, and ends the connection.
    async fn answered(expect: &str, answer: &'static [u8]) -> Result<(), Miss> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4];
            client.read_exact(&mut asked).await.unwrap();
            client.set_nodelay(true).unwrap();
            for byte in answer {
                // The client may have seen enough.
                _ = client.write_all(&[*byte]).await;
            }
        });
        let exchange = Exchange { send: b"ask\n".to_vec(), expect: Some(expect.into()) };
        let outcome = exchange.connect(address, PATIENCE).await;
        service.await.unwrap();
        outcome.map(|_| ())
    }

    #[test]
    fn another_answer_is_shown_cut_to_size_and_cannot_steer_a_terminal() {
        let shown = |answer: &[u8]| Miss::Unexpected(answer.to_vec()).to_string();
        assert_eq!(shown(b"-ERR \x1b[2J\r\n"), r#"another answer: "-ERR \x1b[2J\r\n""#);
        let long = shown(&[b'x'; SHOWN + 1]);
        assert_eq!(long, format!("another answer: \"{}\"…", "x".repeat(SHOWN)));
    }

    #[tokio::test]
    async fn an_answer_counts_when_it_starts_as_it_should() {
        assert_eq!(answered("+PONG", b"+PONG and more").await, Ok(()));
        assert_eq!(answered("", b"?").await, Ok(()));
        assert_eq!(answered("", b"").await, Err(Miss::Ended));
        assert_eq!(answered("+PONG", b"+PO").await, Err(Miss::Ended));
        let other = answered("+PONG", b"-ERR").await;
        assert!(matches!(&other, Err(Miss::Unexpected(answer)) if answer[0] == b'-'), "{other:?}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = Exchange::default().connect(closed, PATIENCE).await;
        assert_eq!(refused, Err(Miss::Refused));
    }
}
