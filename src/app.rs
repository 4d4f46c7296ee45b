//! The composition root: the only place that names an adapter and a consumer.

mod admin_server;
mod changes;
mod config_in_use;
mod drains;
mod fleet;
mod given;
mod guardian;
mod handover;
mod instance;
mod notify;
mod orders;
mod plan;
mod push;
mod reap;
mod register;
mod serve;
mod startup;
mod stocked;
mod subject;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{ServiceView, Snapshot};
use ganger_pool::{Observer, Pool};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::admin::{SocketError, Told};
use crate::config::LogFormat;
use crate::docker::{Builtin, Docker, Identity};
use crate::image;
use crate::probe::Prober;
use crate::proxy::{
    self, AccessFile, Admission, AdoptError, BindError, ConnLines, Listener, Recorder, Sessions,
    Workers,
};
use crate::shutdown::Stop;
use admin_server::AdminServer;
use config_in_use::ConfigInUse;
use drains::Drains;
use fleet::FleetFollower;
use guardian::Guardian;
use handover::{Giver, Lives, Succession};
use register::Registrar;
use serve::{AccessOpening, Ingress, Server, Successor};
use stocked::StockWatch;
use subject::Run;
use watch::ImageWatch;

pub use fleet::Fleet;
pub use given::{GivenError, GivenSockets};
pub use guardian::{GIVE_UP, GuardError, QUIET, guard};
pub use handover::{HandoverError, Predecessor, take_over};
pub use instance::{Holder, Instance, InstanceError};
pub use plan::Plan;
pub use push::{ImageAnswer, Pushed, Source, ask_for, push};
pub use reap::{ReapedDaemon, reap};
pub use register::admitted;
pub use serve::{LoadConfig, NotLoaded, OpeningError};
pub use startup::{Ended, Running, Startup};

/// How long the start waits until what an earlier boot left is removed. The rest is removed while
/// clients are served.
const REAP: Duration = Duration::from_secs(30);
/// How long the end waits for the last container of a daemon that answers. An engine takes 15 s to
/// remove one that does not want to die.
const REMOVE: Duration = Duration::from_secs(60);
/// The least time that the end waits for network sandboxes after that.
const LAST: Duration = Duration::from_secs(5);

/// How long the disk may take for the last records of connections.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// Why Ganger cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppError {
    /// Another process runs as this instance.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The address of a service cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listening socket that was passed on cannot be used.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The process that runs cannot be taken over from.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// The running process would hand over, but this one cannot serve in its place.
    #[error("the running process goes on: {0}")]
    NotReady(String),
    /// The sockets that the service manager has passed on cannot be used.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// The process may not open enough files.
    #[error(transparent)]
    Files(#[from] proxy::TooFewFiles),
    /// The admin socket that the configuration names cannot be had.
    #[error(transparent)]
    Admin(#[from] SocketError),
    /// The file for records of connections cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] OpeningError),
    /// The machine refuses something that the process needs.
    #[error("{what}: {source}")]
    Machine {
        /// The step that failed.
        what: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

/// The images that come with the program.
#[must_use]
pub fn builtin() -> Vec<Builtin> {
    let builtin = |reference: &str, archive| Builtin { reference: reference.to_owned(), archive };
    vec![
        builtin(image::ECHO_REFERENCE, || image::echo().1),
        builtin(image::SANDBOX_REFERENCE, || image::sandbox().1),
    ]
}

/// Runs until it is stopped: reaps what an earlier boot left, listens, serves,
/// drains, and removes every container.
///
/// `started` is called once clients can connect, `stocked` for each service when its stock is
/// full for the first time.
///
/// # Errors
/// The run could not begin to serve. Containers that were launched are removed.
pub async fn run(
    mut startup: Startup,
    started: impl FnOnce(&Running),
    stocked: impl FnMut(&ServiceView, &Running) + Send + 'static,
) -> Result<Ended, AppError> {
    let Startup { config, instance, given, predecessor, .. } = &mut startup;
    if let Some(predecessor) = predecessor {
        given.extend(predecessor.given());
    }
    let taken = predecessor.as_ref().and_then(Predecessor::admin);
    let admin_listeners = admin_server::bind(&config.admin, instance.name(), given, taken).await?;
    let mut admin = AdminServer::new(admin_listeners, &config.admin, instance);
    // Until this process serves, its predecessor answers the admin requests.
    if predecessor.is_none() {
        admin.open();
    }
    // Held until the admin socket is removed: the next process of this instance uses its path.
    let _lock = instance.lock().cloned();
    // Processes that ask for that lock are answered until then.
    let mut giver = None;
    let ended = run_asked(startup, &mut admin, &mut giver, started, stocked).await;
    admin.end().await;
    ended
}

/// Runs a configuration until it is stopped, with an admin server that the caller has made.
async fn run_asked(
    startup: Startup,
    admin: &mut AdminServer,
    giver: &mut Option<AbortOnDropHandle<()>>,
    started: impl FnOnce(&Running),
    mut stocked: impl FnMut(&ServiceView, &Running) + Send + 'static,
) -> Result<Ended, AppError> {
    let Startup { config, instance, mut given, predecessor, stop, load, .. } = startup;
    let Startup { guardian, keeper, mut recorders, mut engines, .. } = startup;
    let access = Arc::new(AccessFile::default());
    let opening = AccessOpening::default();
    access.set(tokio::select! {
        // Nothing was begun yet.
        biased;
        () = stop.drain.cancelled() => return Ok(stopped(0, Vec::new())),
        opened = opening.open(config.access_log.as_deref()) => opened?,
    });
    recorders.push(access.clone());
    let plan = Plan::new(&config);
    let machine = |what| move |source| AppError::Machine { what, source };
    let raised = proxy::raise_open_files();
    let files = raised.map_err(machine("cannot raise the limit of open files"))?;
    let cap = proxy::connection_cap(files, plan.containers(), plan.daemons())?;
    let identity =
        Identity { instance: instance.name().to_owned(), boot: instance.boot().to_owned() };
    let workers = Workers::start().map_err(machine("cannot start threads"))?;
    let (pid, boot) = (std::process::id(), instance.boot());
    info!(pid, instance = instance.name(), boot, connections = cap, "starting");

    serve::warn_of(&config);
    let told = Told::default();
    let told_of_ends: [Arc<dyn Recorder>; 3] =
        [told.metrics.clone(), told.latencies.clone(), told.failures.clone()];
    recorders.extend(told_of_ends);
    // Before anything is launched that may fail.
    told.failures.set_limits(config_in_use::limits(&config));
    engines.push(told.metrics.clone());
    let docker = Docker::new(identity.clone(), builtin()).observed_by(engines);
    let docker = match keeper {
        Some(command) => docker.with_cells(command),
        None => docker,
    };
    let docker = Arc::new(docker);
    // Before the first list: the containers of these runs in it are not leftovers.
    let before = predecessor.iter().flat_map(Predecessor::boots);
    before.for_each(|boot| docker.leave_alone(&boot));
    docker.sweep_cells();
    let Plan { services, fleet, settings } = plan;
    let (followed, fleet) = tokio::select! {
        // Nothing was begun yet: a stop does not wait for discovery.
        biased;
        () = stop.drain.cancelled() => return Ok(stopped(0, Vec::new())),
        followed = FleetFollower::start(fleet, docker.clone()) => followed,
    };
    let (guardian, fleet) = match guardian {
        Some(command) => {
            let (guardian, fleet) = Guardian::start(command, identity, docker.clone(), fleet).await;
            (Some(guardian), fleet)
        }
        None => (None, fleet),
    };
    let known = fleet.clone();
    let images = ImageWatch::new(docker.clone());
    let (stocks, probe) = (Arc::new(StockWatch::default()), Arc::new(Prober));
    let observers: Vec<Arc<dyn Observer>> = vec![
        stocks.clone(),
        told.metrics.clone(),
        told.failures.clone(),
        told.feed.clone(),
        told.engines.clone(),
    ];
    let pool = Pool::start_observed(services, docker.clone(), probe, fleet, observers);
    let pool = Arc::new(pool);
    await_reaped(&pool, &stop).await;
    let ready = match &predecessor {
        Some(_) => handover::until_ready(&pool, &stop).await.map_err(AppError::NotReady),
        None => Ok(()),
    };
    if stop.drain.is_cancelled() {
        // Nobody should be sent here any more.
        pool.drain();
        return Ok(stopped(0, await_removed(&pool, &docker, guardian).await));
    }

    let listeners = ready.and_then(|()| given.listeners(&settings));
    let closed = given.close();
    let listeners: Vec<Listener> = match listeners {
        Ok(listeners) => listeners,
        Err(error) => {
            pool.drain();
            let left = await_removed(&pool, &docker, guardian).await;
            left.iter().for_each(|left| warn!(left, "containers may be left"));
            return Err(error);
        }
    };
    let address = |(settings, listener): (&proxy::Settings, &Listener)| {
        (settings.name.clone(), listener.local_addr().unwrap_or(settings.listen))
    };
    let services: Vec<_> = settings.iter().zip(&listeners).map(address).collect();
    let lines =
        ConnLines { is_json: config.log.format == LogFormat::Json, begin: config.log.begin };
    let (admission, sessions) = (Admission::new(cap), Sessions::logging(lines, recorders));
    let page = admin.page();
    let running = Running { services, pool: pool.clone(), sessions: sessions.clone(), page };
    let config = Arc::new(config);
    let in_use = Arc::new(ConfigInUse::new(config.clone(), &told));
    let (orders, ordered) = mpsc::channel(1);
    let drains = Arc::new(Drains::default());
    let successor = Successor::default();
    let run = Run {
        pool: pool.clone(),
        sessions: sessions.clone(),
        admission: admission.clone(),
        in_use: in_use.clone(),
        fleet: known,
        sources: followed.sources(),
        drain: stop.drain.clone(),
        drains: drains.clone(),
        ordering: parking_lot::Mutex::default(),
        orders,
        successor: successor.is_there(),
    };
    // Readers of the log line "listening" may ask the admin server at once.
    admin.serve(run, told).await;
    for (service, address) in &running.services {
        info!(%service, %address, "listening");
    }
    started(&running);

    let full = pool.clone();
    let full = tokio::spawn(async move {
        stocks.tell_of_full(&*full, |service| stocked(service, &running)).await
    });
    let ingress = Ingress { files, admission, sessions, access: access.clone(), opening, workers };
    let registrar = Registrar::new(instance.name(), pool.clone());
    let mut server = Server::new(
        (config, in_use),
        ingress,
        pool.clone(),
        followed,
        images,
        registrar,
        successor,
    );
    settings
        .into_iter()
        .zip(listeners)
        .for_each(|(settings, listener)| server.open(settings, listener));
    // Before the predecessor is told: it removes its admin path, if the path is still its own.
    admin.take_path();
    let lives = match predecessor {
        Some(predecessor) => {
            let succession = Succession { registered: server.registers(), closed };
            predecessor.serving(succession, &stop.reload).await
        }
        None => Lives::default(),
    };
    let (asks, asked) = mpsc::channel(1);
    // A hand-over needs a file, which the next process can read again.
    *giver = instance.lock().filter(|_| load.is_some()).map(|lock| {
        let giver = Giver {
            lock: lock.clone(),
            boot: instance.boot().to_owned(),
            docker: docker.clone(),
            lives: lives.clone(),
            admin: admin.to_pass_on(),
            admin_stop: admin.stop(),
            asks,
            drain: stop.drain.clone(),
        };
        AbortOnDropHandle::new(tokio::spawn(giver.run()))
    });
    let _ends = AbortOnDropHandle::new(tokio::spawn(lives.follow(docker.clone())));
    let _alive = notify::watchdog(pool.clone());
    notify::ready();
    let cut = server.run(load, ordered, asked, stop).await;
    // Dropped only now: deadlines also hold for sessions that a hand-over leaves here.
    drop(drains);
    full.abort();
    let left = await_removed(&pool, &docker, guardian).await;
    if !access.close(LAST_RECORDS) {
        warn!("records of connections are not written: the disk does not take them");
    }
    Ok(stopped(cut, left))
}

/// Logs how the run ended.
fn stopped(cut: u64, left: Vec<String>) -> Ended {
    for left in &left {
        error!("containers may be left on {left}; remove them with `ganger reap`");
    }
    info!(cut, "stopped");
    Ended { cut, left }
}

/// Waits until nothing of an earlier boot is left on the daemons that answer.
async fn await_reaped(pool: &Pool<Docker>, stop: &Stop) {
    let reaped = timeout(REAP, pool.until(Snapshot::reaped));
    let outcome = tokio::select! {
        outcome = reaped => outcome,
        () = stop.drain.cancelled() => return,
    };
    if outcome.is_err() {
        warn!("containers of an earlier boot are still being removed");
    }
    let snapshot = pool.snapshot();
    if snapshot.daemons.is_empty() {
        error!("no daemon is known; clients are refused until discovery finds one");
    } else if snapshot.daemons.iter().all(|daemon| daemon.down.is_some()) {
        error!("no daemon can be reached; clients are refused until one answers");
    }
}

/// Waits until nothing is left on the daemons that answer; returns where something may be left. The
/// guardian ends, or goes on with the removal.
async fn await_removed(
    pool: &Pool<Docker>,
    docker: &Docker,
    guardian: Option<Guardian>,
) -> Vec<String> {
    let gone = |snapshot: &Snapshot| {
        snapshot.daemons.iter().all(|daemon| daemon.down.is_some() || daemon.held() == 0)
    };
    let deadline = Instant::now() + REMOVE;
    // On time or not, what is left is what the last snapshot shows.
    _ = timeout_at(deadline, pool.until(gone)).await;
    let left = |daemon: ganger_pool::core::DaemonView| {
        let count = daemon.held();
        (count > 0).then(|| match &daemon.down {
            Some(reason) => format!("{} ({count}: {reason})", daemon.name),
            None => format!("{} ({count} still being removed)", daemon.name),
        })
    };
    let mut left: Vec<_> = pool.snapshot().daemons.into_iter().filter_map(left).collect();
    left.extend(docker.close(deadline.max(Instant::now() + LAST)).await);
    if let Some(guardian) = guardian {
        guardian.end(left.is_empty()).await;
    }
    left
}

/// The configuration file that is used without `--config`, if there is one.
#[must_use]
pub fn default_config() -> Option<PathBuf> {
    let candidates = ["ganger.ron", "/etc/ganger/ganger.ron"];
    candidates.into_iter().map(PathBuf::from).find(|path| path.is_file())
}
