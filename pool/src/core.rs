//! The sans-IO brain of the pool: no clock, no tasks, no locks.
//!
//! [`Ledger::handle`] takes an [`Event`] and the time, and returns [`Action`]s.
//! The rest of the crate carries those out and reports back by events.

mod action;
mod demand;
mod event;
mod id;
mod ledger;
mod limit;
mod operator;
mod placement;
mod policy;
mod queue;
mod reason;
mod sizing;
mod state;
mod stock;

pub use action::{Action, GivenUp, StartKind};
pub use event::{Event, Outcome, Owned, Proof};
pub use id::{ContainerKey, DaemonName, Generation, LaunchId, ServiceName, WaiterId, short_id};
pub use ledger::{ContainerView, DaemonView, Ledger, RolloutView, ServiceView, Snapshot, Totals};
pub use limit::Launches;
pub use operator::{AdminState, OrderError, Retirement};
pub use placement::{Capacity, Load};
pub use policy::{Auto, Policy};
pub use reason::{Fault, Refusal, RetireReason};
pub use state::{Counts, Stage, State};
