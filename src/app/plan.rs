//! The configuration in the terms of the pool, the adapter and the proxy.

use std::sync::Arc;

use ganger_pool::ServiceOptions;

use super::fleet::Fleet;
use crate::config::{self, Config};
use crate::proxy::Settings;
use crate::spec::{Ready, Spec};

/// A configuration, translated.
#[derive(Debug)]
pub struct Plan {
    /// The services of the pool.
    pub services: Vec<ServiceOptions<Spec>>,
    /// The fleet that runs them.
    pub fleet: Fleet,
    /// The settings of the proxy's listeners, in the same order as `services`.
    pub settings: Vec<Settings>,
}

// === impl Plan ===

impl Plan {
    /// Translates a configuration; the values that it accepted need no further check.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            services: config.services.iter().map(options).collect(),
            fleet: Fleet::new(&config.daemons),
            settings: config.services.iter().map(settings).collect(),
        }
    }

    /// The most containers there can be.
    #[must_use]
    pub fn containers(&self) -> u64 {
        let of_services = self.services.iter().map(|s| u64::from(s.policy.max)).sum();
        self.fleet.capacity().map_or(of_services, |on_daemons| on_daemons.min(of_services))
    }

    /// How many daemons there may be.
    #[must_use]
    pub fn daemons(&self) -> u64 {
        self.fleet.size()
    }
}

fn options(service: &config::Service) -> ServiceOptions<Spec> {
    ServiceOptions {
        name: service.name.as_str().into(),
        policy: service.policy.clone(),
        spec: Arc::new(service.spec.clone()),
        start_timeout: service.start_timeout,
    }
}

fn settings(service: &config::Service) -> Settings {
    Settings {
        name: service.name.as_str().into(),
        listen: service.listen,
        speaks_first: matches!(service.spec.ready, Ready::Banner(_)),
        session: service.session.clone(),
    }
}
