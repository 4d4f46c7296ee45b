//! The sandboxes of one engine, and the launches that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ganger_pool::core::LaunchId;
use ganger_pool::runtime::CallError;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Network, Spec};

/// A sandbox is replaced after this many containers, one after the other.
const USES: u32 = 100;
/// A free sandbox that nobody has wanted for this long is removed.
const IDLE: Duration = Duration::from_secs(60);

/// The kind of a sandbox. Containers that want the same may follow each other in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SandboxKind {
    pub(super) network: Network,
    pub(super) publish: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) runtime: Option<String>,
}

/// The purpose of a holder, which serves nobody. All holders share one sequence of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// The network namespace of a sandbox.
    Network,
    /// Secrets, and the volume that has them.
    Secrets,
    /// The specification of cells, as their carrier.
    Carrier,
}

/// A network sandbox.
#[derive(Debug)]
pub(super) struct NetworkSandbox {
    pub(super) number: u64,
    /// The id of its holder.
    pub(super) id: String,
    pub(super) kind: SandboxKind,
    /// How many containers were launched into it.
    pub(super) uses: u32,
    /// A launch has failed in it.
    pub(super) spoilt: bool,
}

/// The sandboxes of one engine, whatever its address.
#[derive(Debug, Default)]
pub(super) struct Sandboxes {
    state: Mutex<SandboxesState>,
    /// Notified when a holder is not live any more, or cannot be removed now.
    over: Notify,
    /// Notified when no more sandboxes are to be made.
    pub(super) closing: Notify,
}

#[derive(Debug, Default)]
struct SandboxesState {
    /// The free sandboxes, the last to become free at the end, each with the time since when.
    free: Vec<(NetworkSandbox, Instant)>,
    taken: BTreeMap<LaunchId, NetworkSandbox>,
    /// The kinds of those that are being made without anybody waiting for them.
    coming: Vec<SandboxKind>,
    /// The numbers of all holders that are no strays: of sandboxes and of secrets, also those that
    /// are being made or removed; and why the last removal of each failed.
    live: BTreeMap<u64, (Holds, Option<CallError>)>,
    /// No more sandboxes are to be made.
    closed: bool,
}

// === impl SandboxKind ===

impl SandboxKind {
    pub(super) fn of(spec: &Spec, publish: Option<IpAddr>) -> Self {
        let (network, runtime) = (spec.network.clone(), spec.runtime.clone());
        Self { network, publish, port: spec.port, runtime }
    }
}

// === impl NetworkSandbox ===

impl NetworkSandbox {
    pub(super) fn new(number: u64, id: String, kind: SandboxKind) -> Self {
        Self { number, id, kind, uses: 0, spoilt: false }
    }

    /// Whether another container may be launched into it, if it is clean.
    pub(super) fn is_fit(&self) -> bool {
        !self.spoilt && self.uses < USES
    }
}

// === impl Sandboxes ===

impl Sandboxes {
    /// Gives a launch the sandbox that was made for it.
    pub(super) fn give(&self, launch: LaunchId, sandbox: NetworkSandbox) {
        self.state.lock().taken.insert(launch, NetworkSandbox { uses: 1, ..sandbox });
    }

    /// Takes a free sandbox for a launch.
    pub(super) fn take(&self, launch: LaunchId, kind: &SandboxKind) -> Option<String> {
        let mut state = self.state.lock();
        let at = state.free.iter().rposition(|(sandbox, _)| sandbox.kind == *kind)?;
        let (mut sandbox, _) = state.free.remove(at);
        sandbox.uses += 1;
        let id = sandbox.id.clone();
        state.taken.insert(launch, sandbox);
        Some(id)
    }

    /// Whether another sandbox is to be made ahead, which is then taken to come.
    pub(super) fn lacks(&self, kind: &SandboxKind) -> bool {
        let mut state = self.state.lock();
        let there = state.free.iter().map(|(sandbox, _)| &sandbox.kind);
        let lacks = !state.closed && !there.chain(&state.coming).any(|known| known == kind);
        if lacks {
            state.coming.push(kind.clone());
        }
        lacks
    }

    /// Notes that the making of a sandbox ahead has ended.
    pub(super) fn came(&self, kind: &SandboxKind) {
        let mut state = self.state.lock();
        if let Some(at) = state.coming.iter().position(|coming| coming == kind) {
            state.coming.swap_remove(at);
        }
    }

    /// Begins to make a holder; returns its number.
    pub(super) fn begin(&self, holds: Holds) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Relaxed);
        self.state.lock().live.insert(number, (holds, None));
        number
    }

    /// Counts a removed holder as live again, as it may be there again.
    pub(super) fn resume(&self, number: u64, holds: Holds) {
        self.state.lock().live.entry(number).or_insert((holds, None));
    }

    /// The purpose of a holder that is not forgotten.
    pub(super) fn holds(&self, number: u64) -> Option<Holds> {
        self.state.lock().live.get(&number).map(|(holds, _)| *holds)
    }

    /// Takes the sandbox of a launch whose container is gone: nobody's until it is given back.
    pub(super) fn release(&self, launch: LaunchId) -> Option<NetworkSandbox> {
        self.state.lock().taken.remove(&launch)
    }

    /// Marks the sandbox of a launch that has failed. If others had used it before, takes out all
    /// of its kind that are free and have been used, which are nobody's then.
    pub(super) fn spoil(&self, launch: LaunchId) -> Option<Vec<NetworkSandbox>> {
        let mut state = self.state.lock();
        let sandbox = state.taken.get_mut(&launch)?;
        sandbox.spoilt = true;
        let kind = Some(sandbox.kind.clone()).filter(|_| sandbox.uses > 1)?;
        let used = |(free, _): &mut (NetworkSandbox, Instant)| free.kind == kind && free.uses > 0;
        Some(state.free.extract_if(.., used).map(|(sandbox, _)| sandbox).collect())
    }

    /// Makes a sandbox free for the next launch, unless there is to be none.
    pub(super) fn give_back(&self, sandbox: NetworkSandbox) -> Result<(), NetworkSandbox> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(sandbox);
        }
        state.free.push((sandbox, Instant::now()));
        Ok(())
    }

    /// Takes out the free sandboxes that nobody has wanted for a while.
    pub(super) fn idle(&self) -> Vec<NetworkSandbox> {
        let free = |(_, since): &mut (NetworkSandbox, Instant)| since.elapsed() >= IDLE;
        self.state.lock().free.extract_if(.., free).map(|(sandbox, _)| sandbox).collect()
    }

    /// Takes out all sandboxes that are not being removed; there will be no more.
    pub(super) fn close(&self) -> Vec<NetworkSandbox> {
        let mut state = self.state.lock();
        state.closed = true;
        // From now on, nobody waits for a holder that cannot be removed.
        state.live.values_mut().for_each(|(_, failed)| *failed = None);
        self.closing.notify_waiters();
        let (free, taken) = (std::mem::take(&mut state.free), std::mem::take(&mut state.taken));
        free.into_iter().map(|(sandbox, _)| sandbox).chain(taken.into_values()).collect()
    }

    pub(super) fn forget(&self, number: u64) {
        self.state.lock().live.remove(&number);
        self.over.notify_waiters();
    }

    pub(super) fn fail(&self, number: u64, error: CallError) {
        if let Some((_, failed)) = self.state.lock().live.get_mut(&number) {
            *failed = Some(error);
        }
        self.over.notify_waiters();
    }

    /// Returns when no holder is left that is being made, used, looked at or removed, but for
    /// those whose failed removal `but` accepts.
    pub(super) async fn until_none(&self, but: impl Fn(&CallError) -> bool) {
        loop {
            let over = self.over.notified();
            let left =
                |(_, failed): &(Holds, Option<CallError>)| !failed.as_ref().is_some_and(&but);
            if !self.state.lock().live.values().any(left) {
                return;
            }
            over.await;
        }
    }

    /// A holder that is left, and why, if there is one.
    pub(super) fn left(&self) -> Option<String> {
        let state = self.state.lock();
        // Secrets before sandboxes, and a holder that tells why before one that does not.
        let rank = |(holds, failed): &&(Holds, Option<CallError>)| {
            (*holds == Holds::Network, failed.is_none())
        };
        let (holds, failed) = state.live.values().min_by_key(rank)?;
        let why = failed.as_ref().map_or("still being removed", |error| &error.message);
        Some(match holds {
            Holds::Network => format!("a sandbox: {why}"),
            Holds::Secrets => format!("secrets: {why}"),
            Holds::Carrier => format!("a carrier: {why}"),
        })
    }

    /// The numbers of the holders that are not strays.
    pub(super) fn live(&self) -> BTreeSet<u64> {
        self.state.lock().live.keys().copied().collect()
    }

    /// How many sandboxes are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.state.lock().free.len()
    }

    /// The launches that are in sandboxes, by the numbers of their sandboxes.
    pub(super) fn taken(&self) -> BTreeMap<u64, LaunchId> {
        let state = self.state.lock();
        state.taken.iter().map(|(launch, sandbox)| (sandbox.number, *launch)).collect()
    }
}

#[cfg(test)]
mod tests;
