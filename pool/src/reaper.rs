//! Carries out removals, each in a task of its own, until they are confirmed.
//!
//! A lane of its own, so that a storm of removals does not starve launches,
//! nor the other way round.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::caught::called;
use crate::core::{DaemonName, Event, RetireReason, ServiceName};
use crate::events::EventKind;
use crate::nudge::Nudges;
use crate::orders::Removal;
use crate::runtime::{Autopsy, ContainerRuntime, Removal as Attempt, Target};

/// Removals in flight on one daemon. Measured on a 2-core machine: 22 removals
/// per second at 12 in flight, with little gain beyond 8.
const IN_FLIGHT: usize = 8;
/// For ever, so that a container on a daemon that is away for a day still goes.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(60) };
/// A daemon that answers is asked again as after so many attempts: each 3 s.
const PENDING: u32 = 6;
/// How long a removal waits for what a container that ended in stock has left behind.
const POST_MORTEM: Duration = Duration::from_secs(8);
/// One such container is told in so long for each service.
const QUIET: Duration = Duration::from_secs(1);
/// A removal that needs so many attempts is worth a warning, once.
const ODD: u32 = 5;

pub(crate) struct Reaper<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) nudges: Arc<Nudges>,
    /// The daemons that something is being removed on.
    pub(crate) lanes: Mutex<BTreeMap<DaemonName, Arc<Semaphore>>>,
    /// By service, when a container that ended in its stock was told of last, and how many
    /// were not since then.
    pub(crate) deaths: Mutex<BTreeMap<ServiceName, (Instant, u32)>>,
}

// === impl Reaper ===

impl<R: ContainerRuntime> Reaper<R> {
    /// Runs for ever; dropping it drops the removals under way.
    pub(crate) async fn run(self, mut orders: mpsc::UnboundedReceiver<Removal>) {
        let this = Arc::new(self);
        let mut removals = JoinSet::new();
        loop {
            // Ended removals first, so that the set stays as small as what is under way.
            tokio::select! {
                biased;
                Some(_) = removals.join_next() => {}
                order = orders.recv() => match order {
                    Some(removal) => _ = removals.spawn(this.clone().remove(removal)),
                    None => return,
                },
            }
        }
    }

    async fn remove(self: Arc<Self>, removal: Removal) {
        let Removal { target, reason, ended_in_stock } = removal;
        let lane = self.lane(&target.daemon);
        if let Some(service) = ended_in_stock {
            // The semaphore is never closed.
            let _permit = lane.acquire().await;
            self.tell_of_death(&service, &target, reason).await;
        }
        let mut attempts = 0;
        loop {
            // From before the attempt: contact may be made again during it.
            let regained = self.nudges.regained(&target.daemon);
            let attempt = {
                // The semaphore is never closed.
                let _permit = lane.acquire().await;
                called("a removal", self.runtime.retire(&target)).await
            };
            attempts += 1;
            match attempt {
                Ok(Attempt::Gone) => break,
                Ok(Attempt::Pending) => {
                    // The daemon answers: what is awaited takes seconds.
                    attempts = attempts.min(PENDING);
                    let target = target.clone();
                    self.broker.events.tell(EventKind::RemovalPending { target });
                }
                Err(error) => {
                    if error.unreachable {
                        self.nudges.look(&target.daemon);
                    }
                    if attempts == ODD {
                        let (target, reason) = (target.clone(), error.to_string().into());
                        self.broker.events.tell(EventKind::RemovalFailing { target, reason });
                    }
                }
            }
            tokio::select! {
                // Contact first: what was tried in vain before says nothing any more.
                biased;
                () = regained => attempts = 0,
                () = tokio::time::sleep(AGAIN.after(attempts.max(1))) => {}
            }
        }
        drop(lane);
        self.tidy(&target.daemon);
        let Target { daemon, key } = target.clone();
        self.broker.tell(Event::Removed { daemon, key });
        self.broker.events.tell(EventKind::Removed { target, reason, attempts });
    }

    /// Tells people how a container ended in stock: nobody else does, and what it has said goes
    /// with it. One in a second of each service is told of, and how many were not.
    async fn tell_of_death(&self, service: &ServiceName, target: &Target, why: RetireReason) {
        let now = Instant::now();
        let untold = match self.deaths.lock().entry(service.clone()) {
            Entry::Occupied(mut told) if now - told.get().0 < QUIET => {
                told.get_mut().1 += 1;
                return;
            }
            Entry::Occupied(mut told) => told.insert((now, 0)).1,
            Entry::Vacant(never) => never.insert((now, 0)).1,
        };
        let autopsy = timeout(POST_MORTEM, self.runtime.autopsy(target)).await.ok().flatten();
        let (target, service) = (target.clone(), service.clone());
        let (reason, autopsy) = how_it_ended(why, autopsy);
        let (reason, autopsy) = (reason.into(), autopsy.map(Arc::new));
        let kind = EventKind::EndedInStock { target, service, reason, autopsy, untold };
        self.broker.events.tell(kind);
    }

    fn lane(&self, daemon: &DaemonName) -> Arc<Semaphore> {
        self.lanes
            .lock()
            .entry(daemon.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(IN_FLIGHT)))
            .clone()
    }

    /// Forgets a lane that nobody is in.
    fn tidy(&self, daemon: &DaemonName) {
        let mut lanes = self.lanes.lock();
        if lanes.get(daemon).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(daemon);
        }
    }
}

/// How a container that was retired in stock ended, for people, and what was left of it. It was
/// retired by an event: at that of memory its first process may still run, and the engine not
/// know of it yet.
fn how_it_ended(why: RetireReason, autopsy: Option<Autopsy>) -> (String, Option<Autopsy>) {
    let out_of_memory = why == RetireReason::OutOfMemory;
    let autopsy = autopsy.map(|autopsy| Autopsy {
        out_of_memory: autopsy.out_of_memory || out_of_memory,
        ..autopsy
    });
    let said = autopsy.as_ref().map(ToString::to_string);
    (said.unwrap_or_else(|| format!("{why}, and its daemon does not say more")), autopsy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_stock_is_told_as_the_event_and_the_engine_have_it() {
        use RetireReason::{Died, OutOfMemory};
        let ran = Autopsy { log: vec!["ate it all".into()], ..Autopsy::default() };
        let ended = Autopsy { exit_code: Some(137), ..Autopsy::default() };
        let rows = [
            // The event comes before the process has gone.
            (OutOfMemory, Some(ran), "still running, out of memory, last log line: ate it all"),
            (OutOfMemory, Some(ended.clone()), "exited with code 137, out of memory"),
            (OutOfMemory, None, "oom, and its daemon does not say more"),
            (Died, Some(ended), "exited with code 137"),
            (Died, Some(Autopsy { paused: true, ..Autopsy::default() }), "paused"),
            (Died, Some(Autopsy { removed: true, ..Autopsy::default() }), "somebody removed it"),
        ];
        for (why, autopsy, told) in rows {
            let (said, left) = how_it_ended(why, autopsy);
            assert_eq!(said, told);
            assert!(why != OutOfMemory || left.is_none_or(|left| left.out_of_memory), "{told}");
        }
    }
}
