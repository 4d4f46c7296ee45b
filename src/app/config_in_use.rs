//! The configuration that is used now, and how it was read last, for those who ask.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;

use crate::admin::{Feed, Happening, ReloadResult};
use crate::config::Config;

/// The configuration as of now.
#[derive(Debug)]
pub(super) struct ConfigInUse {
    state: RwLock<(Arc<Config>, ReloadResult)>,
    feed: Arc<Feed>,
}

// === impl ConfigInUse ===

impl ConfigInUse {
    /// That of the start.
    pub(super) fn new(config: Arc<Config>, feed: Arc<Feed>) -> Self {
        let reload = ReloadResult { at: SystemTime::now(), taken: true };
        Self { state: RwLock::new((config, reload)), feed }
    }

    /// This one is used from now on.
    pub(super) fn took(&self, config: Arc<Config>) {
        *self.state.write() = (config, ReloadResult { at: SystemTime::now(), taken: true });
        self.feed.tell(Happening::new("config-reloaded", false, None));
    }

    /// One was read that cannot be used, for this reason.
    pub(super) fn refused(&self, why: &str) {
        self.state.write().1 = ReloadResult { at: SystemTime::now(), taken: false };
        self.feed.tell(Happening::new("config-refused", true, Some(why.to_owned())));
    }

    /// How it was read last.
    pub(super) fn last_reload(&self) -> ReloadResult {
        self.state.read().1
    }
}
