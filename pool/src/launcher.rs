//! Carries out launches and checks, each in a task of its own.
//!
//! A launch is never aborted: the engine carries out a call whose caller is
//! gone. A token interrupts a launch while it waits for readiness, and its
//! container is retired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::core::{ContainerKey, Event, Fault, LaunchId};
use crate::daemon::handle::Daemons;
use crate::events::EventKind;
use crate::orders::Order;
use crate::panics::catch_panic;
use crate::probe::{NotYet, Probe};
use crate::runtime::{
    ContainerRuntime, LaunchError, LaunchFindings, LaunchOrder, LaunchPhase, PostMortem, Target,
};
use crate::services::Services;

pub(crate) struct Launcher<R: ContainerRuntime, P> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) probe: Arc<P>,
    pub(crate) services: Arc<Services<R::Spec>>,
    pub(crate) daemons: Arc<Daemons>,
}

/// A launch that failed.
struct FailedLaunch {
    fault: Fault,
    /// Why, for people: all of it in one text.
    reason: Arc<str>,
    /// The same in parts.
    findings: Arc<LaunchFindings>,
}

// === impl Launcher ===

impl<R: ContainerRuntime, P: Probe<R::Handle>> Launcher<R, P> {
    /// Runs until it is dropped, and the launches under way with it.
    pub(crate) async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let this = Arc::new(self);
        let mut launches = JoinSet::new();
        let mut tokens: BTreeMap<LaunchId, CancellationToken> = BTreeMap::new();
        loop {
            // Ended launches first, so that the set holds no more than those under way.
            tokio::select! {
                biased;
                Some(ended) = launches.join_next() => {
                    if let Ok(Some(launch)) = ended {
                        tokens.remove(&launch);
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Launch { launch, daemon, service, generation, max_containers }) => {
                        let Some(options) = this.services.options(&service, generation) else {
                            // The launch was ordered just before that.
                            let reason = "its generation is not launched any more".into();
                            let fault = Fault::Daemon;
                            let kind = EventKind::LaunchInterrupted { launch, service, daemon };
                            this.broker.events.tell(kind);
                            this.broker.tell(Event::LaunchFailed { launch, fault, reason });
                            continue;
                        };
                        let spec = options.spec;
                        let token = CancellationToken::new();
                        tokens.insert(launch, token.clone());
                        let order =
                            LaunchOrder { launch, daemon, service, generation, spec, max_containers };
                        let start = options.start_timeout;
                        launches.spawn(this.clone().launch(order, start, token));
                    }
                    Some(Order::Interrupt(launch)) => {
                        if let Some(token) = tokens.get(&launch) {
                            token.cancel();
                        }
                    }
                    Some(Order::Check(launch)) => _ = launches.spawn(this.clone().check(launch)),
                    None => return,
                },
            }
        }
    }

    async fn launch(
        self: Arc<Self>,
        order: LaunchOrder<R::Spec>,
        start: Duration,
        interrupt: CancellationToken,
    ) -> Option<LaunchId> {
        let launch = order.launch;
        let began = tokio::time::Instant::now();
        let outcome = catch_panic("a launch", self.start(&order, start, &interrupt)).await;
        let outcome = outcome.unwrap_or_else(|message| {
            // The launch would panic on any daemon.
            Err(Some(FailedLaunch::new(LaunchError::new(Fault::Service, message), None)))
        });
        let took = began.elapsed();
        let LaunchOrder { service, daemon, .. } = order;
        let FailedLaunch { fault, reason, findings } = match outcome {
            Ok(()) => {
                self.broker.events.tell(EventKind::LaunchReady { launch, service, daemon, took });
                self.broker.tell(Event::Ready { launch });
                return Some(launch);
            }
            Err(None) => {
                let reason = "it was not wanted any more, or removed by somebody".into();
                let fault = Fault::Unwanted;
                self.broker.events.tell(EventKind::LaunchInterrupted { launch, service, daemon });
                self.broker.tell(Event::LaunchFailed { launch, fault, reason });
                return Some(launch);
            }
            Err(Some(failed)) => failed,
        };
        if let Some(daemon) = self.daemons.of(&daemon) {
            match fault {
                Fault::Service | Fault::Unwanted => {}
                Fault::Daemon | Fault::Full => daemon.relist(),
                Fault::Unprepared => daemon.reprepare(&service),
            }
        }
        let told = reason.clone();
        let failed =
            EventKind::LaunchFailed { launch, service, daemon, fault, reason: told, findings };
        self.broker.events.tell(failed);
        self.broker.tell(Event::LaunchFailed { launch, fault, reason });
        Some(launch)
    }

    /// Launches and waits until the container is ready.
    ///
    /// # Errors
    /// `None`: the pool interrupted it, and the container is not known to have ended; or
    /// somebody removed the container.
    /// Such a launch is no failure: the container is retired because nobody wants it.
    /// An interrupted container that had ended by then is a failure like any other.
    async fn start(
        &self,
        order: &LaunchOrder<R::Spec>,
        start: Duration,
        interrupt: &CancellationToken,
    ) -> Result<(), Option<FailedLaunch>> {
        let handle = match self.runtime.launch(order).await {
            Ok(handle) => handle,
            Err(error) if error.fault == Fault::Service => {
                // A container that ended at once may have logged why.
                let post_mortem = self.post_mortem(order).await;
                return Err(Some(FailedLaunch::new(error, post_mortem)));
            }
            Err(error) => return Err(Some(FailedLaunch::new(error, None))),
        };
        self.broker.started(order.launch, handle.clone());
        // From here: the time that the daemon took is not the service's fault.
        let deadline = tokio::time::Instant::now() + start;
        let not_yet = NotYet::default();
        let ready = self.probe.ready(&handle, &not_yet);
        let why = tokio::select! {
            // A container that is not wanted any more does not go to stock.
            biased;
            () = interrupt.cancelled() => None,
            ready = tokio::time::timeout_at(deadline, ready) => match ready {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => Some(format!("did not get ready: {error}")),
                Err(_) => {
                    let last = not_yet.last().map_or_else(String::new, |last| format!(" ({last})"));
                    Some(format!(
                        "was not ready within {start:?}{last}: check `port` and `ready`, or raise \
                         `timeouts.start`"
                    ))
                }
            },
        };
        let post_mortem = self.post_mortem(order).await;
        if let Some(post_mortem) = post_mortem.as_ref().filter(|found| found.removed.is_some()) {
            let LaunchOrder { launch, service, daemon, .. } = order;
            let (launch, service, daemon) = (*launch, service.clone(), daemon.clone());
            let container = post_mortem.container.as_deref().map(Arc::from);
            let kind = EventKind::RemovedBeforeReady { launch, service, daemon, container };
            self.broker.events.tell(kind);
            return Err(None);
        }
        let may_run =
            post_mortem.as_ref().is_none_or(|post_mortem| post_mortem.exit_code.is_none());
        let why = match why {
            None if may_run => return Err(None),
            None => "ended before it was ready".to_owned(),
            Some(why) => why,
        };
        let fault = self.runtime.fault_of(order.launch);
        let error = LaunchError::new(fault, format!("the container {why}"));
        let error = LaunchError { phase: LaunchPhase::Ready, ..error };
        Err(Some(FailedLaunch::new(error, post_mortem)))
    }

    /// The post-mortem of a container that failed.
    async fn post_mortem(&self, order: &LaunchOrder<R::Spec>) -> Option<PostMortem> {
        let target =
            Target { daemon: order.daemon.clone(), key: ContainerKey::Launch(order.launch) };
        self.runtime.post_mortem(&target).await
    }

    async fn check(self: Arc<Self>, launch: LaunchId) -> Option<LaunchId> {
        let checked = match self.broker.handle_of(launch) {
            Some(handle) => {
                let limit = self.probe.check_limit(&handle);
                let check = tokio::time::timeout(limit, self.probe.check(&handle));
                match catch_panic("a check", check).await {
                    Ok(Ok(Ok(proof))) => Ok(proof),
                    Ok(Ok(Err(error))) => Err(error.to_string()),
                    Ok(Err(_)) => Err(format!("no answer within {limit:?}")),
                    Err(panic) => Err(panic),
                }
            }
            None => Err("it is gone".to_owned()),
        };
        self.broker.checked(launch, checked);
        None
    }
}

// === impl FailedLaunch ===

impl FailedLaunch {
    /// Adds the post-mortem to the error: log lines and hint, and after the readiness phase how
    /// the container ended, which other errors say themselves.
    fn new(error: LaunchError, post_mortem: Option<PostMortem>) -> Self {
        let left = post_mortem.as_ref().map(|post_mortem| match error.phase {
            LaunchPhase::Ready => format!("; {post_mortem}"),
            _ => post_mortem.said(),
        });
        let reason = error.message.clone() + &left.unwrap_or_default();
        let findings = Arc::new(LaunchFindings::new(&error, post_mortem));
        Self { fault: error.fault, reason: reason.into(), findings }
    }
}
