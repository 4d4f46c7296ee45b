//! What a run answers those who ask it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ganger_pool::Pool;
use ganger_pool::core::Snapshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Instance, Running};
use crate::admin::{self, AdminSocket, AdminSubject, Origin, SocketError};
use crate::config::Admin;
use crate::docker::Docker;
use crate::proxy::Sessions;
use crate::shutdown::Stop;

/// The most that an answer which is under way may take once nothing else is left to do.
const LAST: Duration = Duration::from_secs(1);

/// The admin server of a run.
pub(super) struct AdminServer {
    stop: CancellationToken,
    server: JoinHandle<()>,
}

/// A run, as it is asked.
struct Run {
    pool: Arc<Pool<Docker>>,
    sessions: Arc<Sessions>,
    drain: CancellationToken,
}

/// Listens where the configuration says. Where it says nothing, what does not work there is no
/// fault: a user who is not root has no directory in /run.
pub(super) fn bind(admin: &Admin, instance: &str) -> Result<Option<AdminSocket>, SocketError> {
    match &admin.socket {
        Some(path) => AdminSocket::bind(path).map(Some),
        None => match AdminSocket::bind(&Admin::usual_socket(instance)) {
            Ok(socket) => Ok(Some(socket)),
            Err(error) => {
                let why = error.to_string();
                info!(why, "nobody can ask what it does: `admin.socket` names another place");
                Ok(None)
            }
        },
    }
}

// === impl AdminServer ===

impl AdminServer {
    pub(super) fn serve(
        socket: AdminSocket,
        running: &Running,
        instance: &Instance,
        stop: &Stop,
    ) -> Self {
        let (pool, sessions) = (Arc::clone(&running.pool), Arc::clone(&running.sessions));
        let subject = Box::new(Run { pool, sessions, drain: stop.drain.clone() });
        let (instance, boot) = (instance.name().to_owned(), instance.boot().to_owned());
        let origin = Origin { instance, boot, since: SystemTime::now() };
        let stop = CancellationToken::new();
        let server = tokio::spawn(admin::serve(socket, subject, origin, stop.clone()));
        Self { stop, server }
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

// === impl Run ===

impl AdminSubject for Run {
    fn snapshot(&self) -> Snapshot {
        self.pool.snapshot()
    }

    fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    fn is_stopping(&self) -> bool {
        self.drain.is_cancelled()
    }
}
