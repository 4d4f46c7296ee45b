//! Discovery from Consul: the healthy instances of a service are the fleet.
//!
//! Each datacenter is followed by blocking queries, one after the other, as
//! Consul's documentation of them asks for: an index that goes backwards starts
//! anew, and what comes too often is slowed down. While no server answers, the
//! fleet stays as it was known last.

mod catalog;
mod members;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::Backoff;
use ganger_pool::discovery::{DaemonSpec, FleetWatch};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::endpoint::{Endpoint, Site};
use crate::fleet::{Consistency, Consul};
use crate::http::{self, HttpError};
use catalog::Entry;
use members::Members;

/// How long a server holds a query to which there is no news.
const WAIT: Duration = Duration::from_secs(60);
/// How much longer the answer may take; Consul itself adds a sixteenth of the wait.
const GRACE: Duration = Duration::from_secs(10);
/// The pause between two queries, however fast the answers come.
const PACE: Duration = Duration::from_millis(500);
const AGAIN: Backoff = Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(15) };

/// Follows one datacenter.
struct Follower {
    consul: Arc<Consul>,
    /// `None` is that of the server that is asked.
    datacenter: Option<String>,
    tier: u32,
    found: Arc<Found>,
}

/// What all followers have found, and who is to know.
struct Found {
    /// By tier.
    members: Mutex<Vec<Option<Members>>>,
    /// What was complained of, so that it is said once.
    unfit: Mutex<BTreeSet<String>>,
    fleet: watch::Sender<Arc<[DaemonSpec<Site>]>>,
}

/// What one query brought.
struct Answer {
    index: u64,
    entries: Vec<Entry>,
}

// === impl Consul ===

impl Consul {
    /// Begins to follow. The first value is there once every datacenter was
    /// asked, or `patience` is over. Dropping the tasks ends it.
    pub async fn follow(self, patience: Duration) -> (FleetWatch<Site>, JoinSet<Infallible>) {
        let consul = Arc::new(self);
        let datacenters = consul.datacenters();
        let members = Mutex::new(datacenters.iter().map(|_| None).collect());
        let (fleet, mut watch) = watch::channel(Arc::from(Vec::new()));
        let found = Arc::new(Found { members, unfit: Mutex::default(), fleet });
        let mut tasks = JoinSet::new();
        for (tier, datacenter) in (0..).zip(datacenters) {
            let (consul, found) = (Arc::clone(&consul), Arc::clone(&found));
            tasks.spawn(Follower { consul, datacenter, tier, found }.run());
        }
        let asked = async { while !found.complete() && watch.changed().await.is_ok() {} };
        if timeout(patience, asked).await.is_err() {
            warn!("not every datacenter's Consul has answered; starting with what is known");
        }
        watch.mark_changed();
        (watch, tasks)
    }

    /// Asks once for the whole fleet, and for what is not fit to be in it.
    ///
    /// # Errors
    /// Why a datacenter could not be asked, and at which server last.
    pub async fn once(&self) -> Result<(Vec<DaemonSpec<Site>>, Vec<String>), String> {
        let (mut daemons, mut unfit) = (Vec::new(), Vec::new());
        for (tier, datacenter) in (0..).zip(self.datacenters()) {
            let mut answer = Err("no server is configured".to_owned());
            for endpoint in &self.servers {
                let asked = self.ask(endpoint, datacenter.as_deref(), 0, Duration::ZERO).await;
                answer = asked.map_err(|error| format!("Consul at {}: {error}", url(endpoint)));
                if answer.is_ok() {
                    break;
                }
            }
            for entry in answer?.entries {
                match entry.daemon(self, tier) {
                    Ok(daemon) => daemons.push(daemon),
                    Err(why) => unfit.push(format!("{}: {why}", entry.name(self))),
                }
            }
        }
        Ok((daemons, unfit))
    }

    fn datacenters(&self) -> Vec<Option<String>> {
        match &self.datacenters[..] {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        }
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        datacenter: Option<&str>,
        index: u64,
        wait: Duration,
    ) -> Result<Answer, HttpError> {
        let path = self.path(datacenter, index, wait);
        let deadline = GRACE + if index > 0 { wait + wait / 16 } else { Duration::ZERO };
        let answer = timeout(deadline, http::get_with_headers(endpoint, &path)).await;
        let (headers, entries) = answer.unwrap_or(Err(HttpError::Late(deadline)))?;
        let index = headers.get("x-consul-index").and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse().ok()).unwrap_or(0);
        Ok(Answer { index, entries })
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
        let (mut index, mut server, mut failures) = (0, 0, 0_u32);
        loop {
            let asked = Instant::now();
            let wait = self.found.wait(self.tier).min(WAIT);
            let Some(endpoint) = self.consul.servers.get(server) else {
                server = 0;
                continue;
            };
            let datacenter = self.datacenter.as_deref();
            match self.consul.ask(endpoint, datacenter, index, wait).await {
                Ok(answer) => {
                    if failures > 0 {
                        info!(service = %self, "Consul answers again");
                    }
                    failures = 0;
                    // A restored or rebuilt Consul may not know yet what it will.
                    let restarted = answer.index < index;
                    if restarted {
                        info!(service = %self, "Consul's index went backwards; asking anew");
                    }
                    index = if restarted { 0 } else { answer.index.max(1) };
                    self.take(&answer.entries, restarted);
                    sleep_until(asked + PACE).await;
                }
                Err(error) => {
                    failures += 1;
                    let (at, error) = (url(endpoint), error.to_string());
                    if failures == 1 {
                        warn!(
                            service = %self, server = at, error,
                            "Consul does not answer; the fleet stays as it is known"
                        );
                    } else {
                        debug!(service = %self, server = at, error, failures, "still no answer");
                    }
                    // Another server's index is of its own.
                    (server, index) = (server + 1, 0);
                    if server == self.consul.servers.len() {
                        server = 0;
                        sleep(AGAIN.after(failures)).await;
                    }
                }
            }
        }
    }

    fn take(&self, entries: &[Entry], restarted: bool) {
        let mut daemons = Vec::new();
        for entry in entries {
            match entry.daemon(&self.consul, self.tier) {
                Ok(daemon) => daemons.push(daemon),
                Err(why) => self.found.complain(&entry.name(&self.consul), &why),
            }
        }
        self.found.update(self.tier, daemons, restarted);
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

// === impl Found ===

impl Found {
    fn complete(&self) -> bool {
        self.members.lock().iter().all(Option::is_some)
    }

    /// How long the next query may wait, for what is kept for a while.
    fn wait(&self, tier: u32) -> Duration {
        let members = self.members.lock();
        let of_tier = members.get(tier as usize).and_then(Option::as_ref);
        of_tier.and_then(|members| members.next(Instant::now())).unwrap_or(WAIT)
    }

    fn update(&self, tier: u32, daemons: Vec<DaemonSpec<Site>>, restarted: bool) {
        let mut all = self.members.lock();
        let Some(members) = all.get_mut(tier as usize) else { return };
        members.get_or_insert_default().update(Instant::now(), daemons, restarted);
        let fleet: Arc<[_]> = all.iter().flatten().flat_map(Members::daemons).cloned().collect();
        self.fleet.send_if_modified(|known| {
            let changed = **known != *fleet;
            *known = fleet;
            changed
        });
    }

    fn complain(&self, daemon: &str, why: &str) {
        if self.unfit.lock().insert(format!("{daemon}: {why}")) {
            warn!(daemon, why, "what Consul lists cannot be a daemon");
        }
    }
}

fn url(server: &Endpoint) -> String {
    format!("http://{}", server.authority())
}
