//! A proxy in front of one backend, which is leased to everybody.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger::proxy::{
    self, Admission, Crew, Leased, Outcome, Refusal, Service, Settings, Shutdown, StartKind, Supply,
};
use ganger::reach::{Backend, Fate, tune};
use ganger_pool::core::{DaemonName, ServiceName};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The one container there is, leased to everybody.
#[derive(Debug, Clone)]
struct Only {
    backend: Arc<Direct>,
    daemon: DaemonName,
}

#[derive(Debug)]
struct Direct {
    address: SocketAddr,
    /// Connections made ahead, where there are to be some.
    hot: Mutex<Vec<std::net::TcpStream>>,
    wanted: Option<Notify>,
}

/// As many are kept as there are connections at a time.
const HOT: usize = 64;

/// Lets this process have as many files open as it may.
pub(crate) fn raise_files() {
    proxy::raise_open_files().expect("the limit can be raised");
}

/// Where it listens. It runs as long as the runtimes of the crews. With `hot`, connections to
/// the backend are made ahead there, as `preconnect` has it.
pub(crate) fn proxy_to<'a>(
    crews: impl IntoIterator<Item = &'a Crew>,
    backend: SocketAddr,
    hot: Option<&Handle>,
) -> SocketAddr {
    let settings = Settings {
        name: "bench".into(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        queue_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        retries: 6,
        replay: 64 << 10,
        idle: Some(Duration::from_secs(600)),
        first_byte: None,
        speaks_first: false,
        session: None,
    };
    let listener = proxy::bind(&settings.name, settings.listen).expect("a port");
    let address = listener.local_addr().expect("its address");
    let wanted = hot.map(|_| Notify::new());
    let direct = Arc::new(Direct { address: backend, hot: Mutex::default(), wanted });
    if let Some(runtime) = hot {
        runtime.spawn(Direct::keep_hot(direct.clone()));
    }
    let supply = Arc::new(Only { backend: direct, daemon: "local".into() });
    let service = Service::new(settings, supply, Admission::new(20_000));
    let service = tokio::sync::watch::channel(service).1;
    for crew in crews {
        let listener = listener.try_clone().expect("a descriptor");
        let run = proxy::run(listener, service.clone(), Shutdown::default(), crew.clone());
        crew.runtime().spawn(run);
    }
    address
}

// === impl Only ===

impl Supply for Only {
    type Lease = Self;

    async fn lease(&self, _: &ServiceName, _: tokio::time::Instant) -> Result<Self, Refusal> {
        Ok(self.clone())
    }
}

impl Leased for Only {
    type Backend = Direct;

    fn backend(&self) -> &Arc<Direct> {
        &self.backend
    }
    fn daemon(&self) -> &DaemonName {
        &self.daemon
    }
    fn start(&self) -> StartKind {
        StartKind::Reused
    }
    fn uses(&self) -> u32 {
        1
    }
    fn max_uses(&self) -> u32 {
        1
    }
    fn finish(self, _: Outcome) {}
}

// === impl Direct ===

impl Direct {
    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        tune(&stream)?;
        Ok(stream)
    }

    async fn keep_hot(self: Arc<Self>) {
        loop {
            while self.hot.lock().len() < HOT {
                let Ok(stream) = self.connect().await.and_then(TcpStream::into_std) else { return };
                self.hot.lock().push(stream);
            }
            if let Some(wanted) = &self.wanted {
                wanted.notified().await;
            }
        }
    }
}

impl Backend for Direct {
    fn id(&self) -> &str {
        "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let hot = self.hot.lock().pop();
        if let Some(wanted) = &self.wanted {
            wanted.notify_one();
        }
        match hot {
            Some(stream) => TcpStream::from_std(stream),
            None => self.connect().await,
        }
    }

    async fn runs(&self) -> bool {
        true
    }

    async fn fate(&self) -> Fate {
        Fate::Running
    }
}
