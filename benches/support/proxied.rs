//! A proxy in front of one backend, which is leased to everybody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ganger::proxy::{
    self, Admission, Leased, Outcome, Refusal, Service, Settings, Shutdown, StartKind, Supply,
};
use ganger::reach::{Backend, Fate};
use ganger_pool::core::{DaemonName, ServiceName};
use tokio::runtime::Runtime;

/// The one container there is, leased to everybody.
#[derive(Debug, Clone)]
struct Only {
    backend: Arc<Direct>,
    daemon: DaemonName,
}

#[derive(Debug)]
struct Direct(SocketAddr);

/// Where it listens. It runs as long as the runtime.
pub(crate) fn proxy_to(runtime: &Runtime, backend: SocketAddr) -> SocketAddr {
    let settings = Settings {
        name: "bench".into(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        queue_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        retries: 6,
        replay: 64 << 10,
        idle: Some(Duration::from_secs(600)),
        session: None,
    };
    let _guard = runtime.enter();
    let listener = proxy::bind(&settings.name, settings.listen).expect("a port");
    let address = listener.local_addr().expect("its address");
    let supply = Arc::new(Only { backend: Arc::new(Direct(backend)), daemon: "local".into() });
    let service = Service::new(settings, supply, Admission::new(1000));
    let service = tokio::sync::watch::channel(service).1;
    runtime.spawn(proxy::run(listener, service, Shutdown::default()));
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

impl Backend for Direct {
    fn id(&self) -> &str {
        "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
    }

    async fn dial(&self) -> io::Result<tokio::net::TcpStream> {
        tokio::net::TcpStream::connect(self.0).await
    }

    async fn runs(&self) -> bool {
        true
    }

    async fn fate(&self) -> Fate {
        Fate::Running
    }
}
