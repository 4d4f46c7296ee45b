//! The carriers on one engine, and the specifications that have one.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Spec;
use super::start_pace::StartPace;
use crate::cell::Adopted;
use crate::reach::process::Process;

/// How long a refusal holds before the reason for it is looked for again: the first one, and at most.
const REFUSED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// After this many failures in a row that are no service's, or carriers in a row that ended soon, a
/// service gets plain containers.
const FAILURES: u32 = 3;
/// A carrier that has lived for so long, with its keeper, has nothing to do with what failed before it.
const LONG: Duration = Duration::from_secs(60);

/// The carriers on one engine, whatever its address.
#[derive(Debug, Default)]
pub(super) struct Carriers(Mutex<KnownCarriers>);

#[derive(Debug, Default)]
struct KnownCarriers {
    all: Vec<(Weak<Spec>, CarrierSlot)>,
    /// Those that make no cells any more, and may have some.
    former: Vec<Arc<Carrier>>,
    /// No more carriers are to be made.
    closed: bool,
}

/// Where the launches of a specification find its carrier. Locked while one is made.
pub(super) type CarrierSlot = Arc<tokio::sync::Mutex<Option<Carrying>>>;

/// Whether a specification's containers are cells.
#[derive(Debug, Clone)]
pub(super) enum Carrying {
    /// They are cells of this carrier.
    Cells(Arc<Carrier>),
    /// They are plain containers, since when, and for how long until the reason is looked for again.
    Plain(Instant, Duration),
}

/// The container whose specification cells are made by.
#[derive(Debug)]
pub(super) struct Carrier {
    /// Its number among all holders.
    pub(super) number: u64,
    pub(super) process: Process,
    pub(super) adopted: Adopted,
    since: Instant,
    history: CarrierHistory,
    attempts: Mutex<Attempts>,
    /// How soon its cells are ready.
    pub(super) pace: StartPace,
}

/// What went before a carrier.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CarrierHistory {
    /// How long the last refusal held.
    pause: Option<Duration>,
    /// How many carriers in a row have ended soon, or their keepers.
    ended_soon: u32,
}

/// What came of the cells of a carrier.
#[derive(Debug, Default)]
struct Attempts {
    /// One was made.
    made: bool,
    /// How many in a row could not be made.
    failed: u32,
}

// === impl Carriers ===

impl Carriers {
    /// Where the carrier of a specification is found; `None` when no more are to be made.
    pub(super) fn place(&self, spec: &Arc<Spec>) -> Option<CarrierSlot> {
        let mut known = self.0.lock();
        if known.closed {
            return None;
        }
        let this = Arc::downgrade(spec);
        if let Some((_, place)) = known.all.iter().find(|(other, _)| other.ptr_eq(&this)) {
            return Some(Arc::clone(place));
        }
        let place = CarrierSlot::default();
        known.all.push((this, Arc::clone(&place)));
        Some(place)
    }

    /// Keeps a carrier that makes no cells any more for as long as it has some: their file systems
    /// would turn empty without it.
    pub(super) fn keep(&self, carrier: Arc<Carrier>) {
        self.0.lock().former.push(carrier);
    }

    /// Takes out the carriers that have no cells, and whose specifications nobody has any more.
    pub(super) fn unwanted(&self) -> Vec<Arc<Carrier>> {
        let mut known = self.0.lock();
        let KnownCarriers { all, former, .. } = &mut *known;
        all.retain(|(spec, place)| {
            if spec.strong_count() > 0 {
                return true;
            }
            let Ok(mut place) = place.try_lock() else { return true };
            former.extend(place.take().and_then(Carrying::carrier));
            false
        });
        former.extract_if(.., |carrier| Arc::strong_count(carrier) == 1).collect()
    }

    /// Takes out all places; there will be no new ones.
    pub(super) fn close(&self) -> Vec<CarrierSlot> {
        let mut known = self.0.lock();
        known.closed = true;
        let former = std::mem::take(&mut known.former).into_iter();
        let former =
            former.map(|carrier| Arc::new(tokio::sync::Mutex::new(Some(Carrying::Cells(carrier)))));
        let places: Vec<_> = known.all.drain(..).map(|(_, place)| place).collect();
        places.into_iter().chain(former).collect()
    }
}

// === impl Carrying ===

impl Carrying {
    pub(super) fn carrier(self) -> Option<Arc<Carrier>> {
        match self {
            Self::Cells(carrier) => Some(carrier),
            Self::Plain(..) => None,
        }
    }

    /// A refusal, which holds longer than the last one.
    pub(super) fn plain(history: CarrierHistory) -> Self {
        let (first, most) = REFUSED;
        Self::Plain(Instant::now(), history.pause.map_or(first, |before| (before * 2).min(most)))
    }

    /// What a carrier that is made after it is to know.
    pub(super) fn history(&self) -> CarrierHistory {
        match self {
            Self::Cells(carrier) => {
                let CarrierHistory { pause, ended_soon } = carrier.history;
                let was_long = carrier.since.elapsed() >= LONG;
                CarrierHistory {
                    // A runtime that hangs takes long, too, and makes none.
                    pause: pause.filter(|_| !(was_long && carrier.has_made_one())),
                    ended_soon: if was_long { 0 } else { ended_soon + 1 },
                }
            }
            Self::Plain(_, pause) => CarrierHistory { pause: Some(*pause), ended_soon: 0 },
        }
    }

    /// Whether it is to be found out anew.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Cells(carrier) => !carrier.carries(),
            Self::Plain(since, pause) => since.elapsed() >= *pause,
        }
    }
}

// === impl CarrierHistory ===

impl CarrierHistory {
    /// Whether carriers end again and again, so that there is no use in another now.
    pub(super) fn is_hopeless(self) -> bool {
        self.ended_soon >= FAILURES
    }
}

// === impl Carrier ===

impl Carrier {
    pub(super) fn new(
        number: u64,
        process: Process,
        adopted: Adopted,
        history: CarrierHistory,
    ) -> Self {
        let (since, attempts, pace) = (Instant::now(), Mutex::default(), StartPace::default());
        Self { number, process, adopted, since, history, attempts, pace }
    }

    /// Whether a cell of it was ever made: until then a runtime may fail of what is not the service's.
    pub(super) fn has_made_one(&self) -> bool {
        self.attempts.lock().made
    }

    /// Whether cells can be made by it.
    pub(super) fn carries(&self) -> bool {
        !self.process.is_ending() && self.adopted.is_kept()
    }

    /// Notes whether a cell could be made. Returns `false` when it is time to do without.
    pub(super) fn note(&self, made: bool) -> bool {
        let mut attempts = self.attempts.lock();
        attempts.made |= made;
        attempts.failed = if made { 0 } else { attempts.failed + 1 };
        attempts.failed < FAILURES
    }
}
