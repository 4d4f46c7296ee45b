//! How long the steps of a launch, and of a removal, take, and who is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::short_id;
use tokio::time::Instant;

/// The target of the log lines at debug level that say how long each step took.
const TARGET: &str = "ganger::steps";

/// A step of a container's life that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// `create`, `room`, `start`, `inspect`, `ready` or `remove`, in this order.
    pub name: &'static str,
    /// The container's id; of a step `remove` perhaps its name.
    pub container: &'a str,
    /// How long the step took.
    pub took: Duration,
}

/// Is told of each step. It is called by the tasks that launch and remove containers, and must
/// not wait for anything.
pub trait StepObserver: Send + Sync + 'static {
    /// A step is done.
    fn done(&self, step: &Step<'_>);
}

/// Tells of steps.
#[derive(Clone, Default)]
pub(super) struct Steps(Option<Arc<dyn StepObserver>>);

// === impl Steps ===

impl Steps {
    pub(super) fn told_to(observer: Arc<dyn StepObserver>) -> Self {
        Self(Some(observer))
    }

    /// A step, which began then, is done.
    pub(super) fn done(&self, name: &'static str, container: &str, began: Instant) {
        let took = began.elapsed();
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let id = short_id(container);
        tracing::debug!(target: TARGET, step = name, us, container = id, "done");
        if let Some(observer) = &self.0 {
            observer.done(&Step { name, container, took });
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&self.0.is_some()).finish()
    }
}
