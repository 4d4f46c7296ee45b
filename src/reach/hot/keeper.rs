//! The watch over all connections that are made ahead, and those made in their place.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Experience, Hot, HotConnection, HotDial, SOON};
use crate::reactor;

/// The pause before another attempt, when a connection could not be made or was ended at once.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// The number of ends at once, or of failed connects, in a row after which a service is left alone.
pub(super) const ENOUGH: u32 = 3;
/// A connection is replaced after this part of the time after which its server gave up before.
const IN_TIME: f64 = 0.8;
/// The most ends that one call takes from the kernel.
const ENDS: usize = 64;

/// Watches connections, and makes others in place of those that end: in the runtime in which the
/// first of them is made.
pub(crate) struct HotKeeper<C: HotDial> {
    /// The epoll set, itself watched by the runtime's, once it is needed. A connection that is not
    /// watched, for lack of a set, is looked at when it is taken.
    ends: Mutex<Option<EndSet>>,
    kept: Mutex<KeptSlots<C>>,
    /// A connection is due earlier than all others.
    sooner: Notify,
}

/// An epoll set.
type EndSet = Arc<AsyncFd<OwnedFd>>;

struct KeptSlots<C: HotDial> {
    slots: HashMap<u64, KeptSlot<C>>,
    /// When connections are to be replaced, with their numbers.
    dues: BTreeSet<(Instant, u64)>,
    last: u64,
}

struct KeptSlot<C: HotDial> {
    hot: Weak<Hot<C>>,
    turn: u64,
    experience: Experience,
    due: Option<Instant>,
}

/// The outcome of a look at a connection.
enum Look {
    Fine,
    /// The connection is over, or is to be replaced before it is.
    Over {
        after: Duration,
    },
    Taken,
}

// === impl HotKeeper ===

impl<C: HotDial> HotKeeper<C> {
    /// The epoll set, with a task that waits for it until the runtime ends.
    fn ends(self: &Arc<Self>) -> Option<EndSet> {
        let mut ends = self.ends.lock();
        if ends.is_none() {
            let made = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from);
            match made.and_then(reactor::readable).map(Arc::new) {
                Ok(made) => {
                    tokio::spawn(run(Arc::clone(self), Arc::clone(&made)));
                    *ends = Some(made);
                }
                Err(error) => {
                    let error = error.to_string();
                    tracing::warn!(error, "a connection that is made ahead is not watched");
                }
            }
        }
        ends.clone()
    }

    /// Watches a connection of a turn.
    pub(super) fn watch(
        self: &Arc<Self>,
        hot: &Arc<Hot<C>>,
        turn: u64,
        stream: std::net::TcpStream,
        experience: Experience,
    ) -> HotConnection {
        let at = Instant::now();
        let due = experience.patience.map(|patience| at + patience.mul_f64(IN_TIME));
        let mut kept = self.kept.lock();
        kept.last += 1;
        let id = kept.last;
        kept.slots.insert(id, KeptSlot { hot: Arc::downgrade(hot), turn, experience, due });
        let is_next = due.is_some_and(|due| kept.dues.first().is_none_or(|(next, _)| due < *next));
        kept.dues.extend(due.map(|due| (due, id)));
        drop(kept);
        if let Some(ends) = self.ends() {
            let _ = epoll::add(&*ends, &stream, epoll::EventData::new_u64(id), END);
        }
        if is_next {
            self.sooner.notify_one();
        }
        HotConnection { id, stream, at, whole: false }
    }

    /// Watches a connection no more.
    pub(super) fn forget(&self, made: &HotConnection) {
        let ends = self.ends.lock().clone();
        if let Some(ends) = ends {
            let _ = epoll::delete(&*ends, &made.stream);
        }
        drop(self.kept.lock().take(made.id));
    }

    /// How many connections are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.kept.lock().slots.len()
    }

    fn next_due(&self) -> Option<Instant> {
        self.kept.lock().dues.first().map(|(due, _)| *due)
    }

    /// The connections that are to be replaced now.
    fn due(&self) -> Vec<u64> {
        let (now, kept) = (Instant::now(), self.kept.lock());
        kept.dues.iter().take_while(|(due, _)| *due <= now).map(|(_, id)| *id).collect()
    }

    /// Looks at a connection that has ended or is due.
    fn look(&self, id: u64) {
        let Some(slot) = self.kept.lock().take(id) else { return };
        let Some(hot) = slot.hot.upgrade() else { return };
        match hot.look(&slot) {
            // Its server has said all, and ended: nothing more can happen to it.
            Look::Fine | Look::Taken => {}
            Look::Over { after } => {
                _ = tokio::spawn(replace(Arc::downgrade(&hot), slot, after));
            }
        }
    }
}

/// The events that a connection is watched for: its end, once.
const END: epoll::EventFlags = epoll::EventFlags::RDHUP.union(epoll::EventFlags::ONESHOT);

/// Looks at connections when they end or are due.
async fn run<C: HotDial>(keeper: Arc<HotKeeper<C>>, ends: EndSet) {
    loop {
        let due = keeper.next_due();
        let is_due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The cheap ones first: none of them comes so often that another starves.
            biased;
            () = keeper.sooner.notified() => {}
            () = is_due => keeper.due().into_iter().for_each(|id| keeper.look(id)),
            ready = ends.readable() => {
                // The runtime is ending.
                let Ok(mut ready) = ready else { return };
                let ended = ended(&ends);
                if ended.is_empty() {
                    ready.clear_ready();
                }
                ended.into_iter().for_each(|id| keeper.look(id));
            }
        }
    }
}

/// The connections that have ended since they were asked for last, or some of them.
fn ended(ends: &AsyncFd<OwnedFd>) -> Vec<u64> {
    let mut events = Vec::with_capacity(ENDS);
    let waited = epoll::wait(ends, spare_capacity(&mut events), Some(&Timespec::default()));
    waited.map_or(Vec::new(), |_| events.iter().map(|event| event.data.u64()).collect())
}

/// Makes another connection in place of one that is over. Holds nothing while it waits: a container
/// that goes meanwhile lets its namespace go.
async fn replace<C: HotDial>(hot: Weak<Hot<C>>, slot: KeptSlot<C>, after: Duration) {
    let KeptSlot { turn, mut experience, .. } = slot;
    if after >= SOON {
        experience.in_vain = 0;
        let known = experience.patience;
        experience.patience = Some(known.map_or(after, |known| known.min(after)));
    } else {
        experience.in_vain += 1;
        sleep(PAUSE).await;
    }
    while experience.in_vain < ENOUGH {
        // A client that has taken it since must not share its server with another connection.
        let Some(to) = hot.upgrade().and_then(|hot| hot.target_in(turn)) else { return };
        // A connection that cannot be made is missing; a dial of the next session tells why.
        let made = timeout(SOON, to.connect()).await;
        drop(to);
        let made = made.ok().and_then(|made| made.ok()?.into_std().ok());
        let missing = hot.upgrade().is_some_and(|hot| hot.replaces(turn, made, experience));
        if !missing {
            return;
        }
        experience.in_vain += 1;
        sleep(PAUSE).await;
    }
}

// === impl Hot ===

impl<C: HotDial> Hot<C> {
    /// The target of connections, unless a turn is over.
    fn target_in(&self, turn: u64) -> Option<Arc<C>> {
        (self.state.lock().turn == turn).then(|| Arc::clone(&self.to))
    }

    /// Puts a connection, if it could be made, in place of that of a turn. Returns whether one is
    /// still missing.
    fn replaces(
        self: &Arc<Self>,
        turn: u64,
        made: Option<std::net::TcpStream>,
        experience: Experience,
    ) -> bool {
        let mut state = self.state.lock();
        match made {
            _ if state.turn != turn => false,
            Some(stream) => {
                self.put(&mut state, turn, stream, experience);
                false
            }
            None => true,
        }
    }

    /// A connection is replaced when it is over, and before that when the server is known to give
    /// up waiting.
    fn look(&self, slot: &KeptSlot<C>) -> Look {
        let mut state = self.state.lock();
        if state.turn != slot.turn {
            return Look::Taken;
        }
        let Some(made) = &mut state.made else { return Look::Taken };
        let age = made.at.elapsed();
        if made.is_over() {
            state.made = None;
            Look::Over { after: age }
        } else if !made.whole
            && let Some(after) = slot.experience.patience
            && slot.due.is_some_and(|due| due <= Instant::now())
        {
            Look::Over { after }
        } else {
            Look::Fine
        }
    }
}

// === impl KeptSlots ===

impl<C: HotDial> KeptSlots<C> {
    fn take(&mut self, id: u64) -> Option<KeptSlot<C>> {
        let slot = self.slots.remove(&id)?;
        if let Some(due) = slot.due {
            self.dues.remove(&(due, id));
        }
        Some(slot)
    }
}

impl<C: HotDial> Default for HotKeeper<C> {
    fn default() -> Self {
        let kept = KeptSlots { slots: HashMap::new(), dues: BTreeSet::new(), last: 0 };
        Self { ends: Mutex::default(), kept: Mutex::new(kept), sooner: Notify::new() }
    }
}

impl<C: HotDial> fmt::Debug for HotKeeper<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotKeeper").finish_non_exhaustive()
    }
}
