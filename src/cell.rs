//! Cells: containers that an OCI runtime runs by an engine's own specification, without the engine.
//!
//! An engine takes 100 to 300 ms to create, start and remove a container, and a runtime a few. So the
//! engine starts one container of a service, the *carrier*, which waits and serves nobody: with its
//! image, its limits and all that keeps it in. Each *cell* is run by the specification of the carrier,
//! with the few fields changed that differ from one container to the next (`specification.rs`), over
//! the same layers of the image. See `docs/decisions/0077`.
//!
//! The *keeper* (`keeper.rs`) is the process that makes cells and removes them; `Cells` is the other
//! side, in the process that wants them.

mod cells;
mod channel;
mod groups;
mod keeper;
mod life;
mod link;
mod message;
mod rlimits;
mod runtime;
mod specification;

pub(crate) use cells::{Adopted, Cells};
pub(crate) use groups::sweep;
pub(crate) use keeper::{keep, start_keeper};
pub(crate) use life::{CellEnd, CellLife};
pub(crate) use link::FailedCell;
pub(crate) use message::{CellExit, Pattern};
pub(crate) use runtime::runtime;
pub(crate) use specification::{CarrierOrder, NAME, for_cells};
