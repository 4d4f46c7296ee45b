//! What comes of an event, until it can be told.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Answer;
use crate::core::{DaemonName, LaunchId};
use crate::events::EventKind;
use crate::orders::{Order, RemovalOrder};
use crate::runtime::ContainerRuntime;

/// What is to be told after the lock is released.
pub(super) struct Outbox<R: ContainerRuntime> {
    pub(super) answers: Vec<(oneshot::Sender<Answer<R>>, Answer<R>)>,
    /// Where in the queue the one stands who has asked for a container, if it has to wait.
    pub(super) place: Option<u32>,
    pub(super) orders: Vec<Order>,
    pub(super) removals: Vec<RemovalOrder>,
    pub(super) emptied: Vec<DaemonName>,
    /// The events that come with every lease are to be told as well.
    pub(super) detailed: bool,
    /// What has happened, each with its number.
    pub(super) events: Vec<(u64, EventKind)>,
    /// What the services run has changed.
    pub(super) services_changed: bool,
    /// Containers granted to a waiter that is not there; a mistake of ours that
    /// must not cost a container.
    pub(super) undeliverable: Vec<LaunchId>,
    /// Handles that are let go of; dropping them closes files.
    pub(super) dropped: Vec<Arc<R::Handle>>,
}

// === impl Outbox ===

impl<R: ContainerRuntime> Outbox<R> {
    pub(super) const fn new(detailed: bool) -> Self {
        Self {
            detailed,
            answers: Vec::new(),
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
}
