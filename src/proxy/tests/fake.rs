//! The fake supply, containers to order, and a proxy around them.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{DaemonName, LaunchId, ServiceName};
use parking_lot::Mutex;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::subscriber::DefaultGuard;

use crate::proxy::{
    Acceptor, Admission, ConnRecord, Counts, Leased, Listener, Outcome, Refusal, ServiceContext,
    Sessions, Settings, Shutdown, StartKind, Supply, bind, run,
};
use crate::reach::{Backend, Fate, tune};
use crate::spec::{Connect, SessionSettings};
use crate::telemetry::tests::{Capture, text};

/// The next lease that the supply gives.
pub(super) enum Give {
    /// A container at an address, and what becomes of it.
    Container(SocketAddr, Fate),
    /// The same, of a daemon that never returns its log.
    Mute(SocketAddr, Fate),
    /// A container whose dial never ends.
    Deaf,
    /// A container whose first dials fail with this code.
    Shy(SocketAddr, usize, Errno),
    Refuse(Refusal),
    /// No answer, ever.
    Wait,
}

/// An event that the supply saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The wait for a lease that is not to be had has begun.
    Waiting,
    /// ... and has ended, without an answer.
    Abandoned,
    Asked,
    Finished(Outcome),
    /// A lease was dropped without a word.
    Dropped,
}

pub(super) struct FakeSupply {
    pub(super) script: Mutex<VecDeque<Give>>,
    pub(super) notes: mpsc::UnboundedSender<Note>,
}

pub(super) struct FakeLease {
    backend: Arc<FakeBackend>,
    daemon: DaemonName,
    notes: Option<mpsc::UnboundedSender<Note>>,
}

#[derive(Debug)]
pub(super) struct FakeBackend {
    address: Option<SocketAddr>,
    /// Errors of the dials before one is let through.
    failures: Mutex<Vec<Errno>>,
    fate: Fate,
    /// Its last lines are never to be had.
    mute: bool,
    notes: mpsc::UnboundedSender<Note>,
}

/// A running proxy.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) shutdown: Shutdown,
    notes: mpsc::UnboundedReceiver<Note>,
    admission: Arc<Admission>,
    pub(super) sessions: Arc<Sessions>,
    task: JoinHandle<()>,
    log: Capture,
    _guard: DefaultGuard,
}

// === impl Settings ===

impl Settings {
    pub(in crate::proxy) fn sample() -> Self {
        Self {
            name: "echo".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            speaks_first: false,
            session: SessionSettings {
                queue_timeout: Duration::from_secs(60),
                connect: Connect {
                    timeout: Duration::from_secs(60),
                    retries: 3,
                    replay: 64 * 1024,
                },
                first_byte: None,
                keepalive: Some(Duration::from_secs(60)),
                idle: Some(Duration::from_secs(60)),
                session_timeout: None,
            },
        }
    }
}

// === impl FakeSupply ===

impl Supply for FakeSupply {
    type Lease = FakeLease;

    async fn lease(
        &self,
        _: &ServiceName,
        _: Instant,
        queued: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<FakeLease, Refusal> {
        struct Guard(mpsc::UnboundedSender<Note>);
        impl Drop for Guard {
            fn drop(&mut self) {
                let _ = self.0.send(Note::Abandoned);
            }
        }
        let give = self.script.lock().pop_front();
        let (mut failures, mut mute) = (Vec::new(), false);
        let (address, fate) = match give.expect("the script has a lease for this") {
            Give::Container(address, fate) => (Some(address), fate),
            Give::Mute(address, fate) => {
                mute = true;
                (Some(address), fate)
            }
            Give::Deaf => (None, Fate::Running),
            Give::Shy(address, times, errno) => {
                failures = vec![errno; times];
                (Some(address), Fate::Running)
            }
            Give::Refuse(refusal) => return Err(refusal),
            Give::Wait => {
                queued(3);
                let _ = self.notes.send(Note::Waiting);
                let _guard = Guard(self.notes.clone());
                pending().await
            }
        };
        let notes = self.notes.clone();
        let failures = Mutex::new(failures);
        let backend = FakeBackend { address, failures, fate, mute, notes: notes.clone() };
        let backend = Arc::new(backend);
        Ok(FakeLease { backend, daemon: "local".into(), notes: Some(notes) })
    }
}

// === impl FakeLease ===

impl Leased for FakeLease {
    type Backend = FakeBackend;

    fn backend(&self) -> &Arc<FakeBackend> {
        &self.backend
    }
    fn launch(&self) -> LaunchId {
        LaunchId(1)
    }
    fn daemon(&self) -> &DaemonName {
        &self.daemon
    }
    fn start(&self) -> StartKind {
        StartKind::Warm
    }
    fn ready(&self) -> u32 {
        1
    }
    fn uses(&self) -> u32 {
        1
    }
    fn max_uses(&self) -> u32 {
        1
    }
    fn finish(mut self, outcome: Outcome) {
        let notes = self.notes.take().expect("a lease is finished once");
        let _ = notes.send(Note::Finished(outcome));
    }
}

impl Drop for FakeLease {
    fn drop(&mut self) {
        if let Some(notes) = self.notes.take() {
            let _ = notes.send(Note::Dropped);
        }
    }
}

// === impl FakeBackend ===

impl Backend for FakeBackend {
    fn id(&self) -> &str {
        "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let failure = self.failures.lock().pop();
        match (self.address, failure) {
            (_, Some(errno)) => Err(errno.into()),
            (Some(address), None) => {
                let stream = TcpStream::connect(address).await?;
                tune(&stream, None)?;
                Ok(stream)
            }
            (None, None) => pending().await,
        }
    }

    async fn runs(&self) -> bool {
        self.fate == Fate::Running
    }

    async fn fate(&self) -> Fate {
        let _ = self.notes.send(Note::Asked);
        self.fate.clone()
    }

    async fn last_lines(&self) -> Vec<String> {
        if self.mute {
            pending::<()>().await;
        }
        vec!["the cause".to_owned(), "last words".to_owned()]
    }

    fn hint(&self, lines: &[String], _: bool) -> Option<String> {
        lines.contains(&"the cause".to_owned()).then(|| "`memory`".to_owned())
    }
}

// === impl Proxy ===

impl Proxy {
    pub(super) fn start(script: impl Into<VecDeque<Give>>) -> Self {
        Self::start_with(script, 1000, |_| {})
    }

    pub(super) fn start_with(
        script: impl Into<VecDeque<Give>>,
        cap: usize,
        tweak: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::start_on(script, cap, tweak, Acceptor::alone(Handle::current()))
    }

    /// Serves connections on the thread of this acceptor.
    pub(super) fn start_on(
        script: impl Into<VecDeque<Give>>,
        cap: usize,
        tweak: impl FnOnce(&mut Settings),
        acceptor: Acceptor,
    ) -> Self {
        let mut settings = Settings::sample();
        tweak(&mut settings);
        let listener = bind(&settings).unwrap();
        Self::start_at(listener, script, cap, settings, acceptor)
    }

    /// With a listener that is there already.
    pub(super) fn start_at(
        listener: Listener,
        script: impl Into<VecDeque<Give>>,
        cap: usize,
        settings: Settings,
        acceptor: Acceptor,
    ) -> Self {
        let (log, guard) = Capture::install(text);
        let (sender, notes) = mpsc::unbounded_channel();
        let supply = Arc::new(FakeSupply { script: Mutex::new(script.into()), notes: sender });
        let address = listener.local_addr().unwrap();
        let admission = Admission::new(cap);
        let sessions = Sessions::new(Vec::new());
        let (to, among) = (Arc::clone(&admission), Arc::clone(&sessions));
        let service = ServiceContext::new(settings, supply, to, among);
        let shutdown = Shutdown::default();
        let service = tokio::sync::watch::channel(service).1;
        let task = tokio::spawn(run(listener, service, shutdown.clone(), acceptor));
        Self { address, shutdown, notes, admission, sessions, task, log, _guard: guard }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The next event that the supply saw.
    pub(super) async fn note(&mut self) -> Note {
        self.notes.recv().await.unwrap()
    }

    /// Waits for all sessions to end. Answers with the log.
    pub(super) async fn end(self) -> Ended {
        self.shutdown.drain.cancel();
        self.task.await.unwrap();
        let counts = self.admission.counts().remove(&"echo".into()).unwrap();
        assert_eq!(counts.open, 0);
        let records = self.sessions.ended();
        Ended { log: self.log.text(), counts, records, notes: self.notes }
    }

    pub(super) fn counts(&self) -> Counts {
        self.admission.counts().remove(&"echo".into()).unwrap()
    }
}

/// The results of a proxy that has ended.
pub(super) struct Ended {
    pub(super) log: String,
    pub(super) counts: Counts,
    pub(super) records: Vec<Arc<ConnRecord>>,
    notes: mpsc::UnboundedReceiver<Note>,
}

impl Ended {
    /// Asserts the outcomes of all leases, in order.
    #[track_caller]
    pub(super) fn outcomes(&mut self, expected: &[Outcome]) {
        let mut seen = Vec::new();
        while let Ok(note) = self.notes.try_recv() {
            match note {
                Note::Finished(outcome) => seen.push(outcome),
                Note::Dropped => panic!("a lease was dropped unfinished"),
                _ => {}
            }
        }
        assert_eq!(seen, expected);
    }

    /// Asserts that one connection has ended, with all these parts in its line.
    #[track_caller]
    pub(super) fn line(&self, parts: &[&str]) {
        let ends: Vec<_> = self.log.lines().filter(|line| line.contains("conn end")).collect();
        assert_eq!(ends.len(), 1, "{}", self.log);
        for part in parts {
            assert!(ends[0].contains(part), "{part} is not in {}", self.log);
        }
    }
}

// === containers and clients ===

/// Runs a test in a runtime of its own. The limit is for a test that hangs.
pub(super) fn test(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), body).await.expect("the test ends");
    });
}

/// A container that treats its one connection as it is told.
pub(super) async fn container<F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        serve(stream).await;
    });
    address
}

/// A container that echoes and ends when its client does.
pub(super) async fn echo() -> Give {
    Give::Container(container(echo_all).await, Fate::Running)
}

pub(super) async fn echo_all(stream: TcpStream) {
    let (mut from, mut to) = stream.into_split();
    // A client that resets is no concern of the container's.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// An address that refuses connections.
pub(super) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Resets a connection.
pub(super) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reads to the end, or to the reset. Answers with what came before.
pub(super) async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let result = stream.read_to_end(&mut all).await.map(|_| ());
    (all, result)
}

#[track_caller]
pub(super) fn assert_reset(result: &io::Result<()>) {
    let error = result.as_ref().expect_err("a reset and not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
}

/// Pseudo-random bytes, other ones for each seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// xorshift64*
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}
