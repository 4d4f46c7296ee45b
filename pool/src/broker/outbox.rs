//! What comes of an event, until it can be told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Answer;
use crate::core::{DaemonName, Generation, GivenUp, LaunchId, ServiceName, Stage};
use crate::orders::{Order, Removal};
use crate::runtime::ContainerRuntime;

/// What is to be told after the lock is released.
pub(super) struct Outbox<R: ContainerRuntime> {
    pub(super) answers: Vec<(oneshot::Sender<Answer<R>>, Answer<R>)>,
    pub(super) orders: Vec<Order>,
    pub(super) removals: Vec<Removal>,
    pub(super) emptied: Vec<DaemonName>,
    /// Daemons on which launches have begun to fail, and why, or succeed again.
    pub(super) health: Vec<(DaemonName, Option<Arc<str>>)>,
    /// Services whose containers keep ending in stock, and the longest pause between two.
    pub(super) paced: Vec<(ServiceName, Generation, Duration)>,
    /// How rollouts went on.
    pub(super) rollouts: Vec<(ServiceName, Generation, Progress)>,
    /// Containers granted to a waiter that is not there; a mistake of ours that
    /// must not cost a container.
    pub(super) undeliverable: Vec<LaunchId>,
    /// Handles that are let go of; dropping them closes files.
    pub(super) dropped: Vec<Arc<R::Handle>>,
}

/// What became of a rollout.
pub(super) enum Progress {
    Advanced(Stage),
    SwitchedOver,
    RolledBack(GivenUp, Arc<str>),
}

/// What becomes of a generation that was rolled back. Nothing tries it again by itself.
pub(super) const fn prospects(why: GivenUp) -> &'static str {
    match why {
        GivenUp::Failed => ", and the next reload tries again",
        GivenUp::Refused => {
            ": no daemon that answers can run the new one, and none is asked again before the next \
             reload"
        }
        GivenUp::Replaced => "",
    }
}

// === impl Outbox ===

impl<R: ContainerRuntime> Outbox<R> {
    pub(super) const fn new() -> Self {
        Self {
            answers: Vec::new(),
            orders: Vec::new(),
            removals: Vec::new(),
            emptied: Vec::new(),
            health: Vec::new(),
            paced: Vec::new(),
            rollouts: Vec::new(),
            undeliverable: Vec::new(),
            dropped: Vec::new(),
        }
    }
}
