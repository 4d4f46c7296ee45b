//! Network sandboxes: namespaces that are there before the containers that join them.
//!
//! To make a network namespace, with its place on a network and its published port, is more
//! than half of what an engine does at a start. A holder, a container of a program that
//! waits for ever, keeps one; what is launched into it (`NetworkMode: container:ID`) starts
//! and is removed in less than half the time. A sandbox has one container at a time. It is
//! free for the next once the removal of the last one is confirmed, so that no process of
//! that one lives, and where the kernel can be asked it is: nobody listens there.
//!
//! Holders bear a label of their own and count against nobody's capacity. One of ours that
//! is in no record here, such as one whose create was given up and carried out later, or
//! one of an earlier run, shows in lists as a stray.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use ganger_pool::core::LaunchId;
use ganger_pool::runtime::{CallError, LaunchError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::body::body;
use super::calls::Failure;
use super::daemon::{Contact, Daemon};
use super::fault::{self, Operation, launch_error};
use super::launch::daemon_fault;
use super::naming::{BOOT, INSTANCE, is_id};
use super::view::{Inspected, Listed, NetworkSettings};
use super::{Docker, Network, Ready, Scope, Spec};
use crate::image;
use crate::reach::process::Process;

/// Label of a holder: its number.
pub const SANDBOX: &str = "io.ganger.sandbox";

/// So many containers one after the other, and a sandbox is replaced.
const USES: u32 = 100;
/// A free one that nobody has wanted for so long is removed.
const IDLE: Duration = Duration::from_secs(60);
/// What a holder may use.
const MEMORY: u64 = 16 << 20;
const PIDS: u32 = 8;

/// What a sandbox is like. Containers that want the same may follow each other in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) network: Network,
    pub(super) publish: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) runtime: Option<String>,
}

/// One of them.
#[derive(Debug)]
struct Sandbox {
    number: u64,
    /// Its holder's.
    id: String,
    kind: Kind,
    /// Containers that were launched into it.
    uses: u32,
}

/// What a container that joins a sandbox has to know of it.
#[derive(Debug)]
pub(super) struct Joined {
    /// The holder's.
    pub(super) id: String,
    /// Its addresses and its port are the holder's.
    pub(super) network: NetworkSettings,
}

/// The sandboxes of one engine.
#[derive(Debug, Default)]
pub(super) struct Sandboxes {
    state: Mutex<State>,
    /// One is not live any more.
    over: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The one that became free last at the end, each since when.
    free: Vec<(Sandbox, Instant)>,
    taken: BTreeMap<LaunchId, Sandbox>,
    /// Those that are being made without anybody waiting for them.
    coming: Vec<Kind>,
    /// The numbers of all that are not to be taken for strays: of these, and of those that
    /// are being made or removed.
    live: BTreeSet<u64>,
    /// There are to be no more.
    closed: bool,
}

// === impl Kind ===

impl Kind {
    pub(super) fn of(spec: &Spec, publish: Option<IpAddr>) -> Self {
        let (network, runtime) = (spec.network.clone(), spec.runtime.clone());
        Self { network, publish, port: spec.port, runtime }
    }
}

// === impl Sandboxes ===

impl Sandboxes {
    /// Takes a free one for a launch.
    fn take(&self, launch: LaunchId, kind: &Kind) -> Option<String> {
        let mut state = self.state.lock();
        let at = state.free.iter().rposition(|(sandbox, _)| sandbox.kind == *kind)?;
        let (mut sandbox, _) = state.free.remove(at);
        sandbox.uses += 1;
        let id = sandbox.id.clone();
        state.taken.insert(launch, sandbox);
        Some(id)
    }

    /// Whether another one is to be made ahead, which is then taken to come.
    fn lacks(&self, kind: &Kind) -> bool {
        let mut state = self.state.lock();
        let there = state.free.iter().map(|(sandbox, _)| &sandbox.kind);
        let lacks = !state.closed && !there.chain(&state.coming).any(|known| known == kind);
        if lacks {
            state.coming.push(kind.clone());
        }
        lacks
    }

    /// Nobody waits any more for one that was made ahead.
    fn came(&self, kind: &Kind) {
        let mut state = self.state.lock();
        if let Some(at) = state.coming.iter().position(|coming| coming == kind) {
            state.coming.swap_remove(at);
        }
    }

    /// Begins to make one; its number.
    fn begin(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Relaxed);
        self.state.lock().live.insert(number);
        number
    }

    /// The container of a launch is gone. Its sandbox is nobody's until it is given back.
    fn release(&self, launch: LaunchId) -> Option<Sandbox> {
        self.state.lock().taken.remove(&launch)
    }

    /// Makes one free for the next, unless there is to be none.
    fn give_back(&self, sandbox: Sandbox) -> Result<(), Sandbox> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(sandbox);
        }
        state.free.push((sandbox, Instant::now()));
        Ok(())
    }

    /// Those that nobody has wanted for a while.
    fn idle(&self) -> Vec<Sandbox> {
        let free = |(_, since): &mut (Sandbox, Instant)| since.elapsed() >= IDLE;
        self.state.lock().free.extract_if(.., free).map(|(sandbox, _)| sandbox).collect()
    }

    /// All there are; there will be no more.
    fn close(&self) -> Vec<Sandbox> {
        let mut state = self.state.lock();
        state.closed = true;
        let (free, taken) = (std::mem::take(&mut state.free), std::mem::take(&mut state.taken));
        free.into_iter().map(|(sandbox, _)| sandbox).chain(taken.into_values()).collect()
    }

    fn forget(&self, number: u64) {
        self.state.lock().live.remove(&number);
        self.over.notify_waiters();
    }

    /// Returns when none is being made, used, looked at or removed any more.
    async fn until_none(&self) {
        loop {
            let over = self.over.notified();
            if self.state.lock().live.is_empty() {
                return;
            }
            over.await;
        }
    }

    fn is_live(&self, number: u64) -> bool {
        self.state.lock().live.contains(&number)
    }
}

// === impl Docker ===

impl Docker {
    /// A sandbox for a launch: a free one, or one that is made now. Another is made
    /// ahead when it was the last.
    pub(super) async fn join(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Arc<Contact>,
        launch: LaunchId,
        kind: Kind,
    ) -> Result<Joined, LaunchError> {
        let joined = loop {
            let Some(id) = daemon.sandboxes.take(launch, &kind) else {
                let sandbox = self.make(daemon, contact, &kind).await?;
                let (number, id) = (sandbox.number, sandbox.id.clone());
                let network = match look_at(daemon, &id).await {
                    Ok(Some(network)) => network,
                    failed => {
                        self.dispose(daemon, vec![sandbox]);
                        let ended = format!("the sandbox {number} ended as soon as it was made");
                        return Err(failed.map_or_else(daemon_fault, |_| fault::daemon(ended)));
                    }
                };
                daemon.sandboxes.state.lock().taken.insert(launch, Sandbox { uses: 1, ..sandbox });
                break Joined { id, network };
            };
            if let Some(network) = look_at(daemon, &id).await.map_err(daemon_fault)? {
                break Joined { id, network };
            }
            tracing::debug!(daemon = %daemon.name, sandbox = id, "a sandbox is not as it was");
            let unfit = daemon.sandboxes.state.lock().taken.remove(&launch);
            self.dispose(daemon, unfit.into_iter().collect());
        };
        if daemon.sandboxes.lacks(&kind) {
            let (docker, daemon, contact) = (self.clone(), daemon.clone(), contact.clone());
            tokio::spawn(async move {
                let made = docker.make(&daemon, &contact, &kind).await;
                daemon.sandboxes.came(&kind);
                match made.map(|sandbox| daemon.sandboxes.give_back(sandbox)) {
                    Ok(Ok(())) => {}
                    Ok(Err(sandbox)) => docker.dispose(&daemon, vec![sandbox]),
                    Err(error) => {
                        let error = error.message;
                        tracing::debug!(daemon = %daemon.name, error, "no sandbox ahead");
                    }
                }
            });
        }
        Ok(joined)
    }

    async fn make(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        kind: &Kind,
    ) -> Result<Sandbox, LaunchError> {
        let number = daemon.sandboxes.begin();
        let made = self.start_holder(daemon, contact, number, kind).await;
        if made.is_err() {
            // Whatever has become of it, the next list shows it as a stray.
            daemon.sandboxes.forget(number);
        }
        Ok(Sandbox { number, id: made?, kind: kind.clone(), uses: 0 })
    }

    async fn start_holder(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        kind: &Kind,
    ) -> Result<String, LaunchError> {
        let spec = holder(kind);
        let builtin = self.builtin.iter().find(|builtin| builtin.reference == spec.image);
        let image = daemon.image(&spec.image, spec.pull, builtin).await;
        let image = image.map_err(|error| fault::unprepared(error.message))?;
        let labels = HashMap::from([
            (INSTANCE.to_owned(), self.identity.instance.clone()),
            (BOOT.to_owned(), self.identity.boot.clone()),
            (SANDBOX.to_owned(), number.to_string()),
        ]);
        let name = format!("ganger-sandbox-{}-{number}", self.identity.boot);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let request = body(&spec, &image, labels, kind.publish, None);
        let deadlines = &daemon.deadlines;
        let failed = |what, late: Duration| {
            move |result: Option<Error>| {
                let failure = result.map_or(Failure::Late(late), Failure::Engine);
                launch_error(&daemon.endpoint, what, &failure)
            }
        };
        let create = contact.client.create_container(Some(options), request);
        let created = timeout(deadlines.create, create).await.map_err(|_| None);
        let created = created.and_then(|created| created.map_err(Some));
        let created = created.map_err(failed(Operation::Create, deadlines.create))?;
        if !is_id(&created.id) {
            return Err(fault::daemon(format!("\"{}\" is not a container's id", created.id)));
        }
        let start = contact.client.start_container(&created.id, None::<StartContainerOptions>);
        let started = timeout(deadlines.start, start).await.map_err(|_| None);
        let started = started.and_then(|started| started.map_err(Some));
        started.map_err(failed(Operation::Start, deadlines.start))?;
        Ok(created.id)
    }

    /// The container of a launch is gone: its sandbox is free for the next when it is found
    /// to be clean, which no launch waits for.
    pub(super) fn release_sandbox(&self, daemon: &Arc<Daemon>, launch: LaunchId) {
        let Some(sandbox) = daemon.sandboxes.release(launch) else { return };
        let (docker, daemon) = (self.clone(), Arc::clone(daemon));
        tokio::spawn(async move {
            let fit = sandbox.uses < USES && is_clean(&daemon, &sandbox.id).await;
            let given = if fit { daemon.sandboxes.give_back(sandbox) } else { Err(sandbox) };
            if let Err(sandbox) = given {
                docker.dispose(&daemon, vec![sandbox]);
            }
        });
    }

    /// Removes those that nobody has wanted for a while.
    pub(super) fn tidy_sandboxes(&self, daemon: &Arc<Daemon>) {
        let idle = daemon.sandboxes.idle();
        self.dispose(daemon, idle);
    }

    /// Removes some that nobody uses, beside all else.
    fn dispose(&self, daemon: &Arc<Daemon>, sandboxes: Vec<Sandbox>) {
        for sandbox in sandboxes {
            let daemon = Arc::clone(daemon);
            tokio::spawn(async move { remove_holder(&daemon, sandbox).await });
        }
    }

    /// Removes all sandboxes of a daemon; there will be no more.
    pub(super) fn close_sandboxes(&self, daemon: &Arc<Daemon>) {
        self.dispose(daemon, daemon.sandboxes.close());
    }

    /// Removes every sandbox of every daemon: there is nothing left to launch. Says, by
    /// daemon, what kept one from being removed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some of them to the next start, or to the guardian.
    pub async fn close(&self) -> Vec<String> {
        let daemons: Vec<_> = self.daemons.lock().values().cloned().collect();
        let mut removals = JoinSet::new();
        for daemon in &daemons {
            for sandbox in daemon.sandboxes.close() {
                let daemon = Arc::clone(daemon);
                removals.spawn(async move {
                    let removed = remove_holder(&daemon, sandbox).await;
                    removed.err().map(|error| format!("{} (a sandbox: {error})", daemon.name))
                });
            }
        }
        let mut left: Vec<_> = removals.join_all().await.into_iter().flatten().collect();
        for daemon in daemons {
            // What was under way when there were to be no more.
            if timeout(daemon.deadlines.remove, daemon.sandboxes.until_none()).await.is_err() {
                left.push(format!("{} (a sandbox)", daemon.name));
            }
        }
        left.sort_unstable();
        left.dedup();
        left
    }

    /// Whether a list is to leave a container out: a holder that is looked after here, or
    /// by another instance.
    pub(super) fn is_kept(&self, daemon: &Daemon, listed: &Listed) -> bool {
        let label = |key| listed.labels.as_ref().and_then(|labels| labels.get(key));
        let Some(number) = label(SANDBOX) else { return false };
        match self.scope {
            Scope::Instance if !self.is_ours(daemon, listed) => true,
            Scope::Instance => {
                label(BOOT).is_some_and(|boot| *boot == self.identity.boot)
                    && number.parse().is_ok_and(|number| daemon.sandboxes.is_live(number))
            }
            Scope::Run | Scope::Overdue => false,
        }
    }
}

/// What a holder runs.
fn holder(kind: &Kind) -> Spec {
    Spec {
        command: Some(vec![image::HOLD.to_owned()]),
        network: kind.network.clone(),
        runtime: kind.runtime.clone(),
        ready: Ready::Started,
        memory: Some(MEMORY),
        pids: Some(PIDS),
        read_only: true,
        ..Spec::new(image::SANDBOX_REFERENCE, kind.port)
    }
}

/// Removes a holder, once; if that fails, a list shows it as a stray.
async fn remove_holder(daemon: &Daemon, sandbox: Sandbox) -> Result<(), CallError> {
    let removed = async {
        let client = daemon.contact()?.client.clone();
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removal = client.remove_container(&sandbox.id, Some(options));
        let late = Err(Error::RequestTimeoutError);
        match timeout(daemon.deadlines.remove, removal).await.unwrap_or(late) {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => {
                let failure = Failure::Engine(error);
                Err(super::explain::call(&daemon.endpoint, "the removal", &failure))
            }
        }
    };
    let removed = removed.await;
    daemon.sandboxes.forget(sandbox.number);
    if let Err(error) = &removed {
        tracing::debug!(daemon = %daemon.name, sandbox = sandbox.id, error = error.message, "not removed");
    }
    removed
}

/// What a sandbox is like; `None` when it is none any more.
async fn look_at(daemon: &Daemon, id: &str) -> Result<Option<NetworkSettings>, CallError> {
    let seen = daemon.inspect(id).await?;
    let seen = seen.filter(|seen| seen.state.running && !seen.state.paused);
    Ok(seen.map(|seen| seen.network_settings))
}

/// Whether nobody listens in a sandbox, as far as the kernel can be asked: on another
/// machine its holder is out of reach, or another process has its number here.
async fn is_clean(daemon: &Daemon, id: &str) -> bool {
    let Ok(Some(Inspected { state, .. })) = daemon.inspect(id).await else { return false };
    let id = id.to_owned();
    // It walks the machine's table of connections.
    let clean = tokio::task::spawn_blocking(move || {
        let here = Process::open(state.pid).ok().filter(|process| process.belongs_to(&id));
        here.is_none_or(|holder| holder.listens_nowhere().unwrap_or(false))
    });
    state.running && clean.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn kind(port: u16) -> Kind {
        Kind { network: Network::Sealed, publish: None, port, runtime: None }
    }

    fn sandbox(sandboxes: &Sandboxes, port: u16) -> Sandbox {
        let number = sandboxes.begin();
        Sandbox { number, id: format!("id-{number}"), kind: kind(port), uses: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sandbox_has_one_container_at_a_time() {
        let sandboxes = Sandboxes::default();
        assert!(sandboxes.lacks(&kind(80)) && !sandboxes.lacks(&kind(80)), "one is coming");
        assert!(sandboxes.lacks(&kind(81)));
        sandboxes.came(&kind(80));
        sandboxes.give_back(sandbox(&sandboxes, 80)).unwrap();
        sandboxes.came(&kind(81));
        assert_eq!(sandboxes.take(LaunchId(1), &kind(81)), None);
        let first = sandboxes.take(LaunchId(1), &kind(80)).unwrap();
        assert_eq!(sandboxes.take(LaunchId(2), &kind(80)), None);
        let sandbox = sandboxes.release(LaunchId(1)).unwrap();
        assert_eq!(sandboxes.take(LaunchId(2), &kind(80)), None, "until it was looked at");
        assert!(sandboxes.is_live(sandbox.number), "and is no stray all the time");
        sandboxes.give_back(sandbox).unwrap();
        assert_eq!(sandboxes.take(LaunchId(2), &kind(80)), Some(first));
        let sandbox = sandboxes.release(LaunchId(2)).unwrap();
        assert_eq!(sandbox.uses, 2);
        sandboxes.close();
        let number = sandboxes.give_back(sandbox).unwrap_err().number;
        let none = sandboxes.until_none();
        tokio::pin!(none);
        assert!((&mut none).now_or_never().is_none());
        sandboxes.forget(number);
        none.await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_wants_goes() {
        let sandboxes = Sandboxes::default();
        for _ in 0..2 {
            sandboxes.give_back(sandbox(&sandboxes, 80)).unwrap();
        }
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        let last = sandboxes.take(LaunchId(1), &kind(80)).unwrap();
        sandboxes.give_back(sandboxes.release(LaunchId(1)).unwrap()).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let idle = sandboxes.idle();
        assert_eq!(idle.len(), 1);
        assert_ne!(idle[0].id, last);
        assert_eq!(sandboxes.close().len(), 1);
        assert!(!sandboxes.lacks(&kind(80)));
    }
}
