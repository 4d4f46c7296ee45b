//! A pool of containers, launched ahead of demand across many daemons and
//! leased one at a time.
//!
//! The crate knows no container engine: it talks to one through
//! [`runtime::ContainerRuntime`], proves containers ready through
//! [`probe::Probe`], and learns of daemons through [`discovery`]. Its brain,
//! [`core::Ledger`], does no input or output at all.

pub mod backoff;
mod broker;
pub mod core;
mod daemon;
pub mod discovery;
mod events;
mod fleet;
mod history;
mod launcher;
mod lease;
mod lease_manager;
mod lease_pool;
mod options;
mod orders;
mod panics;
mod pool;
pub mod probe;
pub mod replay;
pub mod runtime;
mod services;

pub use events::{EventKind, Observer, PoolEvent};
pub use history::History;
pub use lease::Lease;
pub use options::{Change, ServiceOptions};
pub use pool::Pool;

#[cfg(feature = "testing")]
pub mod testing;
