//! A pool of containers, launched ahead of demand across many daemons and
//! leased one at a time.
//!
//! The crate knows no container engine: it talks to one through
//! [`runtime::ContainerRuntime`].

pub mod core;
pub mod discovery;
pub mod probe;
pub mod runtime;
