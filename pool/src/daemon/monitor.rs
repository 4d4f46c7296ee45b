//! Contact with one daemon: connect, prepare, list, follow its events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::DaemonSignals;
use super::preparer::Preparers;
use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::core::{Event, Launches};
use crate::discovery::DaemonSpec;
use crate::events::EventKind;
use crate::panics::{catch_panic, catch_panic_as_refusal};
use crate::runtime::{CallError, ContainerRuntime, DaemonFacts, Listing, RuntimeEvent};
use crate::services::Services;

/// How often a daemon is asked for its list: the liveness of its event stream.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// The failed lists in a row after which contact is lost.
const MISSES: u32 = 3;
/// The most launches in flight where the limit is learnt. Engines with as many in flight
/// made each take twelve times as long (moby#42096).
const MOST: u32 = 32;

pub(crate) struct Monitor<R: ContainerRuntime> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) services: Arc<Services<R::Spec>>,
    pub(crate) daemon: DaemonSpec<R::Endpoint>,
    pub(crate) signals: Arc<DaemonSignals>,
}

// === impl Monitor ===

impl<R: ContainerRuntime> Monitor<R> {
    /// Keeps contact, or seeks it, until `over`. When this returns, its tasks have
    /// ended, and it tells nothing more.
    pub(crate) async fn run(self, over: CancellationToken) {
        let mut preparers = Preparers::new(
            self.broker.clone(),
            self.runtime.clone(),
            self.services.clone(),
            self.daemon.name.clone(),
            self.signals.clone(),
        );
        tokio::select! {
            // Its end first: a later event would be about another daemon.
            biased;
            () = over.cancelled() => {}
            never = self.seek(&mut preparers) => match never {},
        }
        preparers.shutdown().await;
    }

    async fn seek(&self, preparers: &mut Preparers<R>) -> Infallible {
        let daemon = &self.daemon.name;
        let mut misses = 0;
        // The last reason for no contact that the ledger was told.
        let mut told: Option<String> = None;
        loop {
            let connect = self.runtime.connect(daemon, &self.daemon.endpoint);
            let (error, kind) = match catch_panic_as_refusal("the first call", connect).await {
                Ok(facts) => {
                    let error = self.stay(&facts, preparers).await;
                    misses = 1;
                    // The ledger has been told since that it is up.
                    told = None;
                    let (daemon, reason) = (daemon.clone(), error.to_string().into());
                    (error, EventKind::ContactLost { daemon, reason, expected: self.is_expected() })
                }
                Err(error) => {
                    misses += 1;
                    let (daemon, reason) = (daemon.clone(), error.to_string().into());
                    let (attempts, again) = (misses, told.is_some());
                    let expected = self.is_expected();
                    let kind =
                        EventKind::ContactFailed { daemon, reason, attempts, again, expected };
                    (error, kind)
                }
            };
            if told.as_ref() != Some(&error.message) {
                let reason = error.message.as_str().into();
                self.tell(Event::DaemonDown { daemon: daemon.clone(), reason });
                told = Some(error.message);
            }
            self.note(kind);
            // Signals do not end this pause: removals that cannot reach the daemon
            // would cut every pause short.
            tokio::time::sleep(Backoff::CONTACT.after(misses)).await;
        }
    }

    /// Keeps contact until it is lost.
    async fn stay(&self, facts: &DaemonFacts, preparers: &mut Preparers<R>) -> CallError {
        let daemon = self.daemon.name.clone();
        let launches = self.daemon.max_launches.map_or_else(
            || Launches::Learnt { first: facts.cpus.saturating_mul(2).clamp(1, 8), most: MOST },
            Launches::Fixed,
        );
        self.tell(Event::DaemonUp { daemon: daemon.clone(), launches });
        let (version, cpus) = (facts.version.as_str().into(), facts.cpus);
        self.note(EventKind::ContactMade { daemon, version, cpus });
        self.signals.regained.notify_waiters();
        let error = tokio::select! {
            // Events first: a list that is older than one must not hide it.
            biased;
            never = self.hear() => match never {},
            never = preparers.keep() => match never {},
            error = self.list() => error,
        };
        // The preparers of the next contact must not work beside these.
        preparers.shutdown().await;
        error
    }

    /// Passes on the daemon's events. A list closes each gap: it is asked for
    /// once the stream is open, so that a death falls into the one or the other.
    async fn hear(&self) -> Infallible {
        let (sink, mut events) = mpsc::unbounded_channel();
        let daemon = &self.daemon.name;
        let stream = async {
            let mut misses = 0;
            loop {
                let opened = AtomicBool::new(false);
                let open = || {
                    opened.store(true, Relaxed);
                    self.signals.relist.notify_one();
                };
                let stream = self.runtime.events(daemon, sink.clone(), open);
                let ended = catch_panic("a stream of events", stream).await;
                let error = ended.unwrap_or_else(CallError::refused);
                let (daemon, reason) = (daemon.clone(), error.to_string().into());
                if opened.load(Relaxed) {
                    self.note(EventKind::StreamBroke { daemon, reason });
                    misses = 0;
                    self.signals.relist.notify_one();
                } else {
                    misses += 1;
                    let (attempts, expected) = (misses, self.is_expected());
                    self.note(EventKind::StreamFailed { daemon, reason, attempts, expected });
                }
                tokio::time::sleep(Backoff::CONTACT.after(misses.max(1))).await;
            }
        };
        let pass_on = async {
            loop {
                let Some(event) = events.recv().await else { std::future::pending().await };
                match event {
                    RuntimeEvent::Died(launch) => self.tell(Event::Died { launch }),
                    RuntimeEvent::Signalled(launch) => self.tell(Event::Signalled { launch }),
                    RuntimeEvent::Taken(launch) => self.tell(Event::Taken { launch }),
                    RuntimeEvent::OutOfMemory(launch) => self.tell(Event::OutOfMemory { launch }),
                    // A list shows how much room is left.
                    RuntimeEvent::Others => self.signals.relist.notify_one(),
                }
            }
        };
        tokio::select! {
            // Events that were read are passed on before more are read.
            biased;
            never = pass_on => never,
            never = stream => never,
        }
    }

    /// Lists every few seconds, and soon after somebody asks for it.
    async fn list(&self) -> CallError {
        let (mut misses, mut listed) = (0, false);
        loop {
            let began = Instant::now().into_std();
            let daemon = self.daemon.name.clone();
            match catch_panic_as_refusal("a list", self.runtime.list(&daemon)).await {
                Ok(Listing { owned, others }) => {
                    misses = 0;
                    let first =
                        EventKind::Listed { daemon: daemon.clone(), owned: owned.len(), others };
                    self.tell(Event::Listed { daemon, began, owned, others });
                    if !std::mem::replace(&mut listed, true) {
                        self.note(first);
                    }
                }
                Err(error) => {
                    misses += 1;
                    let (daemon, reason) = (daemon.clone(), error.to_string().into());
                    self.note(EventKind::ListFailed { daemon, reason, attempts: misses });
                    if misses >= MISSES {
                        return error;
                    }
                }
            }
            let pause = if misses == 0 { LIST_EVERY } else { Backoff::CONTACT.after(misses) };
            tokio::select! {
                // Both lead to a list, which uses up a signal.
                biased;
                () = self.signals.relist.notified() => tokio::time::sleep(Backoff::CONTACT.first).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn tell(&self, event: Event) {
        self.broker.tell(event);
    }

    /// Whether the operator expects that the daemon does not answer.
    fn is_expected(&self) -> bool {
        self.broker.is_in_maintenance(&self.daemon.name)
    }

    fn note(&self, kind: EventKind) {
        self.broker.events.tell(kind);
    }
}
