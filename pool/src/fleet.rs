//! Follows discovery: who is in the fleet, and a monitor for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::Broker;
use crate::core::{DaemonName, Event};
use crate::discovery::{DaemonSpec, FleetWatch};
use crate::events::EventKind;
use crate::monitor::Monitor;
use crate::nudge::Nudges;
use crate::runtime::ContainerRuntime;
use crate::services::Services;

pub(crate) struct Fleet<R: ContainerRuntime> {
    broker: Arc<Broker<R>>,
    runtime: Arc<R>,
    services: Arc<Services<R::Spec>>,
    nudges: Arc<Nudges>,
    watch: FleetWatch<R::Endpoint>,
    members: BTreeMap<DaemonName, Member<R::Endpoint>>,
}

/// A daemon of the fleet, or one that left and is not empty yet.
struct Member<E> {
    spec: DaemonSpec<E>,
    /// It left. Contact is kept while it is drained.
    leaving: bool,
    over: CancellationToken,
    monitor: AbortOnDropHandle<()>,
}

// === impl Fleet ===

impl<R: ContainerRuntime> Fleet<R> {
    /// Takes the daemons that discovery knows now into the fleet: a fleet that
    /// was not tried yet is not a fleet without daemons, to who asks first.
    pub(crate) fn new(
        broker: Arc<Broker<R>>,
        runtime: Arc<R>,
        services: Arc<Services<R::Spec>>,
        nudges: Arc<Nudges>,
        mut watch: FleetWatch<R::Endpoint>,
    ) -> Self {
        let fleet = watch.borrow_and_update().clone();
        let members = BTreeMap::new();
        let mut this = Self { broker, runtime, services, nudges, watch, members };
        fleet.iter().for_each(|daemon| this.join(daemon.clone()));
        this
    }

    /// Runs until discovery ends, then keeps what it found last. `emptied` are
    /// the daemons that left and hold nothing any more. Dropping it ends all contact.
    pub(crate) async fn run(mut self, mut emptied: mpsc::UnboundedReceiver<DaemonName>) {
        let mut discovering = true;
        loop {
            tokio::select! {
                // What was emptied first: it must not be taken for a daemon that
                // has come back and left again since.
                biased;
                Some(daemon) = emptied.recv() => self.forget(&daemon).await,
                changed = self.watch.changed(), if discovering => match changed {
                    Ok(()) => self.follow().await,
                    Err(_) => discovering = false,
                },
                else => return,
            }
        }
    }

    async fn follow(&mut self) {
        let fleet = self.watch.borrow_and_update().clone();
        let current: BTreeMap<_, _> = fleet.iter().map(|daemon| (&daemon.name, daemon)).collect();
        let mut left = false;
        for (name, member) in &mut self.members {
            if !member.leaving && !current.contains_key(name) {
                left = true;
                member.leaving = true;
                self.broker.tell(Event::DaemonLeft { daemon: name.clone() });
                self.broker.events.tell(EventKind::DaemonLeft { daemon: name.clone() });
            }
        }
        if left && current.is_empty() {
            self.broker.events.tell(EventKind::FleetEmpty);
        }
        for (name, spec) in current {
            if let Some(member) = self.members.get_mut(name)
                && member.stays(spec)
            {
                if member.spec.terms() != spec.terms() {
                    let (capacity, tier) = (spec.max_containers, spec.tier);
                    let (daemon, terms) = (name.clone(), spec.terms());
                    self.broker.tell(Event::DaemonResized { daemon: daemon.clone(), terms });
                    self.broker.events.tell(EventKind::DaemonResized { daemon, capacity, tier });
                }
                member.spec = spec.clone();
                continue;
            }
            // What was told of it before must not be mixed with what is told now.
            if let Some(member) = self.members.remove(name) {
                member.end().await;
            }
            self.join(spec.clone());
        }
    }

    fn join(&mut self, spec: DaemonSpec<R::Endpoint>) {
        let name = spec.name.clone();
        self.broker.tell(Event::DaemonJoined { daemon: name.clone(), terms: spec.terms() });
        let (daemon, capacity) = (name.clone(), spec.max_containers);
        self.broker.events.tell(EventKind::DaemonJoined { daemon, capacity });
        let monitor = Monitor {
            broker: self.broker.clone(),
            runtime: self.runtime.clone(),
            services: self.services.clone(),
            daemon: spec.clone(),
            nudge: self.nudges.join(&name),
        };
        let over = CancellationToken::new();
        let monitor = AbortOnDropHandle::new(tokio::spawn(monitor.run(over.clone())));
        self.members.insert(name, Member { spec, leaving: false, over, monitor });
    }

    /// Ends contact with a daemon that left and is empty, unless it is back.
    async fn forget(&mut self, name: &DaemonName) {
        if self.members.get(name).is_some_and(|member| member.leaving)
            && let Some(member) = self.members.remove(name)
        {
            member.end().await;
            self.nudges.forget(name);
            self.runtime.forget(name);
            self.broker.events.tell(EventKind::DaemonDrained { daemon: name.clone() });
        }
    }
}

// === impl Member ===

impl<E: PartialEq> Member<E> {
    /// Whether contact goes on when it is described like that.
    fn stays(&self, spec: &DaemonSpec<E>) -> bool {
        !self.leaving
            && self.spec.endpoint == spec.endpoint
            && self.spec.max_launches == spec.max_launches
    }

    async fn end(self) {
        self.over.cancel();
        // It ends in any case, be it by a panic.
        _ = self.monitor.await;
    }
}
