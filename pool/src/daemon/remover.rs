//! Removals on one daemon, each in a task of its own, until they are confirmed.
//!
//! Removals have a limit of their own for each daemon, so that many of them do not starve
//! launches, nor the other way round, nor the removals of another daemon.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::deaths::Deaths;
use super::handle::DaemonSignals;
use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::core::Event;
use crate::events::EventKind;
use crate::orders::RemovalOrder;
use crate::panics::catch_panic_as_refusal;
use crate::runtime::{ContainerRuntime, Removal, Target};

/// Removals in flight on one daemon. Measured on a 2-core machine: 22 removals
/// per second at 12 in flight, with little gain beyond 8.
const IN_FLIGHT: usize = 8;
/// Attempts never end, so that a container on a daemon that is away for a day still goes.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(60) };
/// The most attempts that lengthen the pause while the daemon answers: to 3 s.
const PENDING: u32 = 6;
/// The attempts after which a failed removal is worth a warning, once.
const ODD: u32 = 5;

/// Carries out the removals on one daemon.
pub(crate) struct Remover<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) signals: Arc<DaemonSignals>,
    pub(crate) deaths: Arc<Deaths>,
}

// === impl Remover ===

impl<R: ContainerRuntime> Remover<R> {
    /// Runs until nobody orders removals any more; dropping it drops those under way.
    pub(crate) async fn run(self, mut orders: mpsc::UnboundedReceiver<RemovalOrder>) {
        let (this, places) = (Arc::new(self), Arc::new(Semaphore::new(IN_FLIGHT)));
        let mut removals = JoinSet::new();
        loop {
            // Ended removals first, so that the set holds no more than those under way.
            tokio::select! {
                biased;
                Some(_) = removals.join_next() => {}
                order = orders.recv() => match order {
                    Some(order) => _ = removals.spawn(this.clone().remove(places.clone(), order)),
                    None => return,
                },
            }
        }
    }

    async fn remove(self: Arc<Self>, places: Arc<Semaphore>, order: RemovalOrder) {
        let RemovalOrder { target, reason, ended_in_stock } = order;
        if let Some(service) = ended_in_stock {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            let events = &self.broker.events;
            self.deaths.tell(events, &*self.runtime, &service, &target, reason).await;
        }
        let mut attempts = 0;
        loop {
            // From before the attempt: contact may be made again during it.
            let regained = self.signals.regained.notified();
            tokio::pin!(regained);
            regained.as_mut().enable();
            let attempt = {
                let _place = places.acquire().await;
                catch_panic_as_refusal("a removal", self.runtime.retire(&target)).await
            };
            attempts += 1;
            match attempt {
                Ok(Removal::Gone) => break,
                Ok(Removal::Pending) => {
                    // The daemon answers: the removal takes seconds.
                    attempts = attempts.min(PENDING);
                    let target = target.clone();
                    self.broker.events.tell(EventKind::RemovalPending { target });
                }
                Err(error) => {
                    if error.unreachable {
                        self.signals.relist.notify_one();
                    }
                    if attempts == ODD {
                        let (target, reason) = (target.clone(), error.to_string().into());
                        self.broker.events.tell(EventKind::RemovalFailing { target, reason });
                    }
                }
            }
            tokio::select! {
                // Contact first: earlier failures do not count any more.
                biased;
                () = regained => attempts = 0,
                () = tokio::time::sleep(AGAIN.after(attempts.max(1))) => {}
            }
        }
        let Target { daemon, key } = target.clone();
        self.broker.tell(Event::Removed { daemon, key });
        self.broker.events.tell(EventKind::Removed { target, reason, attempts });
    }
}
