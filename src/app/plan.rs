//! The configuration in the terms of the pool, the adapter and the proxy.

use std::sync::Arc;

use ganger_pool::ServiceOptions;
use ganger_pool::core::Policy;

use super::fleet::Fleet;
use crate::config::{self, Config};
use crate::proxy::Settings;
use crate::spec::{Ready, Spec};

/// What a configuration comes to.
#[derive(Debug)]
pub struct Plan {
    /// What the pool runs.
    pub services: Vec<ServiceOptions<Spec>>,
    /// Where.
    pub fleet: Fleet,
    /// What the proxy listens for, in the same order as `services`.
    pub settings: Vec<Settings>,
}

// === impl Plan ===

impl Plan {
    /// Translates; what the configuration accepted needs no further check.
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
        policy: Policy {
            reuse: service.reuse,
            warm: service.warm,
            auto: service.auto,
            max: service.max,
            max_age: service.retire_after(),
            queue_length: service.queue.length,
            surplus_after: service.surplus_after,
            stale_after: service.stale_after,
            max_surge: service.max_surge,
            canary: service.canary,
            ..Policy::default()
        },
        spec: Arc::new(spec(service)),
        start_timeout: service.timeouts.start,
    }
}

fn settings(service: &config::Service) -> Settings {
    Settings {
        name: service.name.as_str().into(),
        listen: service.listen,
        queue_timeout: service.queue.timeout,
        connect_timeout: service.connect.timeout,
        retries: service.connect.retries,
        replay: service.connect.replay,
        first_byte: service.timeouts.first_byte,
        speaks_first: matches!(service.ready, Ready::Banner(_)),
        keepalive: service.client.keepalive,
        idle: service.timeouts.idle,
        session: service.timeouts.session,
    }
}

fn spec(service: &config::Service) -> Spec {
    Spec {
        image: service.image.to_string(),
        command: service.command.clone(),
        env: service.env.0.clone(),
        port: service.port,
        pull: service.pull,
        memory: Some(service.limits.memory),
        cpus: service.limits.cpus,
        pids: Some(service.limits.pids),
        enforce: service.limits.enforce,
        network: service.network.clone(),
        reach: service.reach,
        preconnect: service.preconnect,
        sandbox: service.sandbox,
        publish_any: service.publish == config::Publish::Any,
        ready: service.ready.clone(),
        user: service.user.clone(),
        read_only: service.read_only,
        tmpfs: service.tmpfs.clone(),
        cap_add: service.cap_add.clone(),
        mounts: service.mounts.clone(),
        runtime: service.runtime.as_ref().map(ToString::to_string),
        overdue_after: service.overdue_after,
    }
}
