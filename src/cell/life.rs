//! How long a cell lives, and how it ends.

use tokio::sync::watch;

use super::message::CellExit;

/// The life of one cell.
#[derive(Debug)]
pub(crate) struct CellLife {
    end: watch::Sender<Option<CellEnd>>,
}

/// How a cell has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellEnd {
    /// Its first process has.
    Exited(CellExit),
    /// The cell was never started, or was killed with its keeper.
    Unknown,
}

// === impl CellEnd ===

impl CellEnd {
    /// The end of its first process, if that is known.
    pub(crate) fn exit(self) -> Option<CellExit> {
        match self {
            Self::Exited(exit) => Some(exit),
            Self::Unknown => None,
        }
    }
}

// === impl CellLife ===

impl CellLife {
    pub(super) fn over(&self, end: CellEnd) {
        self.end.send_if_modified(|known| known.is_none() && known.replace(end).is_none());
    }

    /// How it has ended, if it has.
    pub(crate) fn end(&self) -> Option<CellEnd> {
        *self.end.borrow()
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn ended(&self) -> CellEnd {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            _ => CellEnd::Unknown,
        }
    }
}

impl Default for CellLife {
    fn default() -> Self {
        Self { end: watch::Sender::new(None) }
    }
}
