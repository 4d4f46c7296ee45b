//! What a run answers those who ask it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ganger_pool::Pool;
use ganger_pool::core::{ServiceName, Snapshot};
use ganger_pool::discovery::FleetWatch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Instance;
use super::config_in_use::ConfigInUse;
use crate::admin::{
    self, AccessRules, AdminListener, AdminSocket, AdminSubject, Doors, Origin, ReloadResult,
    SocketError, TlsFile, Told,
};
use crate::config::Admin;
use crate::docker::{Docker, Site};
use crate::proxy::{Admission, Counts, Sessions};
use crate::tls;

/// The most that an answer which is under way may take once nothing else is left to do.
const LAST: Duration = Duration::from_secs(1);

/// The admin server of a run.
pub(super) struct AdminServer {
    stop: CancellationToken,
    server: JoinHandle<()>,
}

/// A run, as it is asked.
pub(super) struct Run {
    pub(super) pool: Arc<Pool<Docker>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) admission: Arc<Admission>,
    pub(super) in_use: Arc<ConfigInUse>,
    pub(super) fleet: FleetWatch<Site>,
    pub(super) drain: CancellationToken,
}

/// Listens where the configuration says. Where it says nothing of a socket, what does not work there
/// is no fault: a user who is not root has no directory in /run.
pub(super) async fn bind(config: &Admin, instance: &str) -> Result<Doors, SocketError> {
    let socket = match &config.socket {
        Some(path) => AdminSocket::bind(path).map(Some)?,
        None => match AdminSocket::bind(&Admin::usual_socket(instance)) {
            Ok(socket) => Some(socket),
            Err(error) => {
                let why = error.to_string();
                info!(why, "nobody can ask what it does: `admin.socket` names another place");
                None
            }
        },
    };
    let listener = match config.listen {
        Some(address) => Some(AdminListener::bind(address).await?),
        None => None,
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

// === impl AdminServer ===

impl AdminServer {
    pub(super) fn serve(doors: Doors, run: Run, told: Told, instance: &Instance) -> Self {
        let (instance, boot) = (instance.name().to_owned(), instance.boot().to_owned());
        let origin = Origin { instance, boot, since: SystemTime::now() };
        let stop = CancellationToken::new();
        let server = tokio::spawn(admin::serve(doors, Box::new(run), told, origin, stop.clone()));
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

    fn counts(&self) -> BTreeMap<ServiceName, Counts> {
        self.sessions.count_traffic();
        self.admission.counts()
    }

    fn last_reload(&self) -> ReloadResult {
        self.in_use.last_reload()
    }

    fn certificates(&self) -> Vec<TlsFile> {
        let fleet = Arc::clone(&self.fleet.borrow());
        // Most daemons share their files.
        let mut files: Vec<&tls::Files> = Vec::new();
        for found in fleet.iter().filter_map(|daemon| daemon.endpoint.endpoint.tls()) {
            if !files.contains(&found) {
                files.push(found);
            }
        }
        let expiries = files.into_iter().flat_map(tls::Files::expiries);
        let by_path: BTreeMap<_, _> = expiries.collect();
        by_path.into_iter().map(|(path, expires)| TlsFile { path, expires }).collect()
    }

    fn is_stopping(&self) -> bool {
        self.drain.is_cancelled()
    }
}
