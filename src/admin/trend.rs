//! How services went in the last ten minutes: a sample every five seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ganger_pool::core::{ServiceName, Snapshot};
use parking_lot::Mutex;

/// How often a sample is taken.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How many samples are kept.
pub(super) const SAMPLES: usize = 120;

/// The samples of all services.
#[derive(Debug, Default)]
pub(super) struct TrendMemory {
    services: Mutex<BTreeMap<ServiceName, ServiceTrend>>,
}

#[derive(Debug, Default)]
struct ServiceTrend {
    /// Leases until the last sample.
    leases: Option<u64>,
    /// Leases in each of the last periods; the latest is at the end.
    rates: VecDeque<u64>,
}

// === impl TrendMemory ===

impl TrendMemory {
    /// Takes a sample.
    pub(super) fn sample(&self, snapshot: &Snapshot) {
        let mut services = self.services.lock();
        services.retain(|name, _| snapshot.services.iter().any(|view| view.name == *name));
        for view in &snapshot.services {
            let leases = view.totals.leases.values().sum();
            let trend = services.entry(view.name.clone()).or_default();
            if let Some(before) = trend.leases.replace(leases) {
                if trend.rates.len() == SAMPLES {
                    trend.rates.pop_front();
                }
                // A service that was taken out and added again counts anew.
                trend.rates.push_back(leases.saturating_sub(before));
            }
        }
    }

    /// Leases a second of a service, from ten minutes ago until now; `None` before it was there.
    #[expect(clippy::cast_precision_loss, reason = "leases of five seconds")]
    pub(super) fn rates(&self, service: &str) -> Vec<Option<f64>> {
        let services = self.services.lock();
        let found = services.iter().find(|(name, _)| name.as_str() == service);
        let rates = found.map(|(_, trend)| &trend.rates);
        let known = rates.into_iter().flatten();
        let known = known.map(|leases| Some(*leases as f64 / EVERY.as_secs_f64()));
        let missing = SAMPLES - rates.map_or(0, VecDeque::len);
        std::iter::repeat_n(None, missing).chain(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::sample_service;
    use crate::proxy::StartKind;

    #[test]
    fn rates_are_of_the_time_between_samples() {
        let trend = TrendMemory::default();
        let mut view = sample_service();
        let mut sample = |leases| {
            view.totals.leases.insert(StartKind::Warm, leases);
            trend.sample(&Snapshot { services: vec![view.clone()], ..Snapshot::default() });
        };
        (0..SAMPLES as u64 + 7).for_each(|at| sample(at * 10));
        sample(0);
        let rates = trend.rates("echo");
        assert_eq!(rates.len(), SAMPLES);
        assert_eq!(rates[..SAMPLES - 1], [Some(2.0); SAMPLES - 1]);
        assert_eq!(rates[SAMPLES - 1], Some(0.0), "it was added again");
        assert_eq!(trend.rates("absent"), [None; SAMPLES]);
        trend.sample(&Snapshot::default());
        assert_eq!(trend.rates("echo"), [None; SAMPLES]);
    }
}
