//! A relay between a program and an engine's API, or an engine and a registry, that can
//! make it slow, silent or broken: it knows where an answer begins and ends.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::net::sockopt::set_socket_linger;

use crate::fleet::Host;
use crate::message::{Head, Length, Limited, Side};
use crate::poll::step;
use crate::registry::Registry;

/// A fault of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Each part of an answer comes so much later; each part of a request, too.
    Slow(Duration),
    /// Answers come in pieces of 16 bytes.
    Trickled,
    /// Nothing comes after the headers; of an answer without a body, nothing at all.
    Stalled,
    /// Answers end in the middle of the body; those without one, in the middle of the headers.
    Cut,
    /// Answers are reset there.
    Reset,
    /// Every event comes twice.
    EventsDoubled,
    /// No event comes.
    EventsLost,
    /// The blobs of an image stall after the headers.
    BlobsStalled,
}

/// The API of a host, or a registry, at a port of 127.0.0.1. Dropping this breaks connections.
#[derive(Debug)]
pub struct Shim {
    name: String,
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// A fault of a shim, until this is dropped.
#[derive(Debug)]
#[must_use = "the answers are whole again when this is dropped"]
pub struct Ailing<'a>(&'a Shim);

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    fault: Mutex<Option<Answers>>,
    /// To how many parts of answers the fault was done.
    met: AtomicUsize,
    over: AtomicBool,
}

/// Who answers.
#[derive(Debug)]
enum Upstream {
    Engine(PathBuf),
    /// At this port of 127.0.0.1.
    Registry(u16),
}

/// A part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The headers of an answer that has no body.
    All,
    Headers,
    Body,
    /// Of the stream of events: an engine sends each as a chunk.
    Event,
    /// Of an image.
    Blob,
}

// === impl Shim ===

impl Shim {
    /// Stands before the API of a host, and does nothing to it yet.
    ///
    /// # Panics
    /// When it has no port to listen on.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        Self::before(&host.name, Upstream::Engine(host.socket.clone()))
    }

    /// Stands before a registry, and does nothing to it yet.
    ///
    /// # Panics
    /// As [`Shim::start`].
    #[must_use]
    pub fn of_registry(registry: &Registry) -> Self {
        Self::before("registry", Upstream::Registry(registry.port))
    }

    fn before(name: &str, upstream: Upstream) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            upstream,
            fault: Mutex::default(),
            met: AtomicUsize::default(),
            over: AtomicBool::default(),
        });
        let accepting = shared.clone();
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self { name: name.to_owned(), port, shared, acceptor: Some(acceptor) }
    }

    /// The name of an image in the registry behind it.
    #[must_use]
    pub fn image(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// The shim as a daemon in a configuration, under the name of its host.
    #[must_use]
    pub fn daemon(&self, max_containers: u32) -> String {
        let (name, port) = (&self.name, self.port);
        let url = format!("tcp://127.0.0.1:{port}");
        format!("(name: {name:?}, url: {url:?}, max_containers: {max_containers})")
    }

    /// Does this to all answers from now on, also to the one under way.
    pub fn suffer(&self, fault: Answers) -> Ailing<'_> {
        *self.shared.fault.lock() = Some(fault);
        Ailing(self)
    }

    /// To how many parts of answers a fault was done so far.
    #[must_use]
    pub fn met(&self) -> usize {
        self.shared.met.load(Ordering::Relaxed)
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // The connection that it waits for.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let ended = self.acceptor.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the shim failed");
    }
}

// === impl Ailing ===

impl Drop for Ailing<'_> {
    fn drop(&mut self) {
        *self.0.shared.fault.lock() = None;
    }
}

// === impl Shared ===

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for client in listener.incoming().map_while(Result::ok) {
                if self.over.load(Ordering::Relaxed) {
                    break;
                }
                // Either end may go at any time.
                scope.spawn(move || self.relay(client));
            }
        });
    }

    /// Passes on questions and their answers, one after the other.
    fn relay(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        match &self.upstream {
            Upstream::Engine(socket) => {
                let engine = UnixStream::connect(socket)?;
                self.relay_to(&engine, Side::new(engine.try_clone()?)?, &client)
            }
            Upstream::Registry(port) => {
                let registry = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                self.relay_to(&registry, Side::new(registry.try_clone()?)?, &client)
            }
        }
    }

    fn relay_to<S: Limited>(
        &self,
        mut to: impl Write,
        mut answers: Side<S>,
        client: &TcpStream,
    ) -> io::Result<()> {
        let mut questions = Side::new(client.try_clone()?)?;
        let over = || self.over.load(Ordering::Relaxed);
        while let Some(question) = questions.head(over)? {
            self.linger(client)?;
            to.write_all(&question.bytes)?;
            let mut length = question.body_of_question();
            while let Some(piece) = questions.piece(&mut length, over)? {
                to.write_all(&piece)?;
            }
            self.answer(&question, &mut answers, client)?;
        }
        Ok(())
    }

    /// Passes on one answer.
    fn answer<S: Limited>(
        &self,
        question: &Head,
        engine: &mut Side<S>,
        client: &TcpStream,
    ) -> io::Result<()> {
        let gone = || self.over.load(Ordering::Relaxed) || has_left(client);
        let Some(head) = engine.head(gone)? else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let mut length = head.body_of_answer(question);
        let (first, rest) = match length {
            Length::Nothing => (Part::All, Part::All),
            _ if question.path().starts_with("/events") => (Part::Headers, Part::Event),
            _ if question.path().contains("/blobs/") => (Part::Headers, Part::Blob),
            _ => (Part::Headers, Part::Body),
        };
        self.pass(first, &head.bytes, client)?;
        while let Some(piece) = engine.piece(&mut length, gone)? {
            self.pass(rest, &piece, client)?;
        }
        if length == Length::UntilEnd {
            client.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    fn pass(&self, part: Part, bytes: &[u8], client: &TcpStream) -> io::Result<()> {
        let mut to = client;
        let fault = *self.fault.lock();
        let (is_event, has_more) = (part == Part::Event, part == Part::Headers);
        match fault {
            Some(Answers::Slow(_)) => self.linger(client)?,
            Some(Answers::Trickled) => {
                self.count();
                return bytes.chunks(16).try_for_each(|piece| to.write_all(piece));
            }
            Some(Answers::Stalled) if !has_more => self.stall(client, Answers::Stalled)?,
            Some(Answers::BlobsStalled) if part == Part::Blob => {
                self.stall(client, Answers::BlobsStalled)?;
            }
            Some(Answers::Cut | Answers::Reset) if !has_more => {
                self.count();
                to.write_all(&bytes[..bytes.len() / 2])?;
                if fault == Some(Answers::Reset) {
                    set_socket_linger(client, Some(Duration::ZERO))?;
                }
                return Err(ErrorKind::ConnectionReset.into());
            }
            Some(Answers::EventsDoubled) if is_event => {
                self.count();
                to.write_all(bytes)?;
            }
            Some(Answers::EventsLost) if is_event => {
                self.count();
                return Ok(());
            }
            _ => {}
        }
        to.write_all(bytes)
    }

    /// Waits until the fault is over.
    fn stall(&self, client: &TcpStream, fault: Answers) -> io::Result<()> {
        self.count();
        self.wait(client, || *self.fault.lock() != Some(fault))
    }

    fn count(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits as long as what is slow takes.
    fn linger(&self, client: &TcpStream) -> io::Result<()> {
        let fault = *self.fault.lock();
        if let Some(Answers::Slow(time)) = fault {
            self.count();
            let since = Instant::now();
            self.wait(client, || since.elapsed() >= time)?;
        }
        Ok(())
    }

    /// Waits until it is so, or nobody wants to know any more.
    fn wait(&self, client: &TcpStream, so: impl Fn() -> bool) -> io::Result<()> {
        while !so() {
            if self.over.load(Ordering::Relaxed) || has_left(client) {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            step();
        }
        Ok(())
    }
}

/// Whether a client has hung up. Waits a moment.
fn has_left(client: &TcpStream) -> bool {
    match client.peek(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
