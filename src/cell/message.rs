//! The words between the process that wants cells and the keeper of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An order to the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeeperOrder {
    /// Remember how the cells of a carrier are made.
    Adopt(Mould),
    /// No more cells of this carrier are made.
    Drop {
        /// The number of its mould.
        mould: u64,
    },
    /// Make a cell and start its command.
    Launch {
        /// The id of the cell, which no other has.
        cell: String,
        /// The number of its mould.
        mould: u64,
    },
    /// Remove what is left of all cells, and end.
    End,
    /// Kill a cell and remove all that it had.
    Retire {
        /// The id of the cell.
        cell: String,
    },
}

/// How the cells of a carrier are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mould {
    /// Its number, which no other has.
    pub(super) number: u64,
    /// The program that runs containers by a specification.
    pub(super) runtime: PathBuf,
    /// The specification: see [`super::specification::CellSpec`].
    pub(super) spec: String,
    /// The layers of the image, the uppermost first.
    pub(super) layers: Vec<PathBuf>,
    /// The files at `/etc` by name, with their content.
    pub(super) files: Vec<(String, String)>,
    /// The most bytes that a cell may write to its file system; `None` is half of the memory.
    pub(super) size: Option<u64>,
}

/// How the first process of a cell has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CellExit {
    /// Its exit code; 128 and the signal's number when it was killed.
    pub(crate) code: i32,
    /// The kernel has killed a process of the cell for memory.
    pub(crate) out_of_memory: bool,
}

/// A report of the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeeperReport {
    /// The keeper takes orders.
    Ready,
    /// A mould is remembered, or why it is not.
    Adopted {
        /// Its number.
        mould: u64,
        /// Why it cannot be used.
        refused: Option<String>,
    },
    /// The command of a cell was started. With its process and its output, as descriptors.
    Launched {
        /// The cell.
        cell: String,
    },
    /// A cell could not be made, or has ended already. It is being removed. With its output, as a
    /// descriptor, if it had one.
    Failed {
        /// The cell.
        cell: String,
        /// What the runtime says, or the system.
        why: String,
        /// The end of its first process, if there was one.
        end: Option<CellExit>,
        /// The runtime has said so, and not the keeper.
        by_runtime: bool,
    },
    /// The first process of a cell has ended.
    Ended {
        /// The cell.
        cell: String,
        /// How.
        end: CellExit,
    },
    /// All that a cell had is removed. Also for a cell that is not known.
    Gone {
        /// The cell.
        cell: String,
    },
}
