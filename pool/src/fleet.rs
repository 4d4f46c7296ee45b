//! Follows discovery: the daemons in the fleet, and the tasks of each.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::core::{DaemonName, Event};
use crate::daemon::{DaemonTasks, TaskContext};
use crate::discovery::{DaemonSpec, FleetWatch};
use crate::events::EventKind;
use crate::runtime::ContainerRuntime;

pub(crate) struct Fleet<R: ContainerRuntime> {
    context: TaskContext<R>,
    watch: FleetWatch<R::Endpoint>,
    members: BTreeMap<DaemonName, Member<R::Endpoint>>,
}

/// A daemon of the fleet, or one that left and is not empty yet.
struct Member<E> {
    spec: DaemonSpec<E>,
    /// The daemon left. Contact is kept while it is drained.
    leaving: bool,
    tasks: DaemonTasks,
}

// === impl Fleet ===

impl<R: ContainerRuntime> Fleet<R> {
    /// Takes the daemons that discovery knows now into the fleet, so that the
    /// first client does not find a fleet without daemons.
    pub(crate) fn new(context: TaskContext<R>, mut watch: FleetWatch<R::Endpoint>) -> Self {
        let fleet = watch.borrow_and_update().clone();
        let mut this = Self { context, watch, members: BTreeMap::new() };
        fleet.iter().for_each(|daemon| this.join(daemon.clone(), None));
        this
    }

    /// Runs until discovery ends, then keeps what it found last. `emptied` are
    /// the daemons that left and hold nothing any more. Dropping it ends all contact.
    pub(crate) async fn run(mut self, mut emptied: mpsc::UnboundedReceiver<DaemonName>) {
        let mut discovering = true;
        loop {
            tokio::select! {
                // Emptied daemons first: one must not be taken for a daemon that
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
                self.context.broker.tell(Event::DaemonLeft { daemon: name.clone() });
                self.context.broker.events.tell(EventKind::DaemonLeft { daemon: name.clone() });
            }
        }
        if left && current.is_empty() {
            self.context.broker.events.tell(EventKind::FleetEmpty);
        }
        for (name, spec) in current {
            if let Some(member) = self.members.get_mut(name)
                && member.stays(spec)
            {
                let (daemon, capacity) = (name.clone(), spec.capacity());
                if member.spec.capacity() != capacity {
                    let broker = &self.context.broker;
                    broker.tell(Event::DaemonResized { daemon: daemon.clone(), capacity });
                    let (capacity, tier) = (spec.max_containers, spec.tier);
                    broker.events.tell(EventKind::DaemonResized { daemon, capacity, tier });
                }
                member.spec = spec.clone();
                continue;
            }
            // Events of the old contact must not mix with those of the new one.
            let mut tasks = None;
            if let Some(mut member) = self.members.remove(name) {
                member.tasks.end_contact().await;
                tasks = Some(member.tasks);
            }
            self.join(spec.clone(), tasks);
        }
    }

    /// Takes a daemon into the fleet. The removals of an earlier one of that name go on.
    fn join(&mut self, spec: DaemonSpec<R::Endpoint>, tasks: Option<DaemonTasks>) {
        let (name, with) = (spec.name.clone(), &self.context);
        // Before the ledger knows the daemon, and may order removals at once.
        let mut tasks = tasks.unwrap_or_else(|| DaemonTasks::begin(with, &name));
        with.broker.tell(Event::DaemonJoined { daemon: name.clone(), capacity: spec.capacity() });
        let (daemon, capacity) = (name.clone(), spec.max_containers);
        with.broker.events.tell(EventKind::DaemonJoined { daemon, capacity });
        tasks.begin_contact(with, spec.clone());
        self.members.insert(name, Member { spec, leaving: false, tasks });
    }

    /// Ends contact with a daemon that left and is empty, unless it is back.
    async fn forget(&mut self, name: &DaemonName) {
        // The daemon may have come back since, and have left again.
        if !self.context.broker.knows(name)
            && self.members.get(name).is_some_and(|member| member.leaving)
            && let Some(mut member) = self.members.remove(name)
        {
            member.tasks.end_contact().await;
            let TaskContext { broker, runtime, daemons, .. } = &self.context;
            daemons.forget(name);
            runtime.forget(name);
            broker.events.tell(EventKind::DaemonDrained { daemon: name.clone() });
        }
    }
}

// === impl Member ===

impl<E: PartialEq> Member<E> {
    /// Whether contact goes on under this description of the daemon.
    fn stays(&self, spec: &DaemonSpec<E>) -> bool {
        !self.leaving
            && self.spec.endpoint == spec.endpoint
            && self.spec.max_launches == spec.max_launches
    }
}
