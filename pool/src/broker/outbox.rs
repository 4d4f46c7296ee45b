//! The results of an event, until they can be sent.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Answer;
use crate::core::{DaemonName, LaunchId, WaiterId};
use crate::events::EventKind;
use crate::orders::{Order, RemovalOrder};
use crate::runtime::ContainerRuntime;

/// Messages to be sent after the lock is released.
pub(super) struct Outbox<R: ContainerRuntime> {
    pub(super) answers: Vec<(oneshot::Sender<Answer<R>>, Answer<R>)>,
    /// The waiter that has just asked, until it is answered: it gets a channel only if it has to
    /// wait.
    pub(super) asker: Option<WaiterId>,
    /// The answer to the waiter that has just asked.
    pub(super) answer: Option<Answer<R>>,
    /// The place in the queue of the waiter that has just asked, if it has to wait.
    pub(super) place: Option<u32>,
    pub(super) orders: Vec<Order>,
    pub(super) removals: Vec<RemovalOrder>,
    pub(super) emptied: Vec<DaemonName>,
    /// Whether the events of every lease are told as well.
    pub(super) detailed: bool,
    /// Events, each with its number.
    pub(super) events: Vec<(u64, EventKind)>,
    /// Whether the generations of services have changed.
    pub(super) services_changed: bool,
    /// Containers granted to a waiter that is not there: a bug of the pool, which
    /// must not leak them.
    pub(super) undeliverable: Vec<LaunchId>,
    /// Handles to be dropped, which closes files.
    pub(super) dropped: Vec<Arc<R::Handle>>,
}

// === impl Outbox ===

impl<R: ContainerRuntime> Outbox<R> {
    pub(super) const fn new(detailed: bool) -> Self {
        Self {
            detailed,
            answers: Vec::new(),
            asker: None,
            answer: None,
            place: None,
            orders: Vec::new(),
            removals: Vec::new(),
            emptied: Vec::new(),
            events: Vec::new(),
            services_changed: false,
            undeliverable: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// Takes the order to check a container out, if there is one.
    pub(super) fn takes_check(&mut self, launch: LaunchId) -> bool {
        let is_it = |order: &Order| matches!(order, Order::Check(other) if *other == launch);
        let place = self.orders.iter().position(is_it);
        place.map(|place| self.orders.remove(place)).is_some()
    }
}
