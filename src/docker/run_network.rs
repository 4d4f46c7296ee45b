//! The state of this run's network on one engine.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use ganger_pool::core::DaemonName;
use ganger_pool::runtime::CallError;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::address::Address;

/// A container that does not answer within this is not reached: the next one is on the same machine.
const SILENCE: Duration = Duration::from_millis(250);
/// How many silences are proof: one may be that of a busy machine.
const SURE: u8 = 2;
/// A port without a listener: a container that is reached refuses. A service would take a
/// connection to its own port for a client.
const DISCARD: u16 = 9;

/// The network of this run on one engine.
#[derive(Debug, Default)]
pub(super) struct RunNetwork {
    /// The engine that has it, by its own id.
    pub(super) on: tokio::sync::Mutex<Option<String>>,
    /// An engine has been asked for the network, so that it may be there.
    asked: AtomicBool,
    /// An engine did not answer when it was asked.
    lost: AtomicBool,
    /// The network is not made any more.
    closed: AtomicBool,
    /// Why the last attempt to remove the network failed.
    kept: Mutex<Option<CallError>>,
    /// The container that was attached last, and its address there.
    last: Mutex<Option<(Arc<Address>, IpAddr)>>,
    /// How often one container was seen not to reach another; [`SURE`] is often enough.
    apart: AtomicU8,
}

// === impl RunNetwork ===

impl RunNetwork {
    /// An engine is about to be asked for it.
    pub(super) fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether an engine may have it.
    pub(super) fn may_be_there(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// An engine did not answer when it was asked for it.
    pub(super) fn lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Whether a lost call may still make the network.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Keeps the network from being made any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it is not made any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Notes that there is nothing left to remove.
    pub(super) fn gone(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Notes why the network could not be removed.
    pub(super) fn keep(&self, why: CallError) {
        *self.kept.lock() = Some(why);
    }

    /// Why it may be there still, if it may.
    pub(super) fn left(&self) -> Option<String> {
        let why =
            || self.kept.lock().as_ref().map_or("not removed yet".into(), |e| e.message.clone());
        self.may_be_there().then(why)
    }

    /// Notes that a container was attached, and tries to reach the one before from inside it. An
    /// engine keeps containers apart by its firewall, which it may have been told to leave alone
    /// without saying so. The attempt is possible only where containers are reached by namespace.
    pub(super) fn attached(
        self: &Arc<Self>,
        daemon: &DaemonName,
        container: &Arc<Address>,
        ip: IpAddr,
    ) {
        if self.apart.load(Ordering::Relaxed) >= SURE {
            return;
        }
        let before = self.last.lock().replace((Arc::clone(container), ip));
        // This container may have the address of one that is gone.
        let Some((other, its)) = before.filter(|(_, its)| *its != ip) else { return };
        let (network, daemon, container) =
            (Arc::clone(self), daemon.clone(), Arc::clone(container));
        tokio::spawn(async move {
            let Address::Namespace { namespace, .. } = &*container else { return };
            let met = timeout(SILENCE, namespace.reaches((its, DISCARD).into())).await;
            let Address::Namespace { process, .. } = &*other else { return };
            let met = match met {
                Ok(Ok(met)) => met,
                Ok(Err(_)) => return,
                Err(_) => false,
            };
            // A container that has ended cannot be reached by anybody.
            if !met && process.is_ending() {
                return;
            }
            let more = if met { SURE } else { 1 };
            let before = network.apart.fetch_add(more, Ordering::Relaxed);
            if before + more >= SURE {
                *network.last.lock() = None;
            }
            if met && before < SURE {
                warn_of_neighbours(&daemon);
            }
        });
    }
}

fn warn_of_neighbours(daemon: &DaemonName) {
    tracing::warn!(
        %daemon,
        "containers with `network: Isolated` reach each other there: the engine, or its kernel, sets \
         no firewall rules for them; look for `iptables: false` in Docker's daemon.json, for 0 in \
         /proc/sys/net/bridge/bridge-nf-call-iptables, or use `network: Sealed`"
    );
}
