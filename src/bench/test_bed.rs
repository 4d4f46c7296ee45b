//! The program under measurement, run in this process as `ganger run` runs it: pool, proxy,
//! guardian. In the end it removes its containers, whatever came of the measurement.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::{ServiceName, Snapshot, State};
use ganger_pool::{Lease, Pool};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::records::Records;
use super::round_kind::RoundKind;
use crate::app::{self, AppError, Ended, Instance, Running, Startup};
use crate::config::Config;
use crate::docker::Docker;
use crate::proxy::Outcome;
use crate::shutdown::Stop;

/// How long a wait for containers may last, besides the time that one takes to start; an image may
/// have to be fetched.
const STOCK: Duration = Duration::from_secs(300);

/// Why there is nothing to measure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The program could not be run.
    #[error(transparent)]
    App(#[from] AppError),
    /// No daemon answers.
    #[error("{0}")]
    Unreachable(String),
    /// Containers do not get ready.
    #[error("{0}")]
    Launch(String),
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
    /// The program has removed its containers, but for these.
    #[error("containers may be left on {on}; remove them with `ganger reap --instance {instance}`")]
    Left {
        /// The daemons, for people.
        on: String,
        /// The instance that has them.
        instance: String,
    },
}

/// The processes that the program under measurement starts.
pub(super) struct Children {
    pub(super) guardian: Command,
    pub(super) keeper: Command,
}

/// The program under measurement, while it runs.
pub(super) struct TestBed {
    running: Running,
    /// The program's own records.
    pub(super) records: Arc<Records>,
    addresses: BTreeMap<RoundKind, SocketAddr>,
    /// How long a wait for containers may last.
    patience: Duration,
}

/// Runs a configuration that has a service for each of these kinds, and calls `work` once
/// every stock is full. When that has ended, or `stop` asks for it, everything is removed.
///
/// # Errors
/// See [`BenchError`]; the result of `work` is lost then.
///
/// # Cancel safety
/// Dropping the future leaves the removal to the guardian.
pub(super) async fn with<T>(
    config: Config,
    kinds: &[RoundKind],
    instance: &str,
    children: Children,
    stop: &Stop,
    work: impl AsyncFnOnce(&TestBed) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let taken = Instance::take(instance).map_err(AppError::from)?;
    // The program's own stop, which does not end this process.
    let own = Stop { drain: stop.drain.child_token(), now: stop.now.clone(), ..Stop::default() };
    let drain = own.drain.clone();
    let (tell, told) = oneshot::channel();
    let started = move |running: &Running| _ = tell.send(running.clone());
    let start = config.services.iter().map(|service| service.start_timeout).max();
    let patience = STOCK.saturating_add(start.unwrap_or_default());
    let records = Arc::new(Records::default());
    let startup = Startup {
        load: None,
        guardian: Some(children.guardian),
        keeper: Some(children.keeper),
        recorders: vec![records.clone()],
        engines: vec![records.clone()],
        ..Startup::new(config, taken, own)
    };
    let run = app::run(startup, started, |_, _| ());
    let mut run = std::pin::pin!(run);
    let running = tokio::select! {
        ended = &mut run => return Err(ended.map_or_else(Into::into, |_| BenchError::Interrupted)),
        Ok(running) = told => running,
    };
    let address = |kind: &RoundKind| {
        let own = running.services.iter().find(|(name, _)| name.as_str() == kind.as_str());
        own.map(|(_, address)| (*kind, *address))
    };
    let addresses = kinds.iter().filter_map(address).collect();
    let bed = TestBed { addresses, running, records, patience };
    let measured = async {
        let measured = tokio::select! {
            // The end first.
            biased;
            () = drain.cancelled() => Err(BenchError::Interrupted),
            measured = async { bed.quiet().await?; work(&bed).await } => measured,
        };
        drain.cancel();
        measured
    };
    // Both to their ends: the program serves while it is measured, and removes afterwards.
    let (measured, ended) = tokio::join!(measured, run);
    match ended? {
        Ended { left, .. } if !left.is_empty() => {
            Err(BenchError::Left { on: left.join(", "), instance: instance.to_owned() })
        }
        Ended { .. } => measured,
    }
}

// === impl TestBed ===

impl TestBed {
    /// The address that takes connections of a kind.
    pub(super) fn address(&self, kind: RoundKind) -> Option<SocketAddr> {
        self.addresses.get(&kind).copied()
    }

    fn pool(&self) -> &Pool<Docker> {
        &self.running.pool
    }

    /// Waits until every stock is full and nothing else is under way.
    ///
    /// # Errors
    /// The pool does not come to that.
    pub(super) async fn quiet(&self) -> Result<(), BenchError> {
        let mut seen = Snapshot::default();
        let settled = self.pool().until(|snapshot| {
            let done = is_quiet(snapshot) || hopeless(snapshot).is_some();
            if done {
                seen = snapshot.clone();
            }
            done
        });
        if timeout(self.patience, settled).await.is_err() {
            let snapshot = self.pool().snapshot();
            let last = snapshot.services.iter().find_map(|service| service.last_error.clone());
            let why =
                last.map_or_else(|| "is there room on the daemons?".to_owned(), |e| e.to_string());
            return Err(BenchError::Launch(format!("no stock after {:?}: {why}", self.patience)));
        }
        hopeless(&seen).map_or(Ok(()), Err)
    }

    /// Leases a container.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn lease(&self, kind: RoundKind) -> Result<Lease<Docker>, BenchError> {
        let name = ServiceName::from(kind.as_str());
        let lease = self.pool().lease(&name, Instant::now() + self.patience).await;
        lease.map_err(|refusal| BenchError::Launch(format!("{kind}: {refusal}")))
    }

    /// Leases every container of a stock once, so that none of them is fresh any more.
    ///
    /// # Errors
    /// A container cannot be leased.
    pub(super) async fn use_up(&self, kind: RoundKind) -> Result<(), BenchError> {
        let stock =
            self.pool().snapshot().service(kind.as_str()).map_or(0, |s| s.counts[State::Idle]);
        let mut leases = Vec::new();
        for _ in 0..stock {
            leases.push(self.lease(kind).await?);
        }
        leases.into_iter().for_each(|lease| Lease::finish(lease, Outcome::Clean));
        self.quiet().await
    }
}

fn is_quiet(snapshot: &Snapshot) -> bool {
    let busy = [State::Launching, State::Probing, State::Checking, State::Retiring, State::Unknown];
    snapshot.settled()
        && snapshot.services.iter().all(|service| {
            // The container that is reached directly is leased all the time.
            let direct = service.name.as_str() == RoundKind::Direct.as_str();
            let leased = service.counts[State::Leased];
            let ready = service.counts[State::Idle] + if direct { leased } else { 0 };
            ready >= service.warm
                && (direct || leased == 0)
                && busy.iter().all(|state| service.counts[*state] == 0)
        })
}

/// Why waiting is to no avail.
fn hopeless(snapshot: &Snapshot) -> Option<BenchError> {
    let failing = snapshot.services.iter().find_map(|service| service.failing.clone());
    if let Some(why) = failing {
        return Some(BenchError::Launch(why.to_string()));
    }
    let why = snapshot.daemons.iter().map(|daemon| daemon.down.clone()).collect::<Option<Vec<_>>>();
    if let Some(why) = why.filter(|why| !why.is_empty()) {
        return Some(BenchError::Unreachable(why.join("; ")));
    }
    let unfit = snapshot.services.iter().find_map(|service| {
        let up = snapshot.daemons.iter().filter(|daemon| daemon.down.is_none());
        let why: Option<Vec<_>> =
            up.map(|daemon| daemon.prepared.get(&service.name)?.as_ref().err()).collect();
        why?.first().map(ToString::to_string)
    });
    unfit.map(BenchError::Launch)
}
