//! The lock around the ledger.
//!
//! An event is handled in the caller's own thread: a lease from stock must not
//! pay for waking another one. Under the lock there is only the ledger and the
//! look-up of receivers; messages are sent after it is released.

mod dispatch;
mod operator;
mod outbox;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::core::{
    DaemonName, Event, LaunchId, Ledger, Outcome, Proof, Refusal, ServiceName, ServiceView,
    Snapshot, StartKind, WaiterId,
};
use crate::daemon::handle::Daemons;
use crate::events::{EventKind, Events};
use crate::options::ServiceOptions;
use crate::orders::Order;
use crate::panics::catch_panic_at_once;
use crate::probe::ProbeError;
use crate::runtime::ContainerRuntime;
use crate::services::{Reload, Services};
use outbox::Outbox;

/// The ledger, shared by all who have something to tell it.
pub(crate) struct Broker<R: ContainerRuntime> {
    inner: Mutex<Inner<R>>,
    launcher: mpsc::UnboundedSender<Order>,
    daemons: Arc<Daemons>,
    /// Daemons that left and hold nothing any more.
    emptied: mpsc::UnboundedSender<DaemonName>,
    services: Arc<Services<R::Spec>>,
    pub(crate) events: Arc<Events>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
    /// The next deadline moved ahead of the one the timer sleeps to.
    alarm: Notify,
    check_at_once: CheckAtOnce<R>,
}

/// As [`Probe::check_at_once`](crate::probe::Probe::check_at_once).
pub(crate) type CheckAtOnce<R> = Box<
    dyn Fn(&<R as ContainerRuntime>::Handle) -> Option<Result<Proof, ProbeError>> + Send + Sync,
>;

struct Inner<R: ContainerRuntime> {
    ledger: Ledger,
    handles: BTreeMap<LaunchId, Arc<R::Handle>>,
    waiters: BTreeMap<WaiterId, oneshot::Sender<Answer<R>>>,
    last_waiter: u64,
    /// The time to which the timer sleeps.
    armed: Option<Instant>,
    services: Arc<Services<R::Spec>>,
    events: Arc<Events>,
}

/// A container for a waiter.
pub(crate) struct Grant<R: ContainerRuntime> {
    pub(crate) launch: LaunchId,
    pub(crate) daemon: DaemonName,
    pub(crate) handle: Arc<R::Handle>,
    pub(crate) start: StartKind,
    pub(crate) uses: u32,
    pub(crate) ready: u32,
}

pub(crate) type Answer<R> = Result<Grant<R>, Refusal>;

/// The result of a request for a container.
enum Asking<'a, R: ContainerRuntime> {
    /// A container from stock, or a refusal.
    Answered(Answer<R>),
    /// A place in the queue, and its number.
    Queued(Waiting<'a, R>, u32),
}

/// A place in the queue. Dropping it leaves the queue at once; a container
/// that was granted in the same moment goes back unused.
struct Waiting<'a, R: ContainerRuntime> {
    broker: &'a Broker<R>,
    waiter: WaiterId,
    answer: oneshot::Receiver<Answer<R>>,
    answered: bool,
}

// === impl Grant ===

impl<R: ContainerRuntime> Clone for Grant<R> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), daemon: self.daemon.clone(), ..*self }
    }
}

// === impl Broker ===

impl<R: ContainerRuntime> Broker<R> {
    pub(crate) fn new(
        ledger: Ledger,
        launcher: mpsc::UnboundedSender<Order>,
        daemons: Arc<Daemons>,
        emptied: mpsc::UnboundedSender<DaemonName>,
        services: Arc<Services<R::Spec>>,
        events: Arc<Events>,
        check_at_once: CheckAtOnce<R>,
    ) -> Self {
        let inner = Inner {
            ledger,
            handles: BTreeMap::new(),
            waiters: BTreeMap::new(),
            last_waiter: 0,
            armed: None,
            services: services.clone(),
            events: events.clone(),
        };
        Self {
            inner: Mutex::new(inner),
            launcher,
            daemons,
            emptied,
            services,
            events,
            changes: watch::Sender::new(0),
            alarm: Notify::new(),
            check_at_once,
        }
    }

    /// Tells the ledger of an event.
    pub(crate) fn tell(&self, event: Event) {
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        let rearm = inner.handle(event, &mut outbox);
        drop(inner);
        self.send(outbox, rearm);
    }

    /// Replaces the set of services, under the same lock as the ledger's actions on
    /// rollouts.
    pub(crate) fn reload(&self, services: Vec<ServiceOptions<R::Spec>>) -> Reload<R::Spec> {
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        let mut reload = self.services.reload(services);
        let mut rearm = false;
        for event in std::mem::take(&mut reload.events) {
            rearm |= inner.handle(event, &mut outbox);
        }
        drop(inner);
        self.services.announce();
        self.send(outbox, rearm);
        reload
    }

    /// A container was started: keeps its handle and tells the ledger.
    pub(crate) fn started(&self, launch: LaunchId, handle: Arc<R::Handle>) {
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        inner.handles.insert(launch, handle);
        let rearm = inner.handle(Event::Started { launch }, &mut outbox);
        drop(inner);
        self.send(outbox, rearm);
    }

    pub(crate) fn handle_of(&self, launch: LaunchId) -> Option<Arc<R::Handle>> {
        self.inner.lock().handles.get(&launch).cloned()
    }

    /// Gets a container for a connection, at once or when its turn comes. A connection that has
    /// to wait is told its place in the queue.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue at once.
    pub(crate) async fn lease(
        &self,
        service: &ServiceName,
        deadline: Instant,
        queued: impl Fn(u32),
    ) -> Answer<R> {
        let mut waiting = match self.ask(service, deadline) {
            Asking::Answered(answer) => return answer,
            Asking::Queued(waiting, place) => {
                queued(place);
                waiting
            }
        };
        let answer = (&mut waiting.answer).await;
        waiting.answered = true;
        // The sender lives in `inner`, which `self` holds, unless the ledger had a mistake.
        answer.unwrap_or(Err(Refusal::Draining))
    }

    fn ask(&self, service: &ServiceName, deadline: Instant) -> Asking<'_, R> {
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        inner.last_waiter += 1;
        let waiter = WaiterId(inner.last_waiter);
        outbox.asker = Some(waiter);
        let event = Event::Lease { waiter, service: service.clone(), deadline };
        let rearm = inner.handle(event, &mut outbox);
        let asking = match outbox.answer.take() {
            Some(answer) => Asking::Answered(answer),
            None => {
                let (sender, answer) = oneshot::channel();
                inner.waiters.insert(waiter, sender);
                let place = outbox.place.unwrap_or_default();
                Asking::Queued(Waiting { broker: self, waiter, answer, answered: false }, place)
            }
        };
        drop(inner);
        self.send(outbox, rearm);
        asking
    }

    /// A waiter gave up. A waiter that was answered meanwhile is not known any more;
    /// its container comes back when the answer cannot be delivered.
    fn abandon(&self, waiter: WaiterId) {
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        let waits = inner.waiters.remove(&waiter).is_some();
        let rearm = waits && inner.handle(Event::Abandoned { waiter }, &mut outbox);
        drop(inner);
        self.send(outbox, rearm);
    }

    /// A container comes back. It is checked in this thread where that need not wait: checks of
    /// others, which the same event may order, are the launcher's.
    pub(crate) fn returned(&self, launch: LaunchId, outcome: Outcome) {
        if self.events.wants_leases() {
            self.events.tell(EventKind::Returned { launch, outcome });
        }
        let mut outbox = self.outbox();
        let mut inner = self.inner.lock();
        let rearm = inner.handle(Event::Returned { launch, outcome }, &mut outbox);
        let handle = inner.handles.get(&launch).filter(|_| outbox.takes_check(launch)).cloned();
        drop(inner);
        self.send(outbox, rearm);
        let Some(handle) = handle else { return };
        match catch_panic_at_once("a check", || (self.check_at_once)(&handle)) {
            // The launcher ends only with the pool, when nobody is left to be told.
            Ok(None) => _ = self.launcher.send(Order::Check(launch)),
            Ok(Some(checked)) => self.checked(launch, checked.map_err(|error| error.to_string())),
            Err(panic) => self.checked(launch, Err(panic)),
        }
    }

    /// A connection gets no container, and the ledger was not asked.
    pub(crate) fn refused(&self, service: &ServiceName, refusal: Refusal) -> Refusal {
        if self.events.wants_leases() {
            let (service, refusal) = (service.clone(), refusal.clone());
            self.events.tell(EventKind::Refused { service, refusal });
        }
        refusal
    }

    /// Tells of the check of a container that came back.
    pub(crate) fn checked(&self, launch: LaunchId, checked: Result<Proof, String>) {
        if let Err(error) = &checked {
            let reason = error.as_str().into();
            self.events.tell(EventKind::CheckFailed { launch, reason });
        }
        self.tell(Event::Checked { launch, proof: checked.ok() });
    }

    /// Whether the ledger knows a daemon: it does until that has left and is empty.
    pub(crate) fn knows(&self, daemon: &DaemonName) -> bool {
        self.inner.lock().ledger.daemon_state(daemon).is_some()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.inner.lock().ledger.snapshot()
    }

    pub(crate) fn service(&self, name: &ServiceName) -> Option<ServiceView> {
        self.inner.lock().ledger.service(name)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Ticks the ledger whenever it is due. Runs for ever.
    pub(crate) async fn keep_time(&self) {
        loop {
            let due = {
                let mut inner = self.inner.lock();
                inner.armed = inner.ledger.next_deadline();
                inner.armed
            };
            let alarm = self.alarm.notified();
            match due {
                None => alarm.await,
                Some(due) => tokio::select! {
                    // After an alarm `due` is not the next deadline any more.
                    biased;
                    () = alarm => {}
                    () = tokio::time::sleep_until(due.into()) => self.tell(Event::Tick),
                },
            }
        }
    }

    fn outbox(&self) -> Outbox<R> {
        Outbox::new(self.events.wants_leases())
    }

    fn send(&self, outbox: Outbox<R>, rearm: bool) {
        // Before the answers: their receivers act after these events.
        for (number, kind) in outbox.events {
            self.events.tell_numbered(number, kind);
        }
        for (sender, answer) in outbox.answers {
            if let Err(Ok(grant)) = sender.send(answer) {
                self.returned(grant.launch, Outcome::Unused);
            }
        }
        // The launcher ends only with the pool, when nobody is left to be told.
        for order in outbox.orders {
            _ = self.launcher.send(order);
        }
        for order in outbox.removals {
            match self.daemons.of(&order.target.daemon) {
                Some(daemon) => daemon.remove(order),
                // The ledger orders removals on daemons that it knows: each has a handle.
                None => tracing::error!(
                    ?order,
                    "a mistake in the program: no task removes this container"
                ),
            }
        }
        for daemon in outbox.emptied {
            _ = self.emptied.send(daemon);
        }
        if outbox.services_changed {
            self.services.announce();
        }
        for launch in outbox.undeliverable {
            self.returned(launch, Outcome::Failed);
        }
        if rearm {
            self.alarm.notify_one();
        }
        self.changes.send_modify(|n| *n += 1);
    }
}

// === impl Waiting ===

impl<R: ContainerRuntime> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.answer.close();
        match self.answer.try_recv() {
            Ok(Ok(grant)) => self.broker.returned(grant.launch, Outcome::Unused),
            Ok(Err(_)) => {}
            Err(_) => self.broker.abandon(self.waiter),
        }
    }
}
