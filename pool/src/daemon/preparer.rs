//! Keeps one daemon prepared for the services that are launched on it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::handle::DaemonSignals;
use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::core::{DaemonName, Event, Generation, ServiceName};
use crate::events::EventKind;
use crate::options::ServiceOptions;
use crate::panics::catch_panic_as_refusal;
use crate::runtime::{CallError, ContainerRuntime};
use crate::services::Services;

/// How often a daemon is asked again whether it is ready.
const PREPARE_EVERY: Duration = Duration::from_secs(30);

/// The preparers of one daemon: a task for each generation of each service.
pub(crate) struct Preparers<R: ContainerRuntime> {
    broker: Arc<Broker<R>>,
    runtime: Arc<R>,
    services: Arc<Services<R::Spec>>,
    daemon: DaemonName,
    signals: Arc<DaemonSignals>,
    tasks: JoinSet<Infallible>,
    running: BTreeMap<(ServiceName, Generation), AbortHandle>,
}

struct Preparer<R: ContainerRuntime> {
    broker: Arc<Broker<R>>,
    runtime: Arc<R>,
    daemon: DaemonName,
    generation: Generation,
    service: ServiceOptions<R::Spec>,
    signals: Arc<DaemonSignals>,
}

// === impl Preparers ===

impl<R: ContainerRuntime> Preparers<R> {
    pub(crate) fn new(
        broker: Arc<Broker<R>>,
        runtime: Arc<R>,
        services: Arc<Services<R::Spec>>,
        daemon: DaemonName,
        signals: Arc<DaemonSignals>,
    ) -> Self {
        let (tasks, running) = Default::default();
        Self { broker, runtime, services, daemon, signals, tasks, running }
    }

    /// Keeps one running for each generation that is launched.
    pub(crate) async fn keep(&mut self) -> Infallible {
        let mut changes = self.services.changes();
        loop {
            let all = self.services.all();
            let wanted = |key: &(ServiceName, Generation)| {
                all.iter().any(|(generation, s)| s.name == key.0 && *generation == key.1)
            };
            self.running.retain(|key, task| {
                let keep = wanted(key);
                if !keep {
                    task.abort();
                }
                keep
            });
            for (generation, service) in all {
                let key = (service.name.clone(), generation);
                self.running.entry(key).or_insert_with(|| {
                    let preparer = Preparer {
                        broker: self.broker.clone(),
                        runtime: self.runtime.clone(),
                        daemon: self.daemon.clone(),
                        generation,
                        service,
                        signals: self.signals.clone(),
                    };
                    self.tasks.spawn(preparer.run())
                });
            }
            // Aborted tasks are taken out of the set.
            while self.tasks.try_join_next().is_some() {}
            if changes.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Ends all preparers. They tell nothing more when this returns.
    pub(crate) async fn shutdown(&mut self) {
        self.running.clear();
        self.tasks.shutdown().await;
    }
}

// === impl Preparer ===

impl<R: ContainerRuntime> Preparer<R> {
    /// Prepares the daemon for the service, again and again: somebody may remove an
    /// image, and a missing one may be available later. In a task of its own, because
    /// a pull may take minutes.
    async fn run(self) -> Infallible {
        let Self { broker, runtime, daemon, generation, service, signals } = self;
        let ServiceOptions { name: service, spec, .. } = service;
        let signal = signals.reprepare(&service);
        let mut known: Option<Result<(), CallError>> = None;
        loop {
            // Signals count from here on, during the preparation, too.
            let asked = signal.notified();
            tokio::pin!(asked);
            asked.as_mut().enable();
            let result =
                catch_panic_as_refusal("preparing", runtime.prepare(&daemon, &service, &spec))
                    .await;
            let unanswered = result.as_ref().is_err_and(|error| error.unreachable);
            // The last answer holds until there is another; the list shows whether
            // there is contact at all.
            if !unanswered || known.is_none() {
                broker.tell(Event::Prepared {
                    daemon: daemon.clone(),
                    service: service.clone(),
                    generation,
                    result: result.clone().map_err(|error| error.message.into()),
                });
                let kind = match &result {
                    _ if known.as_ref() == Some(&result) => None,
                    Ok(()) => {
                        let (daemon, service) = (daemon.clone(), service.clone());
                        Some(EventKind::ServicePrepared { daemon, service, generation })
                    }
                    Err(error) => {
                        let (daemon, service) = (daemon.clone(), service.clone());
                        let reason = error.to_string().into();
                        Some(EventKind::ServiceUnfit { daemon, service, reason })
                    }
                };
                kind.into_iter().for_each(|kind| broker.events.tell(kind));
                known = Some(result);
            }
            tokio::select! {
                // Either leads to a preparation; a signal that came is used up by it.
                biased;
                () = asked => {}
                () = tokio::time::sleep(if unanswered { Backoff::CONTACT.cap } else { PREPARE_EVERY }) => {}
            }
        }
    }
}
