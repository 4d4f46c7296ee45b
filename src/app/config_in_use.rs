//! The configuration that is used now, and how it was read last, for those who ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ganger_pool::core::ServiceName;
use parking_lot::RwLock;

use super::orders::StockScale;
use crate::admin::{Feed, Happening, ReloadResult};
use crate::config::Config;

/// The configuration as of now, and what the operator has ordered since it was read.
#[derive(Debug)]
pub(super) struct ConfigInUse {
    state: RwLock<(Arc<Config>, ReloadResult)>,
    scales: RwLock<BTreeMap<ServiceName, StockScale>>,
    feed: Arc<Feed>,
}

// === impl ConfigInUse ===

impl ConfigInUse {
    /// That of the start.
    pub(super) fn new(config: Arc<Config>, feed: Arc<Feed>) -> Self {
        let reload = ReloadResult { at: SystemTime::now(), taken: true };
        Self { state: RwLock::new((config, reload)), scales: RwLock::default(), feed }
    }

    /// This one is used from now on.
    pub(super) fn took(&self, config: Arc<Config>) {
        *self.state.write() = (config, ReloadResult { at: SystemTime::now(), taken: true });
        self.scales.write().clear();
        self.feed.tell(Happening::new("config-reloaded", false, None));
    }

    /// A service has so many containers until the next reload.
    pub(super) fn scaled(&self, service: ServiceName, scale: StockScale) {
        self.scales.write().insert(service, scale);
    }

    /// How many containers services have, whatever the configuration says.
    pub(super) fn scales(&self) -> BTreeMap<ServiceName, StockScale> {
        self.scales.read().clone()
    }

    /// One was read that cannot be used. The reason is in the log alone: it quotes the file, which may
    /// hold what not everybody may read who may read events.
    pub(super) fn refused(&self) {
        self.state.write().1 = ReloadResult { at: SystemTime::now(), taken: false };
        let detail = "the log says what is wrong with it".to_owned();
        self.feed.tell(Happening::new("config-refused", true, Some(detail)));
    }

    /// How it was read last.
    pub(super) fn last_reload(&self) -> ReloadResult {
        self.state.read().1
    }
}
