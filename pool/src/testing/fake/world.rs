//! The containers on a fake engine, and the listeners to its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::super::Rng;
use super::{Gate, Op};
use crate::core::{ContainerKey, DaemonName, ServiceName};
use crate::probe::CHECK;
use crate::runtime::RuntimeEvent;

pub(super) struct FakeWorld {
    pub(super) rng: Rng,
    pub(super) gates: BTreeMap<(DaemonName, Op), Gate>,
    /// Instead of the daemon's, for one service.
    pub(super) prepare_gates: BTreeMap<(DaemonName, ServiceName), Gate>,
    /// Instead of the daemon's, for the readiness of containers with a spec.
    pub(super) spec_gates: BTreeMap<u32, Gate>,
    /// How long a check may take.
    pub(super) check_limit: Duration,
    /// How often each was asked for.
    pub(super) calls: BTreeMap<(DaemonName, Op), u64>,
    /// Preparations under way.
    pub(super) preparing: BTreeSet<Prepared>,
    /// Preparations that began while one of the same pair was under way.
    pub(super) overlaps: u64,
    /// Where each daemon was connected to last.
    pub(super) places: BTreeMap<DaemonName, u32>,
    pub(super) real: BTreeMap<(DaemonName, ContainerKey), bool>,
    /// Containers of others on each daemon.
    pub(super) others: BTreeMap<DaemonName, u32>,
    /// Launches whose call may still have an effect.
    pub(super) unsettled: Vec<ContainerKey>,
    pub(super) listeners: Vec<(DaemonName, mpsc::UnboundedSender<RuntimeEvent>)>,
    pub(super) launched: u64,
    /// The most containers that existed on each daemon at once.
    pub(super) peak: BTreeMap<DaemonName, usize>,
}

/// A daemon and the service and spec that it is prepared for.
type Prepared = ((DaemonName, ServiceName), u32);

/// A preparation under way.
pub(super) struct Preparation {
    world: Arc<Mutex<FakeWorld>>,
    pair: Prepared,
}

// === impl Preparation ===

impl Preparation {
    pub(super) fn begin(world: &Arc<Mutex<FakeWorld>>, pair: Prepared) -> Self {
        let mut known = world.lock();
        known.overlaps += u64::from(!known.preparing.insert(pair.clone()));
        drop(known);
        Self { world: world.clone(), pair }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.world.lock().preparing.remove(&self.pair);
    }
}

// === impl FakeWorld ===

impl FakeWorld {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            gates: BTreeMap::new(),
            prepare_gates: BTreeMap::new(),
            spec_gates: BTreeMap::new(),
            check_limit: CHECK,
            calls: BTreeMap::new(),
            preparing: BTreeSet::new(),
            overlaps: 0,
            places: BTreeMap::new(),
            real: BTreeMap::new(),
            others: BTreeMap::new(),
            unsettled: Vec::new(),
            listeners: Vec::new(),
            launched: 0,
            peak: BTreeMap::new(),
        }
    }

    pub(super) fn create(&mut self, daemon: &DaemonName, key: ContainerKey) {
        self.real.insert((daemon.clone(), key), true);
        let now = self.real.keys().filter(|(name, _)| name == daemon).count();
        let peak = self.peak.entry(daemon.clone()).or_default();
        *peak = now.max(*peak);
    }

    /// Containers on a daemon, with those of others.
    pub(super) fn on(&self, daemon: &DaemonName) -> u32 {
        let ours = self.real.keys().filter(|(name, _)| name == daemon).count();
        let others = self.others.get(daemon).copied().unwrap_or_default();
        u32::try_from(ours).unwrap_or(u32::MAX).saturating_add(others)
    }

    pub(super) fn say(&mut self, daemon: &DaemonName, event: RuntimeEvent) {
        let told = |(name, sink): &(DaemonName, mpsc::UnboundedSender<RuntimeEvent>)| {
            name != daemon || sink.send(event).is_ok()
        };
        self.listeners.retain(told);
    }
}
