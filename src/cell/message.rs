//! The words between the process that wants cells and the keeper of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An order to the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeeperOrder {
    /// Remember how the cells of a carrier are made.
    Adopt {
        /// A number that no other has.
        number: u64,
        /// How they are made.
        pattern: Pattern,
    },
    /// No more cells of this carrier are made.
    Drop {
        /// The number of its pattern.
        pattern: u64,
    },
    /// Make a cell, and start its command unless that is to wait for another order.
    Launch {
        /// The id of the cell, which no other has.
        cell: String,
        /// The number of its pattern.
        pattern: u64,
        /// Its command waits for [`KeeperOrder::Begin`].
        waits: bool,
    },
    /// Start the command of a cell that waits for that.
    Begin {
        /// The id of the cell.
        cell: String,
    },
    /// Say that the keeper answers.
    Ping,
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
pub(crate) struct Pattern {
    /// The program that runs containers by a specification.
    pub(crate) runtime: PathBuf,
    /// The specification: see [`super::specification::CellSpec`].
    pub(crate) spec: String,
    /// The layers of the image, the uppermost first.
    pub(crate) layers: Vec<PathBuf>,
    /// The own files of cells at `/etc`, by name, with the content.
    pub(crate) files: Vec<(String, String)>,
    /// The most bytes that a cell may write to its file system; `None` is half of the memory.
    pub(crate) size: Option<u64>,
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
    /// The keeper takes orders. With its process, as a descriptor.
    Ready,
    /// The keeper answers.
    Alive,
    /// A pattern is remembered, or why it is not.
    Adopted {
        /// Its number.
        pattern: u64,
        /// Why it cannot be used.
        refused: Option<String>,
    },
    /// A cell was made, and its command started if it does not wait. With its process and its output,
    /// as descriptors.
    Launched {
        /// The cell.
        cell: String,
    },
    /// The command of a cell that has waited was started, or could not be started: the cell has ended
    /// then, or is killed.
    Begun {
        /// The cell.
        cell: String,
        /// Why it was not started.
        refused: Option<String>,
    },
    /// A cell could not be made, or has ended already. It is being removed. With its output, as a
    /// descriptor, if it had one.
    Failed {
        /// The cell.
        cell: String,
        /// The words of the runtime, or of the system.
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
        /// The way in which it has.
        end: CellExit,
    },
    /// All that a cell had is removed. Also for a cell that is not known.
    Gone {
        /// The cell.
        cell: String,
    },
}
