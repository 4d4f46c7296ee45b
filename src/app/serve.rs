//! Serves: listeners, their sessions, and reloads of the configuration.

mod access;
mod leaving;
mod ordered;
mod reload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ganger_pool::core::{ServiceName, State};
use ganger_pool::{Change, Pool, ServiceOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use super::changes::{ChangedDaemon, Changes};
use super::config_in_use::ConfigInUse;
use super::fleet::FleetFollower;
use super::handover::HandoverAsk;
use super::orders::{self, SentOrder};
use super::plan::Plan;
use super::register::{Registrar, Registration};
use super::watch::{ImageWatch, Moved, Watched};
use crate::config::{self, Config};
use crate::docker::{Docker, Spec};
use crate::proxy::{
    self, AccessFile, Admission, Listener, ServiceContext, Sessions, Settings, Shutdown, Workers,
};
use crate::shutdown::Stop;
pub(super) use access::AccessOpening;
pub use access::OpeningError;
pub(super) use leaving::Successor;
use reload::{ConfigReading, PreparedReload};
pub use reload::{LoadConfig, NotLoaded};

/// The listeners for clients, and all that they are run with.
pub(super) struct Server {
    config: Arc<Config>,
    in_use: Arc<ConfigInUse>,
    ingress: Ingress,
    pool: Arc<Pool<Docker>>,
    followed: FleetFollower,
    images: ImageWatch,
    /// By service, the image that its tag stands for since the tag moved.
    pins: BTreeMap<ServiceName, Moved>,
    registrar: Registrar,
    /// Earlier versions of services whose containers have a deadline.
    dated: Vec<config::Service>,
    frontends: BTreeMap<ServiceName, Frontend>,
    /// Tasks that listen, or have listened and have sessions.
    listening: JoinSet<()>,
    successor: Successor,
    reading: ConfigReading,
    cut: CancellationToken,
}

/// All that connections need.
pub(super) struct Ingress {
    /// The limit on open files.
    pub(super) files: u64,
    pub(super) admission: Arc<Admission>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) access: Arc<AccessFile>,
    pub(super) opening: AccessOpening,
    pub(super) workers: Workers,
}

/// The listener of a service, for as long as the service is there.
struct Frontend<S = Arc<ServiceContext<Pool<Docker>>>> {
    /// As configured.
    listen: SocketAddr,
    /// As it is: with the port that the system chose.
    address: SocketAddr,
    /// Another process holds its socket as well, and accepts there after us.
    shared: bool,
    /// The same socket, for a process that takes over.
    to_pass_on: Option<OwnedFd>,
    /// Cancelled when another process accepts there.
    leave: CancellationToken,
    /// The service as later connections find it.
    service: watch::Sender<S>,
    /// Dropped with it, which ends accepting; sessions go on.
    _close: DropGuard,
}

/// Logs the warnings of a configuration.
pub(super) fn warn_of(config: &Config) {
    let warnings = config.warnings.iter().map(ToString::to_string);
    warnings
        .for_each(|why| warn!(why, "the configuration can be used; one thing in it looks wrong"));
}

/// Closes the listeners of services that are not among these.
fn keep<S>(frontends: &mut BTreeMap<ServiceName, Frontend<S>>, services: &[Settings]) {
    frontends.retain(|name, _| services.iter().any(|settings| settings.name == *name));
}

// === impl Ingress ===

impl Ingress {
    /// Connections that were cut so far.
    fn cut(&self) -> u64 {
        self.admission.counts().values().map(|counts| counts.cut).sum()
    }

    /// A service whose clients come in here, and which leases from this pool.
    fn service(
        &self,
        settings: Settings,
        pool: &Arc<Pool<Docker>>,
    ) -> Arc<ServiceContext<Pool<Docker>>> {
        let (admission, sessions) = (self.admission.clone(), self.sessions.clone());
        ServiceContext::new(settings, pool.clone(), admission, sessions)
    }
}

// === impl Server ===

impl Server {
    pub(super) fn new(
        (config, in_use): (Arc<Config>, Arc<ConfigInUse>),
        ingress: Ingress,
        pool: Arc<Pool<Docker>>,
        followed: FleetFollower,
        images: ImageWatch,
        registrar: Registrar,
        successor: Successor,
    ) -> Self {
        let (pins, dated, frontends, listening, reading, cut) = Default::default();
        let mut this = Self {
            config,
            in_use,
            ingress,
            pool,
            followed,
            images,
            pins,
            registrar,
            dated,
            frontends,
            listening,
            successor,
            reading,
            cut,
        };
        this.watch_images();
        this
    }

    /// Takes clients of a service from a listener, and from its former one no more.
    pub(super) fn open(&mut self, settings: Settings, listener: Listener) {
        let (name, listen) = (settings.name.clone(), settings.listen);
        let address = listener.local_addr().unwrap_or(listen);
        let service = self.ingress.service(settings, &self.pool);
        let (service, current) = watch::channel(service);
        let (close, leave) = (CancellationToken::new(), CancellationToken::new());
        let shutdown =
            Shutdown { drain: close.clone(), leave: leave.clone(), cut: self.cut.clone() };
        for acceptor in self.ingress.workers.acceptors() {
            match listener.try_clone() {
                Ok(listener) => {
                    let (current, shutdown) = (current.clone(), shutdown.clone());
                    let run = proxy::run(listener, current, shutdown, acceptor.clone());
                    self.listening.spawn_on(run, acceptor.runtime());
                }
                Err(error) => {
                    error!(service = %name, error = error.to_string(), "a thread cannot accept");
                }
            }
        }
        let shared = listener.is_shared();
        let to_pass_on = listener.to_pass_on().ok();
        let _close = close.drop_guard();
        let frontend = Frontend { listen, address, shared, to_pass_on, leave, service, _close };
        self.frontends.insert(name, frontend);
    }

    /// Serves until it is stopped and every session has ended; says how many
    /// were cut.
    pub(super) async fn run(
        mut self,
        load: Option<LoadConfig>,
        mut orders: mpsc::Receiver<SentOrder>,
        mut asks: mpsc::Receiver<HandoverAsk>,
        stop: Stop,
    ) -> u64 {
        self.registrar.begin(self.entries());
        let mut succession = loop {
            tokio::select! {
                // The end first.
                biased;
                () = stop.drain.cancelled() => break None,
                Some(ask) = asks.recv() => match ask {
                    // The process may have gone meanwhile.
                    HandoverAsk::Listeners { tell, pid, over } => {
                        self.successor.comes(pid, over);
                        _ = tell.send(self.to_pass_on());
                    }
                    HandoverAsk::Serving { succession, done } => break Some((succession, done)),
                },
                // The reload that was put off for it.
                () = self.successor.has_gone() => stop.reload.notify_one(),
                () = stop.reload.notified() => if let Some(load) = &load
                    && !self.successor.puts_off()
                {
                    _ = self.reload(load, &stop).await;
                },
                Some(SentOrder { order, answer }) = orders.recv() => {
                    let answered = self.carry_out(order, load.as_ref(), &stop).await;
                    // The sender may have gone meanwhile.
                    _ = answer.send(answered);
                }
                () = stop.status.notified() => self.say_status(),
                moved = self.images.next() => self.repin(moved),
                Some(_) = self.listening.join_next() => {}
            }
        };
        // A successor that serves already must not lose clients to a stop at the same moment.
        if let (None, Ok(HandoverAsk::Serving { succession: its, done })) =
            (&succession, asks.try_recv())
        {
            succession = Some((its, done));
        }
        // Senders must not wait: their orders will not be carried out.
        drop((orders, asks));
        // Other processes accept new clients: those that are connected are served to their end.
        let shared =
            succession.is_some() || self.frontends.values().any(|frontend| frontend.shared);
        match succession {
            Some((succession, done)) => self.leave(&succession, done, &stop).await,
            None => self.deregister(&stop).await,
        }
        self.frontends.clear();
        if shared {
            self.empty_stock();
        } else {
            self.pool.drain();
        }
        self.until_ended(&stop).await
    }

    /// Runs by a configuration, and returns what it changes.
    async fn apply(&mut self, next: PreparedReload) -> String {
        let registered = self.registered(&next);
        self.registrar.deregister(&registered).await;
        let PreparedReload { config, plan, cap, mut listeners, subscription, access } = next;
        let Plan { services, fleet, settings } = plan;
        if let Some(subscription) = subscription {
            self.followed.change(fleet, subscription).await;
        } else {
            self.followed.confirm();
        }
        self.ingress.access.set(access);
        self.ingress.admission.resize(cap);
        keep(&mut self.frontends, &settings);
        let changes = Changes::between(&self.config, &config);
        self.tell_of(&changes);
        let before = std::mem::replace(&mut self.config, config);
        self.in_use.took(self.config.clone());
        for service in before.services.iter().filter(|s| s.spec.overdue_after.is_some()) {
            if !self.dated.contains(service) {
                self.dated.push(service.clone());
            }
        }
        self.pins.retain(|name, pin| {
            let service = self.config.services.iter().find(|s| s.name.as_str() == name.as_str());
            service.is_some_and(|s| s.watch_image.is_some() && s.spec.image == pin.tag)
        });
        self.run_services(services);
        for settings in settings {
            if let Some(listener) = listeners.remove(&settings.name) {
                let address = listener.local_addr().unwrap_or(settings.listen);
                info!(service = %settings.name, %address, "listening");
                self.open(settings, listener);
            } else if let Some(frontend) = self.frontends.get(&settings.name) {
                let service = self.ingress.service(settings, &self.pool);
                frontend.service.send_replace(service);
            }
        }
        self.registrar.begin(registered);
        self.watch_images();
        warn_of(&self.config);
        let sessions: u32 =
            self.pool.snapshot().services.iter().map(|s| s.counts[State::Leased]).sum();
        info!(
            changes = changes.to_string(),
            sessions,
            "the configuration is reloaded; sessions that are open keep the settings and the \
             container they began with"
        );
        changes.to_string()
    }

    /// Logs which settings have changed.
    fn tell_of(&self, changes: &Changes) {
        let snapshot = self.pool.snapshot();
        for (service, fields) in &changes.services {
            let sessions =
                snapshot.service(service.as_str()).map_or(0, |s| s.counts[State::Leased]);
            let changed = fields.join(", ");
            info!(%service, changed, sessions, "the service runs by other settings from now on");
        }
        for ChangedDaemon { name: daemon, fields, moved } in &changes.daemons {
            let changed = fields.join(", ");
            if *moved {
                info!(
                    daemon,
                    changed,
                    "the name stands for another daemon from now on; the one before is drained"
                );
            } else {
                info!(daemon, changed, "the daemon is used by other settings from now on");
            }
        }
    }

    /// The registrations from the reload on.
    fn registered(&self, next: &PreparedReload) -> BTreeMap<ServiceName, Registration> {
        let services = next.plan.settings.iter().map(|settings| {
            let moved = next.listeners.get(&settings.name).map(Listener::local_addr);
            let stays = self.frontends.get(&settings.name).map(|frontend| frontend.address);
            let address = moved.and_then(Result::ok).or(stays).unwrap_or(settings.listen);
            (&settings.name, address)
        });
        self.registrar.entries(&next.config, services)
    }

    /// The services with the numbers that were ordered, and with the pinned images of their tags.
    fn pinned(&self, mut services: Vec<ServiceOptions<Spec>>) -> Vec<ServiceOptions<Spec>> {
        orders::scale(&mut services, &self.in_use.scales());
        for options in &mut services {
            if let Some(pin) = self.pins.get(&options.name) {
                let image = pin.to.clone();
                options.spec = Arc::new(Spec { image, ..(*options.spec).clone() });
            }
        }
        services
    }

    /// Has the pool run these.
    fn run_services(&self, services: Vec<ServiceOptions<Spec>>) {
        let services = self.pinned(services);
        for (service, change) in self.pool.reload(services) {
            match change {
                Change::Added => info!(%service, "added"),
                // Said already, with the names of the settings.
                Change::Adjusted => {}
                Change::RollingOut(generation) => info!(%service, %generation, "rolling out"),
                Change::GoingBack(generation) => {
                    info!(%service, %generation, "the service goes back to this generation")
                }
                Change::Removed => {
                    info!(%service, "the service is removed; its connections are being drained")
                }
            }
        }
    }

    /// Rolls out the image that a moved tag stands for now.
    fn repin(&mut self, moved: Moved) {
        let Moved { service, tag, to } = &moved;
        info!(%service, image = tag, to, "the tag has moved");
        self.pins.insert(service.clone(), moved);
        self.run_services(Plan::new(&self.config).services);
        self.watch_images();
    }

    fn watch_images(&mut self) {
        let watched = self.config.services.iter().filter_map(|service| {
            let name = ServiceName::from(service.name.as_str());
            let tag = service.spec.image.clone();
            let running = self.pins.get(&name).map_or_else(|| tag.clone(), |pin| pin.to.clone());
            Some((name, Watched { tag, running, every: service.watch_image? }))
        });
        self.images.set(watched.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_service_that_is_removed_is_closed_and_no_other() {
        let config = Config::parse(&Config::default_text(), "the default configuration").unwrap();
        let settings = Plan::new(&config).settings;
        let address = settings[0].listen;
        let names: Vec<_> = [settings[0].name.clone(), "removed".into()]
            .into_iter()
            .map(|name| (name, CancellationToken::new()))
            .collect();
        let frontend = |close: &CancellationToken| {
            let (service, _) = watch::channel(());
            let shared = false;
            let (to_pass_on, leave, _close) =
                (None, CancellationToken::new(), close.clone().drop_guard());
            Frontend { listen: address, address, shared, to_pass_on, leave, service, _close }
        };
        let mut frontends =
            names.iter().map(|(name, close)| (name.clone(), frontend(close))).collect();
        keep(&mut frontends, &settings);
        let closed: Vec<_> = names.iter().map(|(_, close)| close.is_cancelled()).collect();
        assert_eq!(closed, [false, true]);
    }
}
