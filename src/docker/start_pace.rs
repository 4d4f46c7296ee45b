//! How soon after their start cells are ready: whether clients can wait for that.

use std::fmt;
use std::time::Duration;

use ganger_pool::core::Generation;
use parking_lot::Mutex;

/// A service that takes longer until it listens has a started stock.
const SOON: Duration = Duration::from_millis(40);
/// After so many slow starts in a row the log says so.
const TIMES: u32 = 3;

/// How soon after their start the cells of a carrier are ready, by the last one that was seen.
#[derive(Debug, Default)]
pub(super) struct StartPace(Mutex<SeenPace>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SeenPace {
    /// No cell has been ready since one failed.
    #[default]
    Unknown,
    /// So soon that a client can wait for it, in this generation of the service and those before.
    Quick(Generation),
    /// Too late for a client: why, how often in a row, and whether that was told.
    Slow(Slowness, u32, bool),
}

/// Why the command of a cell is not started by the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slowness {
    /// It takes this long until the cell is ready.
    Takes(Duration),
    /// A part of a service of several processes may listen before all of it is ready.
    IsSeveral,
}

/// A cell that gets ready while a client waits for it. Dropped before it is, the next cell is started
/// and tried before anybody has it.
#[derive(Debug)]
pub(super) struct AwaitedCell<'c> {
    pace: &'c StartPace,
    is_ready: bool,
}

impl fmt::Display for Slowness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Takes(took) => write!(f, "it listens {took:.0?} after its start"),
            Self::IsSeveral => f.write_str("the service is several processes"),
        }
    }
}

// === impl StartPace ===

impl StartPace {
    /// Whether the cells of a generation are ready so soon after their start that a client can wait for
    /// it. The answer is no until a cell that no client waited for has got ready in time, and again
    /// after a cell that failed: so each generation has to prove itself, even one that runs what the
    /// generation before runs.
    pub(super) fn is_quick(&self, generation: Generation) -> bool {
        matches!(*self.0.lock(), SeenPace::Quick(proven) if generation <= proven)
    }

    /// Notes how a cell got ready that nobody waited for.
    pub(super) fn note_ready(&self, generation: Generation, took: Duration, is_several: bool) {
        let mut pace = self.0.lock();
        let slowness = match (is_several, took > SOON) {
            (true, _) => Some(Slowness::IsSeveral),
            (false, true) => Some(Slowness::Takes(took)),
            (false, false) => None,
        };
        *pace = match (slowness, *pace) {
            (None, SeenPace::Quick(proven)) => SeenPace::Quick(proven.max(generation)),
            (None, _) => SeenPace::Quick(generation),
            (Some(slowness), SeenPace::Slow(_, times, is_told)) => {
                SeenPace::Slow(slowness, times.saturating_add(1), is_told)
            }
            (Some(slowness), _) => SeenPace::Slow(slowness, 1, false),
        };
    }

    /// Notes that a cell has failed.
    pub(super) fn note_failed(&self) {
        *self.0.lock() = SeenPace::Unknown;
    }

    /// A cell gets ready while a client waits for it.
    pub(super) fn awaits_one(&self) -> AwaitedCell<'_> {
        AwaitedCell { pace: self, is_ready: false }
    }

    /// Why clients do not wait for the start of its cells, to be told: once, and not of a cell that was
    /// slow for once.
    pub(super) fn slowness(&self) -> Option<Slowness> {
        match &mut *self.0.lock() {
            SeenPace::Slow(slowness, TIMES.., is_told) => {
                (!std::mem::replace(is_told, true)).then_some(*slowness)
            }
            SeenPace::Slow(..) | SeenPace::Unknown | SeenPace::Quick(_) => None,
        }
    }
}

// === impl AwaitedCell ===

impl AwaitedCell<'_> {
    /// Notes that it is ready, and how long it took. After one that took too long the next one is
    /// measured.
    pub(super) fn got_ready(mut self, took: Duration) {
        self.is_ready = took <= SOON;
    }
}

impl Drop for AwaitedCell<'_> {
    fn drop(&mut self) {
        if !self.is_ready {
            self.pace.note_failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Generation = Generation::FIRST;
    const QUICK: Duration = Duration::from_millis(3);
    const SLOW: Duration = Duration::from_millis(300);

    #[test]
    fn a_generation_is_quick_once_a_cell_of_it_or_of_a_later_one_was() {
        let (pace, second) = (StartPace::default(), Generation(2));
        assert!(!pace.is_quick(FIRST));
        pace.note_ready(FIRST, QUICK, false);
        assert!(pace.is_quick(FIRST) && !pace.is_quick(second));
        pace.note_ready(second, QUICK, false);
        // The one before may come back by a roll-back.
        pace.note_ready(FIRST, QUICK, false);
        assert!(pace.is_quick(FIRST) && pace.is_quick(second));
        pace.note_failed();
        assert!(!pace.is_quick(FIRST) && !pace.is_quick(second));
    }

    #[test]
    fn a_start_that_a_client_waits_for_has_to_be_quick() {
        let pace = StartPace::default();
        for (took, is_quick) in [(Some(QUICK), true), (Some(SLOW), false), (None, false)] {
            pace.note_ready(FIRST, QUICK, false);
            let awaited = pace.awaits_one();
            if let Some(took) = took {
                awaited.got_ready(took);
            } else {
                drop(awaited);
            }
            assert_eq!(pace.is_quick(FIRST), is_quick, "{took:?}");
        }
    }

    #[test]
    fn slow_starts_are_told_once_and_not_one_alone() {
        let pace = StartPace::default();
        let told = |took, is_several| {
            pace.note_ready(FIRST, took, is_several);
            pace.slowness()
        };
        assert_eq!([told(SLOW, false), told(SLOW, false)], [None, None]);
        assert_eq!([told(QUICK, false), told(SLOW, false), told(SLOW, false)], [None; 3]);
        assert_eq!(told(QUICK, true), Some(Slowness::IsSeveral));
        assert_eq!(told(SLOW, false), None);
        assert!(!pace.is_quick(FIRST));
    }
}
