//! Carries out launches and checks, each in a task of its own.
//!
//! A launch is never aborted: the engine carries out a call whose caller is
//! gone. It is interrupted by token while it waits to get ready, and what it
//! made is retired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::broker::Broker;
use crate::core::{ContainerKey, DaemonName, Event, Fault, Generation, LaunchId, ServiceName};
use crate::fleet::Nudges;
use crate::options::ServiceOptions;
use crate::probe::Probe;
use crate::runtime::{ContainerRuntime, LaunchError, LaunchOrder, Target};

/// How long the check of a container that came back from a lease may take.
const CHECK: Duration = Duration::from_secs(2);

/// What the ledger wants done about a container that is to be leased.
#[derive(Debug)]
pub(crate) enum Order {
    Launch { launch: LaunchId, daemon: DaemonName, service: ServiceName, generation: Generation },
    Interrupt(LaunchId),
    Check(LaunchId),
}

pub(crate) struct Launcher<R: ContainerRuntime, P> {
    pub(crate) broker: Arc<Broker<R>>,
    pub(crate) runtime: Arc<R>,
    pub(crate) probe: Arc<P>,
    pub(crate) services: Arc<BTreeMap<ServiceName, ServiceOptions<R::Spec>>>,
    pub(crate) nudges: Arc<Nudges>,
}

// === impl Launcher ===

impl<R: ContainerRuntime, P: Probe<R::Handle>> Launcher<R, P> {
    /// Runs until the orders end, then until the launches under way have ended.
    pub(crate) async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let this = Arc::new(self);
        let mut launches = JoinSet::new();
        let mut tokens: BTreeMap<LaunchId, CancellationToken> = BTreeMap::new();
        loop {
            // Ended launches first, so that the set stays as small as what is under way.
            tokio::select! {
                biased;
                Some(ended) = launches.join_next() => {
                    if let Ok(Some(launch)) = ended {
                        tokens.remove(&launch);
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Launch { launch, daemon, service, generation }) => {
                        let Some(options) = this.services.get(&service) else { continue };
                        let spec = options.spec.clone();
                        let token = CancellationToken::new();
                        tokens.insert(launch, token.clone());
                        let order = LaunchOrder { launch, daemon, service, generation, spec };
                        let start = options.start_timeout;
                        launches.spawn(this.clone().launch(order, start, token));
                    }
                    Some(Order::Interrupt(launch)) => {
                        if let Some(token) = tokens.get(&launch) {
                            token.cancel();
                        }
                    }
                    Some(Order::Check(launch)) => _ = launches.spawn(this.clone().check(launch)),
                    None => break,
                },
            }
        }
        while launches.join_next().await.is_some() {}
    }

    async fn launch(
        self: Arc<Self>,
        order: LaunchOrder<R::Spec>,
        start: Duration,
        interrupt: CancellationToken,
    ) -> Option<LaunchId> {
        let launch = order.launch;
        let began = tokio::time::Instant::now();
        if let Err(error) = self.start(&order, start, &interrupt).await {
            warn!(
                %launch, service = %order.service, daemon = %order.daemon, %error,
                "launch failed"
            );
            if error.fault == Fault::Daemon {
                self.nudges.nudge(&order.daemon);
            }
            let reason = error.message.into();
            self.broker.tell(Event::LaunchFailed { launch, fault: error.fault, reason });
        } else {
            let took = began.elapsed();
            debug!(%launch, service = %order.service, daemon = %order.daemon, ?took, "ready");
            self.broker.tell(Event::Ready { launch });
        }
        Some(launch)
    }

    async fn start(
        &self,
        order: &LaunchOrder<R::Spec>,
        start: Duration,
        interrupt: &CancellationToken,
    ) -> Result<(), LaunchError> {
        let deadline = tokio::time::Instant::now() + start;
        let handle = self.runtime.launch(order).await?;
        self.broker.started(order.launch, handle.clone());
        let why = tokio::select! {
            biased;
            () = interrupt.cancelled() => "was interrupted before it was ready".to_owned(),
            ready = tokio::time::timeout_at(deadline, self.probe.ready(&handle)) => match ready {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => format!("did not get ready: {error}"),
                Err(_) => format!(
                    "was not ready within {start:?}: raise `timeouts.start`, or check `ready` and `port`"
                ),
            },
        };
        let target =
            Target { daemon: order.daemon.clone(), key: ContainerKey::Launch(order.launch) };
        let autopsy = self.runtime.autopsy(&target).await;
        if let Some(autopsy) = &autopsy
            && !autopsy.log.is_empty()
        {
            info!(launch = %order.launch, service = %order.service, log = ?autopsy.log, "last log lines");
        }
        let message = match autopsy {
            Some(autopsy) => format!("the container {why}; {autopsy}"),
            None => format!("the container {why}"),
        };
        Err(LaunchError { fault: Fault::Service, message })
    }

    async fn check(self: Arc<Self>, launch: LaunchId) -> Option<LaunchId> {
        let fit = match self.broker.handle_of(launch) {
            Some(handle) => {
                let checked = tokio::time::timeout(CHECK, self.probe.check(&handle)).await;
                let error = match checked {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some(format!("no answer within {CHECK:?}")),
                };
                if let Some(error) = &error {
                    debug!(%launch, error, "not fit to be leased again");
                }
                error.is_none()
            }
            None => false,
        };
        self.broker.tell(Event::Checked { launch, fit });
        None
    }
}
