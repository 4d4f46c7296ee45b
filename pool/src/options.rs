//! The services that a pool is started with, and how a reload changes them.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Generation, Policy, ServiceName};

/// A service, as the pool runs it.
#[derive(Debug)]
pub struct ServiceOptions<S> {
    /// Unique in the pool.
    pub name: ServiceName,
    /// How many containers, how often leased, how long kept.
    pub policy: Policy,
    /// The spec of its containers.
    pub spec: Arc<S>,
    /// The time from its start until the container must be ready.
    pub start_timeout: Duration,
}

/// The change of a service by a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The service is new.
    Added,
    /// The service has another policy or time-out.
    Adjusted,
    /// The service has another spec: this generation is rolled out.
    RollingOut(Generation),
    /// The service has its old spec again: a rollout ends, and this generation goes on.
    GoingBack(Generation),
    /// The service is drained.
    Removed,
}

// === impl ServiceOptions ===

impl<S> ServiceOptions<S> {
    /// Whether policy and time-out are the same, whatever the specs.
    pub(crate) fn runs_like(&self, other: &Self) -> bool {
        self.policy == other.policy && self.start_timeout == other.start_timeout
    }
}

impl<S> Clone for ServiceOptions<S> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            policy: self.policy.clone(),
            spec: self.spec.clone(),
            start_timeout: self.start_timeout,
        }
    }
}
