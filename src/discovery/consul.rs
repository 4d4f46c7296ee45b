//! Discovery from Consul: the healthy instances of a service are the fleet.
//!
//! Each datacenter is followed by blocking queries, one after the other, as Consul's documentation
//! of them asks for: an index that goes backwards starts anew, and answers that come too often are
//! slowed down. While no server answers, the fleet stays as it was known last.

mod catalog;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ganger_pool::discovery::DaemonSpec;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::membership::Membership;
use super::{Discovered, FleetSource, SourceHealth, Subscription};
use crate::consul::{self, AskError, ConsulClient};
use crate::endpoint::{Endpoint, Site};
use crate::http::{self, HttpError};
use crate::tls;
use crate::token::TokenFile;
use catalog::CatalogEntry;

/// How long a server holds a query to which there is no news.
const WAIT: Duration = Duration::from_secs(60);
/// How much longer the answer may take; Consul itself adds a sixteenth of the wait.
const GRACE: Duration = Duration::from_secs(10);
/// The pause between two queries, however fast the answers come.
const PACE: Duration = Duration::from_millis(500);

/// The Consul to ask, and what to ask it for.
#[derive(Debug, Clone, PartialEq)]
pub struct Consul {
    /// Servers or agents, tried in turn, with the TLS they are reached with. Never empty.
    pub servers: Vec<Endpoint>,
    /// The ACL token for queries, where the servers have ACLs.
    pub token_file: Option<TokenFile>,
    /// The service whose healthy instances are daemons.
    pub service: String,
    /// In order of preference; empty is that of the server that is asked.
    pub datacenters: Vec<String>,
    /// How fresh an answer has to be.
    pub consistency: Consistency,
    /// The capacity of a daemon that does not state one.
    pub max_containers: u32,
    /// Plain tcp to daemons on other machines is allowed.
    pub insecure: bool,
    /// The files for TLS to daemons that do not say `tls = "false"`.
    pub tls: Option<tls::Files>,
}

/// How fresh Consul's answers have to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Any server answers, even without a leader.
    Stale,
    /// The leader answers, as far as it knows that it is one.
    #[default]
    Default,
    /// The leader asks the others whether it is one.
    Consistent,
}

/// Follows one datacenter.
struct Follower {
    consul: Arc<Consul>,
    /// `None` is that of the server that is asked.
    datacenter: Option<String>,
    tier: u32,
    discovered: Arc<DiscoveredFleet>,
}

/// The daemons that all followers have found, and where they are told.
struct DiscoveredFleet {
    /// By tier.
    members: Mutex<Vec<Option<Membership>>>,
    /// The complaints so far, so that each is logged once.
    unfit: Mutex<BTreeSet<String>>,
    /// A part for each tier.
    health: Arc<SourceHealth>,
    fleet: watch::Sender<Arc<[DaemonSpec<Site>]>>,
}

/// The answer to one query.
struct CatalogAnswer {
    index: u64,
    entries: Vec<CatalogEntry>,
}

// === impl Consul ===

impl FleetSource for Consul {
    fn kind(&self) -> &'static str {
        "consul"
    }

    fn origin(&self) -> &'static str {
        "from Consul"
    }

    fn no_daemon_message(&self) -> String {
        format!(
            "Consul lists no daemon that passes its checks and can be used as `{}`: look at `service` \
             and `datacenters`, and at what is registered",
            self.service
        )
    }

    fn would_list(&self, name: &str) -> bool {
        self.service == name
    }

    fn once(&self) -> BoxFuture<'_, Result<Discovered, String>> {
        Box::pin(async move {
            let mut all = Discovered::default();
            for (tier, datacenter) in (0..).zip(self.datacenters()) {
                let Discovered { daemons, unfit } = self.first_answer(datacenter, tier).await?;
                all.daemons.extend(daemons);
                all.unfit.extend(unfit);
            }
            Ok(all)
        })
    }

    fn follow(&self, patience: Duration) -> BoxFuture<'_, Subscription> {
        Box::pin(async move {
            let consul = Arc::new(self.clone());
            let datacenters = consul.datacenters();
            let members = Mutex::new(datacenters.iter().map(|_| None).collect());
            let (fleet, mut watch) = watch::channel(Arc::from(Vec::new()));
            let health = Arc::new(SourceHealth::of_parts(datacenters.len()));
            let (unfit, its) = (Mutex::default(), Arc::clone(&health));
            let discovered = Arc::new(DiscoveredFleet { members, unfit, health: its, fleet });
            let mut tasks = JoinSet::new();
            for (tier, datacenter) in (0..).zip(datacenters) {
                let (consul, discovered) = (Arc::clone(&consul), Arc::clone(&discovered));
                tasks.spawn(Follower { consul, datacenter, tier, discovered }.run());
            }
            let asked = async { while !discovered.complete() && watch.changed().await.is_ok() {} };
            let answered = timeout(patience, asked).await.is_ok();
            watch.mark_changed();
            Subscription { fleet: watch, tasks, health, answered }
        })
    }
}

impl Consul {
    /// The daemons of a datacenter, from the first server that answers.
    async fn first_answer(
        &self,
        datacenter: Option<String>,
        tier: u32,
    ) -> Result<Discovered, String> {
        let mut errors = Vec::new();
        for client in &self.clients() {
            match self.ask(client, datacenter.as_deref(), 0, Duration::ZERO).await {
                Ok(answer) => return Ok(self.sorted(&answer.entries, tier)),
                Err(error) => errors.push(format!("Consul at {}: {error}", client.url())),
            }
        }
        Err(errors.join("\n"))
    }

    fn sorted(&self, entries: &[CatalogEntry], tier: u32) -> Discovered {
        let mut found = Discovered::default();
        for entry in entries {
            match entry.daemon(self, tier) {
                Ok(daemon) => found.daemons.push(daemon),
                Err(why) => found.unfit.push(format!("{}: {why}", entry.name(self))),
            }
        }
        found
    }

    fn datacenters(&self) -> Vec<Option<String>> {
        match &self.datacenters[..] {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        }
    }

    fn clients(&self) -> Vec<ConsulClient> {
        let needs = format!("`service:read` of \"{}\" and `node:read`", self.service);
        let client = |server: &_| {
            ConsulClient::new(Clone::clone(server), self.token_file.clone(), needs.clone())
        };
        self.servers.iter().map(client).collect()
    }

    async fn ask(
        &self,
        client: &ConsulClient,
        datacenter: Option<&str>,
        index: u64,
        wait: Duration,
    ) -> Result<CatalogAnswer, AskError> {
        let path = self.path(datacenter, index, wait);
        let deadline = GRACE + if index > 0 { wait + wait / 16 } else { Duration::ZERO };
        let (headers, entries): (_, Vec<CatalogEntry>) = client.get(&path, deadline).await?;
        // Entries that the token may not read are left out, all or in part: then the fleet is not
        // known. Newer versions say so.
        if headers.contains_key("x-consul-results-filtered-by-acls") {
            return Err(client.denied("it may not read all that is listed"));
        }
        if entries.is_empty() {
            let service = std::slice::from_ref(&self.service);
            let lacks = client.lacks("read", service, datacenter, GRACE).await;
            match lacks {
                Ok(lacks) if lacks.is_empty() => {}
                Err(error) if !error.is_refusal() => {
                    debug!(error = error.to_string(), "cannot ask for rights")
                }
                Err(error) => return Err(error),
                Ok(_) => return Err(client.denied("it may not read all that is listed")),
            }
        }
        let index = headers.get("x-consul-index").and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse().ok()).unwrap_or(0);
        Ok(CatalogAnswer { index, entries })
    }

    fn path(&self, datacenter: Option<&str>, index: u64, wait: Duration) -> String {
        let mut path = format!("/v1/health/service/{}?passing=1", http::escape(&self.service));
        if let Some(datacenter) = datacenter {
            path.push_str(&format!("&dc={}", http::escape(datacenter)));
        }
        if index > 0 {
            path.push_str(&format!("&index={index}&wait={}s", wait.as_secs().max(1)));
        }
        path.push_str(match self.consistency {
            Consistency::Stale => "&stale",
            Consistency::Default => "",
            Consistency::Consistent => "&consistent",
        });
        path
    }
}

// === impl Follower ===

impl Follower {
    async fn run(self) -> Infallible {
        let clients = self.consul.clients();
        // `newest` outlives failures: a Consul that lost its memory was mostly away before.
        let (mut index, mut newest, mut failures) = (0, 0, 0);
        // The last complaint: whether it was of a refusal, or of no answer.
        let mut told = None;
        loop {
            let mut last = None;
            for client in &clients {
                let error = loop {
                    let asked = Instant::now();
                    let answer = match self.next(client, index).await {
                        Ok(answer) => answer,
                        Err(error) => break error,
                    };
                    if told.take().is_some() {
                        info!(service = %self, "Consul answers again");
                    }
                    failures = 0;
                    self.discovered.health.answered(self.tier);
                    let restarted = answer.index < newest;
                    if restarted {
                        info!(service = %self, "Consul's index went backwards; asking anew");
                    }
                    newest = answer.index;
                    index = if restarted { 0 } else { answer.index.max(1) };
                    let Discovered { daemons, unfit } =
                        self.consul.sorted(&answer.entries, self.tier);
                    self.discovered.complain(unfit);
                    self.discovered.update(self.tier, daemons, restarted);
                    sleep_until(asked + PACE).await;
                };
                // The next one answers at once with what there is.
                index = 0;
                failures += 1;
                self.discovered.health.failed(self.tier, failures >= clients.len());
                debug!(service = %self, server = client.url(), error = error.to_string(), "no answer");
                // A refusal is told rather than that another server is away.
                if last.as_ref().is_none_or(|(_, last): &(_, AskError)| !last.is_refusal()) {
                    last = Some((client.url(), error));
                }
            }
            if let Some((server, error)) = last
                && failures >= clients.len()
                && told.replace(error.is_refusal()) != Some(error.is_refusal())
            {
                self.complain(&server, &error);
            }
            let rounds = failures.div_ceil(clients.len().max(1));
            sleep(consul::pause(u32::try_from(rounds).unwrap_or(u32::MAX))).await;
        }
    }

    /// The next answer of a server.
    async fn next(&self, client: &ConsulClient, index: u64) -> Result<CatalogAnswer, AskError> {
        let wait = self.discovered.wait(self.tier).min(WAIT);
        self.consul.ask(client, self.datacenter.as_deref(), index, wait).await
    }

    fn complain(&self, server: &str, error: &AskError) {
        let what = match error {
            error if error.is_refusal() => "Consul refuses; the fleet stays as it is known",
            AskError::Http(HttpError::Status { .. }) => {
                "Consul answers with an error; the fleet stays as it is known"
            }
            _ => "Consul does not answer; the fleet stays as it is known",
        };
        warn!(service = %self, server, error = error.to_string(), "{what}");
    }
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.datacenter {
            Some(datacenter) => write!(f, "{}@{datacenter}", self.consul.service),
            None => f.write_str(&self.consul.service),
        }
    }
}

// === impl DiscoveredFleet ===

impl DiscoveredFleet {
    fn complete(&self) -> bool {
        self.members.lock().iter().all(Option::is_some)
    }

    /// How long the next query may wait, for daemons that are kept for a while.
    fn wait(&self, tier: u32) -> Duration {
        let members = self.members.lock();
        let of_tier = members.get(tier as usize).and_then(Option::as_ref);
        of_tier.and_then(|members| members.next(Instant::now())).unwrap_or(WAIT)
    }

    fn update(&self, tier: u32, daemons: Vec<DaemonSpec<Site>>, restarted: bool) {
        let mut all = self.members.lock();
        let Some(members) = all.get_mut(tier as usize) else { return };
        let first = members.is_none();
        members.get_or_insert_default().update(Instant::now(), daemons, restarted);
        let fleet: Arc<[_]> = all.iter().flatten().flat_map(Membership::daemons).cloned().collect();
        self.fleet.send_if_modified(|known| {
            let changed = **known != *fleet;
            *known = fleet;
            // The first answer is news, even an empty one.
            changed || first
        });
    }

    fn complain(&self, unfit: Vec<String>) {
        for why in unfit {
            if !self.unfit.lock().contains(&why) {
                warn!(why, "what Consul lists cannot be a daemon");
                self.unfit.lock().insert(why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
