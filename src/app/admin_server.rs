//! Where a run answers those who ask it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Instance;
use super::given::GivenSockets;
use super::subject::Run;
use crate::admin::{
    self, AccessRules, AdminListener, AdminSocket, Doors, Origin, SocketError, SocketMove, Told,
};
use crate::config::Admin;

/// The most that an answer which is under way may take once nothing else is left to do.
const LAST: Duration = Duration::from_secs(1);

/// The admin server of a run.
pub(super) struct AdminServer {
    stop: CancellationToken,
    server: JoinHandle<()>,
    moves: Option<SocketMove>,
}

/// Listens where the configuration says. Where it says nothing of a socket, what does not work there
/// is no fault: a user who is not root has no directory in /run. `taken` is the path that another
/// process has until this one serves.
pub(super) async fn bind(
    config: &Admin,
    instance: &str,
    given: &mut GivenSockets,
    taken: Option<&Path>,
) -> Result<Doors, SocketError> {
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
    Ok(Doors { socket, listener, rules })
}

/// A socket at a path, or beside it if that is the path which is taken over.
fn at(path: &Path, taken: Option<&Path>) -> Result<AdminSocket, SocketError> {
    match taken {
        Some(taken) if taken == path => AdminSocket::bind_beside(path),
        _ => AdminSocket::bind(path),
    }
}

/// The path of the socket, and the address with its socket, for a process that takes over.
pub(super) fn to_pass_on(
    doors: &Doors,
    config: &Admin,
    instance: &Instance,
) -> (Option<PathBuf>, Option<(SocketAddr, Arc<OwnedFd>)>) {
    let usual = || Admin::usual_socket(instance.name());
    let path = doors.socket.is_some().then(|| config.socket.clone().unwrap_or_else(usual));
    let socket = doors.listener.as_ref().and_then(|listener| listener.to_pass_on().ok());
    (path, config.listen.zip(socket.map(Arc::new)))
}

// === impl AdminServer ===

impl AdminServer {
    pub(super) fn serve(doors: Doors, run: Run, told: Told, instance: &Instance) -> Self {
        let (instance, boot) = (instance.name().to_owned(), instance.boot().to_owned());
        let origin = Origin { instance, boot, since: SystemTime::now() };
        let stop = CancellationToken::new();
        let moves = doors.socket.as_ref().and_then(AdminSocket::beside);
        let server = tokio::spawn(admin::serve(doors, Box::new(run), told, origin, stop.clone()));
        Self { stop, server, moves }
    }

    /// What ends it.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Takes the path over that another process has had until now.
    pub(super) fn take_path(&self) {
        if let Some(Err(error)) = self.moves.as_ref().map(SocketMove::carry_out) {
            warn!(error = error.to_string(), "the admin socket stays where it is");
        }
    }

    /// Ends it: whoever asks from now on finds nobody.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        if timeout(LAST, &mut self.server).await.is_err() {
            self.server.abort();
            // Its socket is removed with it.
            _ = self.server.await;
        }
    }
}
