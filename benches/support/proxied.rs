//! A proxy in front of one backend, which is leased to everybody.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ganger::proxy::{
    self, Acceptor, Admission, Leased, Outcome, Recorder, Refusal, ServiceContext, Sessions,
    Settings, Shutdown, StartKind, Supply,
};
use ganger::reach::{self, Backend, Between, Fate};
use ganger::spec::{Connect, SessionSettings};
use ganger_pool::core::{DaemonName, LaunchId, ServiceName};
use parking_lot::Mutex;
use socket2::{Domain, Socket};
use tokio::net::TcpStream;

/// The one container there is, leased to everybody.
#[derive(Debug, Clone)]
struct Only {
    backend: Arc<Direct>,
    daemon: DaemonName,
}

#[derive(Debug)]
struct Direct {
    address: SocketAddr,
    /// Connections are made ahead, and not only sockets.
    preconnect: bool,
    ahead: Mutex<Vec<Socket>>,
    /// Somebody has dialled since this was last looked at.
    dialled: AtomicBool,
}

/// As many sockets are made ahead as there are connections at a time.
const AHEAD: usize = 64;
/// How many connections are made ahead, and how long nobody must have dialled before.
const HOT: usize = 512;
const QUIET: Duration = Duration::from_millis(20);

/// The counters of a proxy, and its list of sessions.
pub(crate) type Counted = (Arc<Admission>, Arc<Sessions>);

/// New counters, with recorders that are told of the end of each connection.
pub(crate) fn counted(recorders: Vec<Arc<dyn Recorder>>) -> Counted {
    (Admission::new(20_000), Sessions::new(recorders))
}

/// Lets this process have as many files open as it may.
pub(crate) fn raise_files() {
    proxy::raise_open_files().expect("the limit can be raised");
}

/// The address of a proxy that runs as long as the acceptors' runtimes. At the end of each lease a
/// socket is made ahead for another; with `preconnect`, connections are when nobody dials.
pub(crate) fn proxy_to<'a>(
    acceptors: impl IntoIterator<Item = &'a Acceptor>,
    backend: SocketAddr,
    preconnect: bool,
    (admission, sessions): Counted,
) -> SocketAddr {
    let settings = Settings {
        name: "bench".into(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        speaks_first: false,
        session: SessionSettings {
            queue_timeout: Duration::from_secs(30),
            connect: Connect { timeout: Duration::from_secs(5), retries: 6, replay: 64 << 10 },
            first_byte: None,
            keepalive: Some(Duration::from_secs(60)),
            idle: Some(Duration::from_secs(600)),
            session_timeout: None,
        },
    };
    let listener = proxy::bind(&settings).expect("a port");
    let address = listener.local_addr().expect("its address");
    let (ahead, dialled) = (Mutex::default(), AtomicBool::new(false));
    let direct = Arc::new(Direct { address: backend, preconnect, ahead, dialled });
    if preconnect {
        let direct = Arc::clone(&direct);
        thread::spawn(move || direct.keep_hot());
    }
    let supply = Arc::new(Only { backend: direct, daemon: "local".into() });
    let service = ServiceContext::new(settings, supply, admission, sessions);
    let service = tokio::sync::watch::channel(service).1;
    for acceptor in acceptors {
        let listener = listener.try_clone().expect("a descriptor");
        let run = proxy::run(listener, service.clone(), Shutdown::default(), acceptor.clone());
        acceptor.runtime().spawn(run);
    }
    address
}

// === impl Only ===

impl Supply for Only {
    type Lease = Self;

    async fn lease(
        &self,
        _: &ServiceName,
        _: tokio::time::Instant,
        _: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Self, Refusal> {
        Ok(self.clone())
    }
}

impl Leased for Only {
    type Backend = Direct;

    fn backend(&self) -> &Arc<Direct> {
        &self.backend
    }
    fn launch(&self) -> LaunchId {
        LaunchId(1)
    }
    fn daemon(&self) -> &DaemonName {
        &self.daemon
    }
    fn start(&self) -> StartKind {
        StartKind::Reused
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
    fn finish(self, _: Outcome) {
        self.backend.prepare();
    }
}

// === impl Direct ===

impl Direct {
    fn socket(&self) -> io::Result<Socket> {
        reach::socket(Domain::for_address(self.address), Between::Loopback)
    }

    fn prepare(&self) {
        if self.preconnect || self.ahead.lock().len() >= AHEAD {
            return;
        }
        if let Ok(socket) = self.socket() {
            self.ahead.lock().push(socket);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it has a thread of its own")]
    fn keep_hot(&self) {
        loop {
            thread::sleep(QUIET);
            if self.dialled.swap(false, Relaxed) {
                continue;
            }
            while self.ahead.lock().len() < HOT && !self.dialled.load(Relaxed) {
                let Ok(socket) = self.socket() else { break };
                // On this machine the connection is made when the call returns, whatever it says.
                let _ = socket.connect(&self.address.into());
                self.ahead.lock().push(socket);
            }
        }
    }
}

impl Backend for Direct {
    fn id(&self) -> &str {
        "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        self.dialled.store(true, Relaxed);
        let ahead = self.ahead.lock().pop();
        match ahead {
            Some(socket) if self.preconnect => TcpStream::from_std(socket.into()),
            Some(socket) => reach::connect(socket, self.address).await,
            None => reach::connect(self.socket()?, self.address).await,
        }
    }

    async fn runs(&self) -> bool {
        true
    }

    async fn fate(&self) -> Fate {
        Fate::Running
    }
}
