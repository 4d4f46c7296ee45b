//! The sans-IO brain of the pool: no clock, no tasks, no locks.

mod id;

pub use id::{DaemonName, Generation, LaunchId, ServiceName, WaiterId};
