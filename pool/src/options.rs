//! What a pool is started with, and what becomes of it when that changes.

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
    /// What its containers run.
    pub spec: Arc<S>,
    /// From its start until the container must be ready.
    pub start_timeout: Duration,
}

/// What a reload changed of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It runs the same in another way, from now on.
    Adjusted,
    /// It is to run something else: this generation is rolled out.
    RollingOut(Generation),
    /// It is to run what it ran before: a rollout ends, and this generation goes on.
    GoingBack(Generation),
    /// It is drained.
    Removed,
}

// === impl ServiceOptions ===

impl<S> ServiceOptions<S> {
    /// Whether both are run in the same way, whatever they run.
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
