//! How long the steps of a launch, and of a removal, take.

use ganger_pool::core::short_id;
use tokio::time::Instant;

/// The target of the events that say how long the steps of a launch, and of a removal, took.
/// They have the fields `step`, `us` (microseconds) and `container` (an id, or a name).
pub const STEPS: &str = "ganger::steps";

/// Logs that a step of a container's life, which began then, is done.
pub(crate) fn step(step: &'static str, container: &str, began: Instant) {
    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(target: STEPS, step, us, container = short_id(container), "done");
}
