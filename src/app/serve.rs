//! Serves: listeners, their sessions, and reloads of the configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ganger_pool::core::ServiceName;
use ganger_pool::{Change, Pool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::fleet::Followed;
use super::plan::Plan;
use crate::config::Config;
use crate::docker::Docker;
use crate::proxy::{self, Admission, Listener, Service, Settings, Shutdown};
use crate::shutdown::Stop;

/// Reads the configuration again, or says in lines why it cannot be used.
pub type Load = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// All that clients come in by, and what it is run with.
pub(super) struct Server {
    config: Config,
    /// The limit on open files.
    files: u64,
    admission: Arc<Admission>,
    pool: Arc<Pool<Docker>>,
    followed: Followed,
    stop: Stop,
    fronts: BTreeMap<ServiceName, Front>,
    /// What listens, or has listened and has sessions.
    listening: JoinSet<()>,
    cut: CancellationToken,
}

/// Where a service's clients come in.
struct Front {
    /// As configured.
    listen: SocketAddr,
    /// How the next ones are treated.
    service: watch::Sender<Arc<Service<Pool<Docker>>>>,
    /// Closes the door behind those who are in.
    close: CancellationToken,
}

/// A configuration that can be used, with all that could fail done.
struct Next {
    config: Config,
    plan: Plan,
    cap: usize,
    /// For those services that need one.
    listeners: BTreeMap<ServiceName, Listener>,
}

/// Logs what is right in a configuration, and will not stay so.
pub(super) fn warn_of(config: &Config) {
    let warnings = config.warnings.iter();
    warnings.for_each(|why| warn!(why, "the configuration is right, but not for long"));
}

// === impl Server ===

impl Server {
    pub(super) fn new(
        config: Config,
        files: u64,
        admission: Arc<Admission>,
        pool: Arc<Pool<Docker>>,
        followed: Followed,
        stop: Stop,
    ) -> Self {
        let (fronts, listening, cut) = Default::default();
        Self { config, files, admission, pool, followed, stop, fronts, listening, cut }
    }

    /// Takes clients of a service from a listener, and of no other any more.
    pub(super) fn open(&mut self, settings: Settings, listener: Listener) {
        let (name, listen) = (settings.name.clone(), settings.listen);
        let service = Service::new(settings, self.pool.clone(), self.admission.clone());
        let (service, current) = watch::channel(service);
        let close = self.stop.drain.child_token();
        let shutdown = Shutdown { drain: close.clone(), cut: self.cut.clone() };
        self.listening.spawn(proxy::run(listener, current, shutdown));
        if let Some(before) = self.fronts.insert(name, Front { listen, service, close }) {
            before.close.cancel();
        }
    }

    /// Serves until it is stopped and every session has ended; says how many
    /// were cut.
    pub(super) async fn run(mut self, load: Option<Load>) -> u64 {
        let (drain, reload) = (self.stop.drain.clone(), self.stop.reload.clone());
        loop {
            tokio::select! {
                // The end first.
                biased;
                () = drain.cancelled() => break,
                () = reload.notified() => if let Some(load) = &load {
                    self.reload(load).await;
                },
                Some(_) = self.listening.join_next() => {}
            }
        }
        self.pool.drain();
        let deadline = Instant::now() + self.config.drain_timeout;
        let on_time = async { while self.listening.join_next().await.is_some() {} };
        tokio::select! {
            // Whoever wants it to end now does not wait for the rest.
            biased;
            () = self.stop.now.cancelled() => {}
            _ = timeout_at(deadline, on_time) => {}
        }
        self.cut.cancel();
        while self.listening.join_next().await.is_some() {}
        self.admission.counts().values().map(|counts| counts.cut).sum()
    }

    /// Reads the configuration again and runs by it, all of it or nothing.
    async fn reload(&mut self, load: &Load) {
        match load().and_then(|config| self.prepare(config)) {
            Ok(next) => self.apply(next).await,
            Err(why) => {
                // Line by line: what it shows is aligned.
                why.lines().for_each(|line| error!("{line}"));
                error!("the configuration is not reloaded: nothing has changed");
            }
        }
    }

    /// Does what may fail.
    fn prepare(&self, config: Config) -> Result<Next, String> {
        for (what, same) in [
            ("log", config.log == self.config.log),
            ("guardian", config.guardian == self.config.guardian),
        ] {
            if !same {
                return Err(format!(
                    "`{what}` cannot be changed while it runs: change it back, or restart"
                ));
            }
        }
        let plan = Plan::new(&config);
        let cap = proxy::connection_cap(self.files, plan.containers(), plan.daemons());
        let cap = cap.map_err(|error| error.to_string())?;
        let moved = |settings: &&Settings| {
            self.fronts.get(&settings.name).is_none_or(|front| front.listen != settings.listen)
        };
        let bind = |settings: &Settings| {
            let listener = proxy::bind(&settings.name, settings.listen);
            let listener = listener.map_err(|error| error.to_string())?;
            Ok((settings.name.clone(), listener))
        };
        let listeners = plan.settings.iter().filter(moved).map(bind).collect::<Result<_, String>>();
        Ok(Next { listeners: listeners?, config, plan, cap })
    }

    async fn apply(&mut self, next: Next) {
        let Next { config, plan: Plan { services, fleet, settings }, cap, mut listeners } = next;
        tokio::select! {
            // What is stopped anyway does not wait for discovery.
            biased;
            () = self.stop.drain.cancelled() => return,
            () = self.followed.change(fleet) => {}
        }
        self.admission.resize(cap);
        self.fronts.retain(|name, front| {
            let stays = settings.iter().any(|settings| settings.name == *name);
            if !stays {
                front.close.cancel();
            }
            stays
        });
        for (service, change) in self.pool.reload(services) {
            match change {
                Change::Added => info!(%service, "added"),
                Change::Adjusted => info!(%service, "runs by other settings from now on"),
                Change::RollingOut(generation) => info!(%service, %generation, "rolling out"),
                Change::Removed => info!(%service, "removed; draining"),
            }
        }
        for settings in settings {
            if let Some(listener) = listeners.remove(&settings.name) {
                let address = listener.local_addr().unwrap_or(settings.listen);
                info!(service = %settings.name, %address, "listening");
                self.open(settings, listener);
            } else if let Some(front) = self.fronts.get(&settings.name) {
                let service = Service::new(settings, self.pool.clone(), self.admission.clone());
                front.service.send_replace(service);
            }
        }
        warn_of(&config);
        self.config = config;
        info!("the configuration is reloaded");
    }
}
