//! The admin server of a run.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Instance;
use super::given::GivenSockets;
use super::subject::Run;
use crate::admin::{
    self, AccessRules, AdminBeginning, AdminListener, AdminListeners, AdminSocket, Origin,
    SocketError, SocketMove, Told,
};
use crate::config::Admin;

/// How long an answer that is under way may take once nothing else is left to do.
const LAST: Duration = Duration::from_secs(1);

/// The admin server of a run.
pub(super) struct AdminServer {
    stop: CancellationToken,
    /// The server, until it is opened.
    closed: Option<BoxFuture<'static, ()>>,
    /// The server, once it is open.
    task: Option<JoinHandle<()>>,
    /// Takes the run that the server is to answer for.
    subject: Option<oneshot::Sender<AdminBeginning>>,
    moves: Option<SocketMove>,
    /// The address of the status page.
    page: Option<SocketAddr>,
    to_pass_on: AdminPassedOn,
}

/// The path of the socket, and the address with its socket, for a process that takes over.
#[derive(Debug, Clone, Default)]
pub(in crate::app) struct AdminPassedOn {
    pub(super) path: Option<PathBuf>,
    pub(super) listener: Option<(SocketAddr, Arc<OwnedFd>)>,
}

/// Listens where the configuration says. A default socket path that cannot be bound is no error: a
/// user who is not root has no directory in /run. `taken` is the path that another process has
/// until this one serves.
pub(super) async fn bind(
    config: &Admin,
    instance: &str,
    given: &mut GivenSockets,
    taken: Option<&Path>,
) -> Result<AdminListeners, SocketError> {
    let path = config.socket.clone().unwrap_or_else(|| Admin::usual_socket(instance));
    let socket = match given.admin_socket(&path)? {
        Some(socket) => Some(socket),
        None => match at(&path, taken) {
            Ok(socket) => Some(socket),
            Err(error) if config.socket.is_some() => return Err(error),
            Err(error) => {
                let why = error.to_string();
                info!(why, "nobody can ask what it does: `admin.socket` names another place");
                None
            }
        },
    };
    let listener = match (given.admin_listener(config.listen)?, config.listen) {
        (None, Some(address)) => Some(AdminListener::bind(address).await?),
        (listener, _) => listener,
    };
    if let Some(address) = listener.as_ref().and_then(AdminListener::address) {
        info!(%address, "the admin server listens");
    }
    let rules = AccessRules {
        token: config.token_file.clone(),
        hosts: config.hosts.clone(),
        is_public: config.is_public(),
    };
    Ok(AdminListeners { socket, listener, rules })
}

/// A socket at the path, or beside it where the predecessor still has the path.
fn at(path: &Path, taken: Option<&Path>) -> Result<AdminSocket, SocketError> {
    match taken {
        Some(taken) if taken == path => AdminSocket::bind_beside(path),
        _ => AdminSocket::bind(path),
    }
}

// === impl AdminPassedOn ===

impl AdminPassedOn {
    fn of(listeners: &AdminListeners, config: &Admin, instance: &Instance) -> Self {
        let usual = || Admin::usual_socket(instance.name());
        let path = listeners.socket.is_some().then(|| config.socket.clone().unwrap_or_else(usual));
        let socket = listeners.listener.as_ref().and_then(|listener| listener.to_pass_on().ok());
        Self { path, listener: config.listen.zip(socket.map(Arc::new)) }
    }
}

// === impl AdminServer ===

impl AdminServer {
    /// Accepts no connection yet.
    pub(super) fn new(listeners: AdminListeners, config: &Admin, instance: &Instance) -> Self {
        let (name, boot) = (instance.name().to_owned(), instance.boot().to_owned());
        let origin = Origin { instance: name, boot, since: SystemTime::now() };
        let moves = listeners.socket.as_ref().and_then(AdminSocket::beside);
        let page = listeners.listener.as_ref().and_then(AdminListener::address);
        let to_pass_on = AdminPassedOn::of(&listeners, config, instance);
        let (stop, (subject, comes)) = (CancellationToken::new(), oneshot::channel());
        let closed = Some(admin::serve(listeners, origin, comes, stop.clone()).boxed());
        let subject = Some(subject);
        Self { stop, closed, task: None, subject, moves, page, to_pass_on }
    }

    /// Begins to accept, and answers that the process starts.
    pub(super) fn open(&mut self) {
        if let Some(server) = self.closed.take() {
            self.task = Some(tokio::spawn(server));
        }
    }

    /// Answers for a run, from the end of the future on.
    pub(super) async fn serve(&mut self, run: Run, told: Told) {
        self.open();
        let (begun, has_begun) = oneshot::channel();
        let beginning = AdminBeginning { subject: Box::new(run), told, begun };
        if let Some(subject) = self.subject.take() {
            // A server that was stopped needs none, and says nothing.
            _ = subject.send(beginning);
            _ = has_begun.await;
        }
    }

    /// The address of the status page, if it has one.
    pub(super) fn page(&self) -> Option<SocketAddr> {
        self.page
    }

    /// The path and the listener, for a process that takes over.
    pub(super) fn to_pass_on(&self) -> AdminPassedOn {
        self.to_pass_on.clone()
    }

    /// The token that ends the server.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Takes over the path that another process has had until now.
    pub(super) fn take_path(&self) {
        if let Some(Err(error)) = self.moves.as_ref().map(SocketMove::carry_out) {
            warn!(error = error.to_string(), "the admin socket stays where it is");
        }
    }

    /// Ends the server: later requests get no answer.
    pub(super) async fn end(self) {
        self.stop.cancel();
        if let Some(mut task) = self.task
            && timeout(LAST, &mut task).await.is_err()
        {
            task.abort();
            // Its socket is removed with it.
            _ = task.await;
        }
    }
}
