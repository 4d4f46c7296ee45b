//! Registers services with a Consul agent, for clients to find them: each with a
//! check that is told how the service is, and critical when nothing is told.
//!
//! A registered service accepts clients: it is registered once it listens, and taken out before it
//! stops to. An agent that is away is asked again, and disturbs nobody.

mod health;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ganger_pool::Pool;
use ganger_pool::core::ServiceName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::config::{Config, Register};
use crate::consul::{self, AskError, ConsulClient};
use crate::docker::Docker;
use crate::http::{self, HttpError};
use health::{CheckStatus, ServiceHealth};

/// How long the agent may take for one call.
const CALL: Duration = Duration::from_secs(5);
/// How long a withdrawal from the agent is waited for.
const LEAVE: Duration = Duration::from_secs(5);
/// How often the health of a service is compared with what the agent was told.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps services registered, in a task for each.
pub(super) struct Registrar {
    instance: String,
    pool: Arc<Pool<Docker>>,
    known: BTreeMap<ServiceName, Registered>,
}

/// The registration of one service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registration {
    register: Arc<Register>,
    service: ServiceName,
    /// Unique with the agent, and the same after a restart.
    id: String,
    instance: String,
    /// Where it listens.
    listens: SocketAddr,
}

/// The id of a registration, and its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RegisteredAt {
    id: String,
    agent: String,
}

struct Registered {
    entry: Registration,
    end: oneshot::Sender<Withdrawal>,
    task: AbortOnDropHandle<()>,
}

/// How a task is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Withdrawal {
    /// The service is taken out.
    Leave,
    /// The service stays: another task goes on with it.
    HandOver,
}

/// A service, and the agent that it is registered with.
struct Reporter {
    entry: Registration,
    client: ConsulClient,
    pool: Arc<Pool<Docker>>,
    /// The agent may know it.
    tried: bool,
    /// The agent knows it, as far as is known.
    registered: bool,
    failures: u32,
}

// === impl Registrar ===

impl Registrar {
    pub(super) fn new(instance: &str, pool: Arc<Pool<Docker>>) -> Self {
        Self { instance: instance.to_owned(), pool, known: BTreeMap::new() }
    }

    /// The registrations of services that listen at these addresses.
    pub(super) fn entries<'a>(
        &self,
        config: &Config,
        services: impl IntoIterator<Item = (&'a ServiceName, SocketAddr)>,
    ) -> BTreeMap<ServiceName, Registration> {
        let Some(register) = &config.register else { return BTreeMap::new() };
        let register = Arc::new(register.clone());
        let entry = |(service, listens): (&ServiceName, _)| {
            let entry = Registration {
                register: register.clone(),
                service: service.clone(),
                id: format!("ganger-{}-{service}", self.instance),
                instance: self.instance.clone(),
                listens,
            };
            (service.clone(), entry)
        };
        services.into_iter().map(entry).collect()
    }

    /// Takes out services that are not wanted, or not at their place, and ends the tasks of those
    /// that are wanted with other settings. Returns once that was done, or could not be in time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves to Consul what was not taken out yet: it is
    /// critical after its `ttl`.
    pub(super) async fn deregister(&mut self, wanted: &BTreeMap<ServiceName, Registration>) {
        let stale = |(name, known): &(&ServiceName, &Registered)| {
            wanted.get(*name).is_none_or(|wanted| *wanted != known.entry)
        };
        let stale: Vec<_> = self.known.iter().filter(stale).map(|(name, _)| name.clone()).collect();
        let mut tasks = Vec::new();
        for name in stale {
            let Some(Registered { entry, end, task }) = self.known.remove(&name) else { continue };
            let stays = wanted.get(&name).is_some_and(|wanted| wanted.is_where(&entry));
            // A task that has ended by itself has nobody to tell.
            _ = end.send(if stays { Withdrawal::HandOver } else { Withdrawal::Leave });
            tasks.push(task);
        }
        _ = timeout(LEAVE, join_all(tasks)).await;
    }

    /// Leaves these to another process, which registers them by the same names, and takes all
    /// others out.
    ///
    /// # Cancel safety
    /// As for [`Registrar::deregister`].
    pub(super) async fn hand_over(&mut self, to: &[RegisteredAt]) {
        let mut tasks = Vec::new();
        for (_, Registered { entry, end, task }) in std::mem::take(&mut self.known) {
            let stays = to.contains(&entry.at());
            // A task that has ended by itself has nobody to tell.
            _ = end.send(if stays { Withdrawal::HandOver } else { Withdrawal::Leave });
            tasks.push(task);
        }
        _ = timeout(LEAVE, join_all(tasks)).await;
    }

    /// Begins to register those that are not yet.
    pub(super) fn begin(&mut self, wanted: BTreeMap<ServiceName, Registration>) {
        for (name, entry) in wanted {
            self.known.entry(name).or_insert_with(|| {
                let (end, told) = oneshot::channel();
                let reporter = Reporter {
                    client: entry.client(),
                    entry: entry.clone(),
                    pool: self.pool.clone(),
                    tried: false,
                    registered: false,
                    failures: 0,
                };
                let task = AbortOnDropHandle::new(tokio::spawn(reporter.run(told)));
                Registered { entry, end, task }
            });
        }
    }
}

/// Asks the agent, where there is one, whether it would take the services.
///
/// # Errors
/// Why it would not.
pub async fn admitted(config: &Config) -> Option<Result<String, String>> {
    let register = config.register.as_ref()?;
    let names = config.services.iter().map(|service| register.name(service.name.as_str()));
    let names: Vec<_> = names.collect();
    let client = client(register);
    let lacks = match client.lacks("write", &names, None, CALL).await {
        Ok(lacks) if lacks.is_empty() => Ok(()),
        Ok(lacks) => Err(client.denied(&format!("it may not register {}", lacks.join(", ")))),
        Err(error) => Err(error),
    };
    let url = client.url();
    Some(match lacks {
        Ok(()) => Ok(format!("to be registered with Consul at {url}: {}", names.join(", "))),
        Err(error) => Err(format!("Consul at {url}: {error}")),
    })
}

fn client(register: &Register) -> ConsulClient {
    let needs = "`service:write` of every service that is registered".to_owned();
    ConsulClient::new(register.agent.clone(), register.token_file.clone(), needs)
}

// === impl Registration ===

impl Registration {
    /// Whether both send clients to the same place, by the same agent.
    fn is_where(&self, other: &Self) -> bool {
        let place = |entry: &Self| (entry.address(), entry.listens.port());
        self.register.agent == other.register.agent && place(self) == place(other)
    }

    fn client(&self) -> ConsulClient {
        client(&self.register)
    }

    pub(super) fn at(&self) -> RegisteredAt {
        RegisteredAt { id: self.id.clone(), agent: self.client().url().to_string() }
    }

    /// Where clients are sent; empty is the agent's own address.
    fn address(&self) -> String {
        let ip = match self.register.address {
            Some(ip) => ip,
            None if self.listens.ip().is_unspecified() => return String::new(),
            None => self.listens.ip(),
        };
        ip.to_string()
    }

    fn body(&self, status: CheckStatus) -> Value {
        // As Go writes times.
        let time = |time: Duration| format!("{}ms", time.as_millis());
        json!({
            "ID": self.id,
            "Name": self.register.name(self.service.as_str()),
            "Address": self.address(),
            "Port": self.listens.port(),
            "Tags": self.register.tags,
            "Meta": {"instance": self.instance},
            "Check": {
                "Name": "what Ganger says of it",
                "TTL": time(self.register.ttl),
                "Status": status.as_str(),
                "DeregisterCriticalServiceAfter": time(self.register.forget_after),
            },
        })
    }
}

// === impl Reporter ===

impl Reporter {
    async fn run(mut self, mut end: oneshot::Receiver<Withdrawal>) {
        let every = self.entry.register.ttl / 3;
        loop {
            let health = self.health();
            // Not cut short by the end: a request that was sent may be carried out.
            let told = self.tell(&health).await;
            let now = Instant::now();
            let due = match &told {
                Ok(()) => now + every,
                Err(_) => now + consul::pause(self.failures),
            };
            loop {
                let look = due.min(Instant::now() + LOOK);
                tokio::select! {
                    // The end first.
                    biased;
                    how = &mut end => {
                        if how == Ok(Withdrawal::Leave) {
                            self.leave().await;
                        }
                        return;
                    }
                    () = sleep_until(look) => {}
                }
                let changed = || told.is_ok() && self.health().status != health.status;
                if Instant::now() >= due || changed() {
                    break;
                }
            }
        }
    }

    fn health(&self) -> ServiceHealth {
        ServiceHealth::of(self.pool.service(&self.entry.service).as_ref())
    }

    async fn tell(&mut self, health: &ServiceHealth) -> Result<(), AskError> {
        let told = self.report(health).await;
        let (service, agent) = (&self.entry.service, self.client.url());
        match &told {
            Ok(()) => {
                if self.failures > 0 {
                    info!(%service, agent, "Consul is told of the service again");
                }
                self.failures = 0;
            }
            Err(error) => {
                if self.failures == 0 {
                    warn!(%service, agent, error = error.to_string(), "cannot tell Consul of the service; it goes on");
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
        told
    }

    /// Says how the service is, and registers it where it is not known.
    async fn report(&mut self, health: &ServiceHealth) -> Result<(), AskError> {
        if self.registered {
            match self.update(health).await {
                // The agent has forgotten it: it was started anew, or somebody took it out.
                Err(AskError::Http(HttpError::Status { code: 404 | 500, .. })) => {
                    self.registered = false;
                }
                told => return told,
            }
        }
        self.tried = true;
        let body = self.entry.body(health.status);
        self.client.put("/v1/agent/service/register", Some(&body), CALL).await?;
        self.registered = true;
        let Registration { service, id, .. } = &self.entry;
        info!(%service, id, agent = self.client.url(), status = health.status.as_str(), "registered in Consul");
        self.update(health).await
    }

    async fn update(&self, health: &ServiceHealth) -> Result<(), AskError> {
        let path = format!("/v1/agent/check/update/service:{}", http::escape(&self.entry.id));
        let body = json!({"Status": health.status.as_str(), "Output": health.note});
        self.client.put(&path, Some(&body), CALL).await
    }

    async fn leave(&self) {
        if !self.tried {
            return;
        }
        let Registration { service, id, register, .. } = &self.entry;
        let path = format!("/v1/agent/service/deregister/{}", http::escape(id));
        match self.client.put(&path, None, CALL).await {
            Ok(()) => info!(%service, id, "taken out of Consul"),
            Err(error) => warn!(
                %service, id, error = error.to_string(), ttl = ?register.ttl,
                "cannot be taken out of Consul; it is critical there after its ttl"
            ),
        }
    }
}
