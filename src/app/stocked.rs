//! Tells when the stock of a service is full for the first time.

use std::collections::BTreeSet;
use std::convert::Infallible;

use ganger_pool::core::{ServiceName, ServiceView, Snapshot, State};
use ganger_pool::runtime::ContainerRuntime;
use ganger_pool::{Change, EventKind, Observer, Pool, PoolEvent};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Hears of all events that may fill a stock, or show that it is full.
#[derive(Debug, Default)]
pub(super) struct StockWatch {
    /// The services that are there and whose stock was not full yet.
    waiting: Mutex<BTreeSet<ServiceName>>,
    heard: Notify,
}

// === impl StockWatch ===

impl StockWatch {
    /// Calls `full` for each service once its stock is full, whatever the others do. A service
    /// that is added later is told of, too.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn tell_of_full<R: ContainerRuntime>(
        &self,
        pool: &Pool<R>,
        mut full: impl FnMut(&ServiceView),
    ) -> Infallible {
        loop {
            // Armed before the look: an event meanwhile leads to another look.
            let heard = self.heard.notified();
            // A stock that is not full costs a look at its service's counters.
            let waiting = self.waiting.lock().clone();
            let stocked = |name: &ServiceName| pool.service(name).is_some_and(|s| s.stocked());
            if waiting.iter().any(stocked) {
                let snapshot = pool.snapshot();
                for service in waiting.iter().filter_map(|name| is_full(&snapshot, name)) {
                    self.waiting.lock().remove(&service.name);
                    full(service);
                }
            }
            heard.await;
        }
    }
}

impl Observer for StockWatch {
    fn observe(&self, event: &PoolEvent) {
        match &event.kind {
            EventKind::ServiceChanged { service, change: Change::Added } => {
                self.waiting.lock().insert(service.clone());
            }
            EventKind::ServiceChanged { service, change: Change::Removed } => {
                self.waiting.lock().remove(service);
            }
            EventKind::StateChanged { to: State::Idle, .. }
            | EventKind::StockResized { .. }
            | EventKind::ServiceChanged { .. }
            | EventKind::Listed { .. }
            | EventKind::ServicePrepared { .. }
            | EventKind::ServiceUnfit { .. }
            | EventKind::ContactFailed { .. }
            | EventKind::ContactLost { .. }
            | EventKind::DaemonDrained { .. }
            | EventKind::Removed { .. } => {}
            _ => return,
        }
        self.heard.notify_one();
    }

    fn wants_leases(&self) -> bool {
        !self.waiting.lock().is_empty()
    }
}

/// A service whose stock is full, as far as can be known.
fn is_full<'s>(snapshot: &'s Snapshot, name: &ServiceName) -> Option<&'s ServiceView> {
    let service = snapshot.service(name.as_str())?;
    (service.stocked() && snapshot.settled_for(name)).then_some(service)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ganger_pool::core::{Outcome, Policy};
    use ganger_pool::discovery::{DaemonSpec, fixed};
    use ganger_pool::testing::{FakeEngine, Gate, Op};
    use ganger_pool::{Lease, ServiceOptions};
    use tokio::sync::mpsc;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn service(name: &str, policy: &Policy) -> ServiceOptions<u32> {
        let (policy, spec) = (policy.clone(), Arc::new(1));
        ServiceOptions { name: name.into(), policy, spec, start_timeout: Duration::from_secs(30) }
    }

    /// In paused time an hour is never.
    async fn next(told: &mut mpsc::UnboundedReceiver<ServiceName>) -> String {
        let next = timeout(Duration::from_secs(3600), told.recv()).await;
        next.expect("nobody is told of a full stock").unwrap().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stock_is_full_by_what_comes_back_too_and_one_that_is_added_is_told_of() {
        let engine = FakeEngine::new(1);
        let policy = Policy { warm: 2, max: 2, reuse: 5, ..Policy::default() };
        let d1 = DaemonSpec {
            name: "d1".into(),
            endpoint: 0,
            max_containers: 9,
            tier: 0,
            max_launches: Some(1),
        };
        let refills = Arc::new(StockWatch::default());
        let pool = Arc::new(Pool::start_observed(
            vec![service("a", &policy)],
            engine.clone(),
            engine.probe(),
            fixed(vec![d1]),
            vec![refills.clone()],
        ));
        let (tell, mut told) = mpsc::unbounded_channel();
        let full = pool.clone();
        tokio::spawn(async move {
            refills.tell_of_full(&*full, |service| _ = tell.send(service.name.clone())).await
        });
        // The first container has a client when the second gets ready.
        let deadline = Instant::now() + Duration::from_secs(30);
        let lease = pool.lease(&"a".into(), deadline).await.unwrap();
        pool.until(|s| s.services[0].counts[State::Idle] == 1).await;
        assert!(told.try_recv().is_err(), "one of two");
        engine.gate("d1", Op::Launch, Gate::Never);
        Lease::finish(lease, Outcome::Clean);
        assert_eq!(next(&mut told).await, "a");
        engine.gate("d1", Op::Launch, Gate::Ok);
        pool.reload(vec![service("a", &policy), service("b", &policy)]);
        assert_eq!(next(&mut told).await, "b");
        assert!(told.try_recv().is_err(), "each once");
    }
}
