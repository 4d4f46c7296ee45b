//! For tests of the pool and of what is built on it: a fake engine whose
//! calls can be gated, and a simulation of the ledger against a model world.

mod fake;
mod log;
mod rng;
pub mod sim;

pub use fake::{FakeContainer, FakeEngine, FakeProbe, Gate, Op};
pub use log::ask_every_subscriber;
pub use rng::Rng;
