//! The configuration in use, and the result of its last reload, for the admin server.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use ganger_pool::core::ServiceName;
use parking_lot::RwLock;

use super::orders::StockScale;
use crate::admin::{
    ConfigStatus, FailureLimits, FailureMemory, Feed, Happening, ReloadResult, Told,
};
use crate::config::Config;

/// The configuration as of now, and what the operator has ordered since it was read.
#[derive(Debug)]
pub(super) struct ConfigInUse {
    state: RwLock<InUse>,
    feed: Arc<Feed>,
    failures: Arc<FailureMemory>,
}

/// The fields that change together.
#[derive(Debug)]
struct InUse {
    config: Arc<Config>,
    since: SystemTime,
    last: ReloadResult,
    scales: BTreeMap<ServiceName, StockScale>,
}

/// The resource limits of each service's containers.
pub(super) fn limits(config: &Config) -> BTreeMap<String, FailureLimits> {
    let services = config.services.iter();
    services.map(|service| (service.name.to_string(), (&service.spec.limits).into())).collect()
}

// === impl ConfigInUse ===

impl ConfigInUse {
    /// Begins with the configuration of the start. Later changes are told.
    pub(super) fn new(config: Arc<Config>, told: &Told) -> Self {
        let (feed, failures) = (Arc::clone(&told.feed), Arc::clone(&told.failures));
        Self { state: RwLock::new(InUse::from_now_on(config)), feed, failures }
    }

    /// Uses this configuration from now on.
    pub(super) fn took(&self, config: Arc<Config>) {
        self.failures.set_limits(limits(&config));
        let before = std::mem::replace(&mut *self.state.write(), InUse::from_now_on(config));
        drop(before);
        self.feed.tell(Happening::new("config-reloaded", false, None));
    }

    /// Notes how many containers a service has until the next reload.
    pub(super) fn scaled(&self, service: ServiceName, scale: StockScale) {
        self.state.write().scales.insert(service, scale);
    }

    /// The container numbers that were ordered, whatever the configuration says.
    pub(super) fn scales(&self) -> BTreeMap<ServiceName, StockScale> {
        self.state.read().scales.clone()
    }

    /// Notes that a configuration cannot be used. The reason is in the log alone: it quotes the
    /// file, which may hold text that not every reader of events may read.
    pub(super) fn refused(&self) {
        self.state.write().last = ReloadResult { at: SystemTime::now(), taken: false };
        let detail = "the log says what is wrong with it".to_owned();
        self.feed.tell(Happening::new("config-refused", true, Some(detail)));
    }

    /// The result of the last reload.
    pub(super) fn last_reload(&self) -> ReloadResult {
        self.state.read().last
    }

    /// The configuration in use, as it may be shown, with the orders since.
    pub(super) fn status(&self) -> ConfigStatus {
        let (config, since, last, scales) = {
            let state = self.state.read();
            (Arc::clone(&state.config), state.since, state.last, state.scales.clone())
        };
        let mut status = ConfigStatus::new(&config.effective, since, last);
        for (service, StockScale { warm, max }) in scales {
            for (key, count) in [("warm", warm), ("max", max.map(NonZeroU32::get))] {
                if let Some(count) = count {
                    status.order(service.as_str(), key, count);
                }
            }
        }
        status
    }
}

// === impl InUse ===

impl InUse {
    /// A configuration from now on, with no orders yet.
    fn from_now_on(config: Arc<Config>) -> Self {
        let (since, scales) = (SystemTime::now(), BTreeMap::new());
        Self { config, since, last: ReloadResult { at: since, taken: true }, scales }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{ConfigKey, ConfigOrigin};

    fn config(stock: &str) -> Arc<Config> {
        let text = format!(
            "(daemons: Static([(name: \"d\", url: \"unix:///d.sock\", max_containers: 99)]),
services: {{\"s\": (listen: \"127.0.0.1:1\", image: \"i:1\", port: 1, {stock})}})"
        );
        Arc::new(Config::parse(&text, "t.ron").unwrap())
    }

    fn keys(in_use: &ConfigInUse, name: &str) -> Vec<ConfigKey> {
        let mut keys = in_use.status().services.remove(0).keys;
        keys.retain(|key| key.key.split('.').next() == Some(name));
        keys
    }

    #[test]
    fn what_was_ordered_holds_until_the_next_reload_and_a_refused_one_changes_nothing() {
        let in_use = ConfigInUse::new(config("warm: Auto(min: 2), max: 8"), &Told::default());
        let told = |name| {
            let told = |key: ConfigKey| (key.key, key.value.unwrap_or_default(), key.origin);
            keys(&in_use, name).into_iter().map(told).collect::<Vec<_>>()
        };
        let one = |key: &str, value: &str, origin| (key.to_owned(), value.to_owned(), origin);
        let auto = [
            one("warm", "Auto", ConfigOrigin::File),
            one("warm.hit_rate", "0.999", ConfigOrigin::Default),
            one("warm.min", "2", ConfigOrigin::File),
            one("warm.max", "", ConfigOrigin::Default),
        ];
        assert_eq!(told("warm"), auto);
        assert_eq!(told("max"), [one("max", "8", ConfigOrigin::File)]);
        in_use.scaled("s".into(), StockScale { warm: Some(5), max: None });
        assert_eq!(told("warm"), [one("warm", "5", ConfigOrigin::Operator)]);
        assert_eq!(told("max"), [one("max", "8", ConfigOrigin::File)]);
        in_use.scaled("s".into(), StockScale { warm: Some(5), max: NonZeroU32::new(9) });
        assert_eq!(told("max"), [one("max", "9", ConfigOrigin::Operator)]);
        let before = in_use.status();
        assert!(before.last_read.taken && before.last_read.at == before.since);

        in_use.refused();
        let after = in_use.status();
        assert!(!after.last_read.taken);
        assert_eq!((after.services, after.since), (before.services, before.since));

        in_use.took(config("warm: 3"));
        assert_eq!(told("warm"), [one("warm", "3", ConfigOrigin::File)]);
        assert_eq!(told("max"), [one("max", "16", ConfigOrigin::Default)]);
        assert!(in_use.status().last_read.taken);
    }
}
