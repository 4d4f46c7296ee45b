//! What a pool is started with.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Policy, ServiceName};

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

// === impl ServiceOptions ===

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
