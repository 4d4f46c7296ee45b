//! The subject of a measurement: one service of a configuration, or one image, run once for each
//! kind of start.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ganger_pool::core::Policy;

use super::exchange::Exchange;
use super::round_kind::RoundKind;
use crate::config::{
    Config, Daemons, ImageRef, LogFormat, Name, Network, Report as Mistakes, Service,
};
use crate::docker;
use crate::endpoint::Endpoint;
use crate::image::{ECHO_PORT, ECHO_REFERENCE};
use crate::spec::{Preconnect, Ready, Sandbox, SessionSettings, Spec, StockedAs};

/// The configuration that an image is measured with, apart from what differs.
const TEMPLATE: &str = r#"(
    daemons: Static([(name: "local", url: "unix:///", max_containers: 10000)]),
    services: {"image": (listen: "127.0.0.1:0", image: "ganger.local/echo:1", port: 7000)},
    drain_timeout: "1s",
)"#;
/// How much later than its client Ganger gives up a connection that waits, so that it counts
/// as timed out, and not as reset.
const LATER: Duration = Duration::from_secs(1);
/// The most launches at a time that a daemon may be told.
const MOST_LAUNCHES: u32 = 32;

/// The subject of a measurement, for every kind of start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// A valid configuration with one service.
    config: Config,
    /// The exchange that shows that a connection was served.
    pub exchange: Exchange,
}

/// An image that is to be measured.
#[derive(Debug, Clone)]
pub struct BenchImage {
    /// Its name, and the port that its service listens on; `None` is the built-in echo.
    pub image: Option<(ImageRef, u16)>,
    /// The command in place of its own; `None` leaves that.
    pub command: Option<Vec<String>>,
    /// The engine.
    pub engine: Endpoint,
    /// How long a connection may take.
    pub patience: Duration,
}

// === impl Setup ===

impl Setup {
    /// An image, and the exchange with it; the built-in echo has its own.
    ///
    /// # Errors
    /// The template is not in order, which tests exclude.
    pub fn of_image(image: BenchImage, exchange: Option<Exchange>) -> Result<Self, Mistakes> {
        let mut config = Config::parse(TEMPLATE, "the template")?;
        if let Daemons::Static(daemons) = &mut config.daemons {
            daemons.iter_mut().for_each(|daemon| daemon.url = image.engine.clone());
        }
        for service in &mut config.services {
            service.spec.command = image.command.clone();
            // Nothing else is to end a connection before its time is over.
            service.start_timeout = service.start_timeout.max(image.patience);
            service.session.idle = None;
            if let Some((name, port)) = &image.image {
                (service.spec.image, service.spec.port) = (name.to_string(), *port);
            }
        }
        Ok(Self::of_service(config, exchange))
    }

    /// The first service of a configuration.
    #[must_use]
    pub fn of_service(mut config: Config, exchange: Option<Exchange>) -> Self {
        config.services.truncate(1);
        config.instance = None;
        // A measurement is neither registered nor in an access log.
        (config.register, config.access_log) = (None, None);
        config.drain_timeout = Duration::from_secs(1);
        config.log.format = LogFormat::Text;
        let known = config.services.first().and_then(known);
        Self { config, exchange: exchange.or(known).unwrap_or_default() }
    }

    /// A description of the service, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let service = self.config.services.first();
        let what = service.map(|service| {
            let network = match &service.spec.network {
                Network::Isolated => "Isolated",
                Network::Bridge => "Bridge",
                Network::Sealed => "Sealed",
                Network::Named(name) => name,
            };
            let runtime = service.spec.runtime.as_ref().map(|name| format!(", runtime {name}"));
            format!("{}, network {network}{}", service.spec.image, runtime.unwrap_or_default())
        });
        what.unwrap_or_default()
    }

    /// The service, and where it runs.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sets what its containers can reach.
    pub fn set_network(&mut self, network: &Network) {
        self.config.services.iter_mut().for_each(|s| s.spec.network = network.clone());
    }

    /// Sets how far its containers in stock are, which are cells then.
    ///
    /// # Errors
    /// They cannot be.
    pub fn set_stock(&mut self, stock: StockedAs) -> Result<(), String> {
        self.set_sandbox(Sandbox::Cell)?;
        for service in &mut self.config.services {
            service.spec.stock = stock;
            if let Some((why, help)) = service.why_not_created_ahead().first() {
                return Err(format!("{why}: {help}"));
            }
        }
        Ok(())
    }

    /// Sets whose network namespace its containers have. Containers that join one have nothing to
    /// write to but what the service says.
    ///
    /// # Errors
    /// The containers cannot have it.
    pub fn set_sandbox(&mut self, sandbox: Sandbox) -> Result<(), String> {
        for service in &mut self.config.services {
            service.spec.sandbox = sandbox;
            service.spec.read_only |= sandbox == Sandbox::Pooled;
            if let Some((why, help)) = service.why_not_pooled().first() {
                return Err(format!("{why}: {help}"));
            }
            if sandbox == Sandbox::Cell
                && let Some(why) = docker::why_plain(&service.spec)
            {
                return Err(why.to_owned());
            }
        }
        Ok(())
    }

    /// Sets the engine's runtime for its containers.
    pub fn set_runtime(&mut self, runtime: &Name) {
        self.config.services.iter_mut().for_each(|s| s.spec.runtime = Some(runtime.to_string()));
    }

    /// Sets the launches at a time of each daemon, to find out what comes of it.
    pub(super) fn set_launches(&mut self, launches: u32) {
        if let Daemons::Static(daemons) = &mut self.config.daemons {
            let launches = launches.clamp(1, MOST_LAUNCHES);
            daemons.iter_mut().for_each(|daemon| daemon.max_launches = Some(launches));
        }
    }

    /// Leaves the configuration one daemon.
    ///
    /// # Errors
    /// There is none of that name in its configuration.
    pub fn set_daemon(&mut self, name: &str) -> Result<(), String> {
        let Daemons::Static(daemons) = &mut self.config.daemons else {
            return Err(
                "the daemons of this configuration are discovered, and cannot be named".to_owned()
            );
        };
        let names: Vec<_> = daemons.iter().map(|daemon| daemon.name.to_string()).collect();
        daemons.retain(|daemon| daemon.name.as_str() == name);
        if daemons.is_empty() {
            return Err(format!("no daemon {name}; the names are {}", names.join(", ")));
        }
        Ok(())
    }

    /// The configuration for connections of these kinds: so many in stock of each, and, where none
    /// is reused, so many more that may be launched while those are in use or being removed.
    #[must_use]
    pub(super) fn plan(
        &self,
        kinds: &[RoundKind],
        stock: u32,
        spare: u32,
        patience: Duration,
    ) -> Config {
        let mut config = self.config.clone();
        let Some(base) = config.services.pop() else { return config };
        config.services = kinds
            .iter()
            .filter_map(|kind| {
                let (preconnect, stocked_as) = match (kind, base.spec.preconnect) {
                    (RoundKind::Hot, Preconnect::Off) => (Preconnect::Tcp, StockedAs::Started),
                    (RoundKind::Hot, own) => (own, StockedAs::Started),
                    _ => (Preconnect::Off, base.spec.stock),
                };
                let strict = matches!(kind, RoundKind::Cold | RoundKind::Warm);
                let stock = if *kind == RoundKind::Direct { 1 } else { stock };
                Some(Service {
                    name: Name::new(kind.as_str()).ok()?,
                    listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    policy: Policy {
                        reuse: if strict { 0 } else { u32::MAX - 1 },
                        warm: if *kind == RoundKind::Cold { 0 } else { stock },
                        max: if strict { stock.saturating_add(spare) } else { stock },
                        max_age: None,
                        canary: 0,
                        surplus_after: Duration::ZERO,
                        stale_after: Duration::ZERO,
                        queue_length: u32::MAX,
                        ..base.policy.clone()
                    },
                    spec: Spec {
                        overdue_after: None,
                        preconnect,
                        stock: stocked_as,
                        ..base.spec.clone()
                    },
                    session: SessionSettings {
                        queue_timeout: patience.saturating_add(LATER),
                        ..base.session.clone()
                    },
                    watch_image: None,
                    ..base.clone()
                })
            })
            .collect();
        config
    }
}

/// The exchange with a service of which it is known: the built-in echo, or a service whose `ready`
/// shows it.
fn known(service: &Service) -> Option<Exchange> {
    match &service.spec.ready {
        Ready::Exchange { send, expect } => {
            Some(Exchange { send: send.clone(), expect: Some(expect.clone()) })
        }
        Ready::Banner(banner) => Some(Exchange { send: Vec::new(), expect: Some(banner.clone()) }),
        _ if service.spec.image == ECHO_REFERENCE && service.spec.port == ECHO_PORT => {
            Some(Exchange { send: b"x".to_vec(), expect: Some(b"x".to_vec()) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn setup(image: Option<(ImageRef, u16)>) -> Setup {
        let engine = "unix:///run/engine.sock".parse().unwrap();
        let patience = PATIENCE;
        Setup::of_image(BenchImage { image, command: None, engine, patience }, None).unwrap()
    }

    #[test]
    fn kinds_differ_in_where_the_container_comes_from_and_in_nothing_else() {
        let setup = setup(None);
        let config = setup.plan(&RoundKind::ALL, 3, 0, PATIENCE);
        let fields: Vec<_> = config
            .services
            .iter()
            .map(|s| {
                (
                    s.name.as_str(),
                    s.policy.warm,
                    s.policy.max,
                    s.policy.reuse > 0,
                    s.spec.preconnect != Preconnect::Off,
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("cold", 0, 3, false, false),
                ("warm", 3, 3, false, false),
                ("reused", 3, 3, true, false),
                ("hot", 3, 3, true, true),
                ("direct", 1, 1, true, false),
            ]
        );
        let spare = setup.plan(&[RoundKind::Cold, RoundKind::Reused], 3, 2, PATIENCE);
        assert_eq!((spare.services[0].policy.max, spare.services[1].policy.max), (5, 3));
    }

    #[test]
    fn nobody_hears_of_what_is_measured() {
        let text = Config::default_text()
            .replace("// register: ", "register: ")
            .replace("// access_log: ", "access_log: ");
        let config = Config::parse(&text, "t").unwrap();
        assert!(config.register.is_some() && config.access_log.is_some());
        let measured = Setup::of_service(config, None).plan(&RoundKind::ALL, 1, 0, PATIENCE);
        assert_eq!((measured.register, measured.access_log), (None, None));
    }

    #[test]
    fn nothing_ends_a_connection_before_its_time() {
        let engine: Endpoint = "unix:///run/engine.sock".parse().unwrap();
        for (patience, start) in [(1, 30), (90, 90)] {
            let patience = Duration::from_secs(patience);
            let image = BenchImage { image: None, command: None, engine: engine.clone(), patience };
            let config =
                Setup::of_image(image, None).unwrap().plan(&RoundKind::ALL, 1, 0, patience);
            for service in &config.services {
                assert_eq!(service.start_timeout, Duration::from_secs(start));
                assert_eq!(service.session.idle, None);
                assert!(service.session.queue_timeout > patience, "{service:?}");
            }
        }
    }

    #[test]
    fn what_is_said_is_known_of_the_echo_and_of_who_says_so() {
        assert_eq!(setup(None).exchange.send, b"x");
        let other = setup(Some((ImageRef::new("redis").unwrap(), 6379)));
        assert!(other.exchange.is_connect_only());
        let mut config = other.config;
        config.services[0].spec.ready =
            Ready::Exchange { send: b"PING\r\n".to_vec(), expect: b"+PONG".to_vec() };
        assert_eq!(Setup::of_service(config, None).exchange.expect.unwrap(), b"+PONG");
    }
}
