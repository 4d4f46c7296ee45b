//! Who is connected now, and who is told when a connection ends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ganger_pool::core::{DaemonName, LaunchId, ServiceName};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access_log::{AccessLog, ConnLines};
use super::admission::Counters;
use super::record::{ConnId, ConnRecord, Recorder, ReplacedContainer};
use super::supply::StartKind;
use super::trace::{EndedSession, QueuePlace, SessionTrace};

/// How many records of ended connections are kept, the latest ones.
const KEPT: usize = 256;
/// The most connections that are looked at under one lock.
const AT_A_TIME: usize = 256;

/// The connections of the process: the open ones, and the latest that have ended.
pub struct Sessions {
    live: Mutex<BTreeMap<ConnId, Arc<Live>>>,
    ended: Mutex<VecDeque<EndedSession>>,
    recorders: Vec<Arc<dyn Recorder>>,
    last: AtomicU64,
}

/// An open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its number.
    pub id: ConnId,
    /// The service.
    pub service: ServiceName,
    /// The client's address.
    pub client: SocketAddr,
    /// How long it has been open.
    pub age: Duration,
    /// The container that serves it, if it has one.
    pub container: Option<ServingContainer>,
    /// Bytes from the client so far.
    pub bytes_in: u64,
    /// Bytes to the client so far.
    pub bytes_out: u64,
}

/// The container that serves a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingContainer {
    /// Its id, as the engine gives it.
    pub id: Arc<str>,
    /// Its launch.
    pub launch: LaunchId,
    /// The daemon that it is on.
    pub daemon: DaemonName,
    /// Which lease of the container this is; 1 is the first.
    pub uses: u32,
    /// How the lease was served.
    pub start: StartKind,
    /// From accept to the lease.
    pub after: Duration,
    /// How long the dial took; `None` until the container took it.
    pub dial: Option<Duration>,
}

/// A connection as its session and the readers share it.
#[derive(Debug)]
struct Live {
    service: ServiceName,
    client: SocketAddr,
    accepted: Instant,
    container: Mutex<Option<ServingContainer>>,
    bytes_in: Traffic,
    bytes_out: Traffic,
    /// From accept to the container's first byte, in nanoseconds; 0 before it.
    first_byte: AtomicU64,
    /// Its waits for a container.
    queued: Mutex<Vec<QueuePlace>>,
    /// Containers that failed before their first byte.
    replaced: Mutex<Vec<ReplacedContainer>>,
    counters: Arc<Counters>,
    cut: CancellationToken,
}

/// The bytes of one direction.
#[derive(Debug, Default)]
struct Traffic {
    moved: AtomicU64,
    /// The part of them that the service's counter has.
    counted: AtomicU64,
}

/// A session's entry among the open ones. Dropping it takes the session out.
#[derive(Debug)]
pub(super) struct SessionEntry {
    sessions: Arc<Sessions>,
    id: ConnId,
    live: Arc<Live>,
}

// === impl Sessions ===

impl Sessions {
    /// No connections yet. Their ends are logged, and told to `recorders` as well.
    #[must_use]
    pub fn new(recorders: Vec<Arc<dyn Recorder>>) -> Arc<Self> {
        Self::logging(ConnLines::default(), recorders)
    }

    /// The same, with the lines of the log written as `lines` says.
    #[must_use]
    pub fn logging(lines: ConnLines, mut recorders: Vec<Arc<dyn Recorder>>) -> Arc<Self> {
        recorders.insert(0, Arc::new(AccessLog(lines)));
        let (live, ended) = Default::default();
        Arc::new(Self { live, ended, recorders, last: AtomicU64::new(0) })
    }

    /// Who is connected now, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<SessionView> {
        let mut views = Vec::new();
        self.each(|id, live| views.push(live.view(id)));
        views
    }

    /// Adds the bytes that open connections have moved so far to the counters of their services.
    pub fn count_traffic(&self) {
        self.each(|_, live| live.count());
    }

    /// Shows all open connections, in the order in which they came: some at a time, because every
    /// connection takes the lock.
    fn each(&self, mut show: impl FnMut(ConnId, &Live)) {
        let mut next = ConnId(0);
        loop {
            let live = self.live.lock();
            let some = live.range(next..).take(AT_A_TIME);
            let some: Vec<_> = some.map(|(id, live)| (*id, Arc::clone(live))).collect();
            drop(live);
            some.iter().for_each(|(id, live)| show(*id, live));
            match some.last() {
                Some((last, _)) if some.len() == AT_A_TIME => next = ConnId(last.0 + 1),
                _ => return,
            }
        }
    }

    /// How many are connected now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live.lock().len()
    }

    /// Cuts a connection; false when it is not open.
    pub fn cut(&self, id: ConnId) -> bool {
        let live = self.live.lock().get(&id).cloned();
        live.inspect(|live| live.cut.cancel()).is_some()
    }

    /// The records of the latest connections that have ended, the oldest first.
    #[must_use]
    pub fn ended(&self) -> Vec<Arc<ConnRecord>> {
        self.ended.lock().iter().map(|ended| Arc::clone(&ended.record)).collect()
    }

    /// The known history of a connection that is open, or is one of the latest that have ended.
    #[must_use]
    pub fn trace(&self, id: ConnId) -> Option<SessionTrace> {
        let live = self.live.lock().get(&id).cloned();
        if let Some(live) = live {
            return Some(live.trace(id));
        }
        self.ended.lock().iter().rev().find(|ended| ended.record.id == id).map(SessionTrace::from)
    }

    /// The number of a connection that was accepted just now.
    pub(super) fn number(&self) -> ConnId {
        ConnId(self.last.fetch_add(1, Relaxed) + 1)
    }

    /// Enters a connection as open, until the entry is dropped. `cut` ends it.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: ConnId,
        (service, counters): (ServiceName, Arc<Counters>),
        client: SocketAddr,
        accepted: Instant,
        cut: CancellationToken,
    ) -> SessionEntry {
        self.recorders.iter().for_each(|recorder| recorder.began(id, &service, client));
        let live = Arc::new(Live {
            service,
            client,
            accepted,
            container: Mutex::default(),
            bytes_in: Traffic::default(),
            bytes_out: Traffic::default(),
            first_byte: AtomicU64::new(0),
            queued: Mutex::default(),
            replaced: Mutex::default(),
            counters,
            cut,
        });
        self.live.lock().insert(id, Arc::clone(&live));
        SessionEntry { sessions: Arc::clone(self), id, live }
    }

    /// Records the end of a connection that was never entered as open.
    pub(super) fn record(&self, record: ConnRecord) {
        self.keep(record, None);
    }

    fn keep(&self, record: ConnRecord, live: Option<&Live>) {
        self.recorders.iter().for_each(|recorder| recorder.ended(&record));
        let mut new = EndedSession::new(record);
        let mut ended = self.ended.lock();
        // Under this lock: a container replaced meanwhile is noted in one place or the other.
        if let Some(live) = live {
            new.replaced = std::mem::take(&mut *live.replaced.lock());
            new.queued = std::mem::take(&mut *live.queued.lock());
        }
        let oldest = if ended.len() == KEPT { ended.pop_front() } else { None };
        ended.push_back(new);
        // Freed outside of the lock.
        drop(ended);
        drop(oldest);
    }

    /// Records that a container was replaced. Its connection may have ended meanwhile.
    pub(super) fn record_replaced(&self, replaced: ReplacedContainer) {
        self.recorders.iter().for_each(|recorder| recorder.replaced(&replaced));
        let mut ended = self.ended.lock();
        let known = ended.iter_mut().rev().find(|ended| ended.record.id == replaced.id);
        if let Some(ended) = known {
            ended.replaced.push(replaced);
        } else if let Some(live) = self.live.lock().get(&replaced.id) {
            live.replaced.lock().push(replaced);
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("live", &self.live).finish_non_exhaustive()
    }
}

// === impl Live ===

impl Live {
    fn view(&self, id: ConnId) -> SessionView {
        SessionView {
            id,
            service: self.service.clone(),
            client: self.client,
            age: self.accepted.elapsed(),
            container: self.container.lock().clone(),
            bytes_in: self.bytes_in.moved.load(Relaxed),
            bytes_out: self.bytes_out.moved.load(Relaxed),
        }
    }

    fn trace(&self, id: ConnId) -> SessionTrace {
        let mut record = ConnRecord::new(id, self.service.clone(), self.client);
        let replaced = self.replaced.lock().clone();
        if let Some(serving) = self.container.lock().clone() {
            record.container = Some(serving.id);
            record.launch = Some(serving.launch);
            record.daemon = Some(serving.daemon);
            record.start = Some(serving.start);
            // The time of the first lease is not known once its container was replaced.
            record.wait = Some(serving.after).filter(|_| replaced.is_empty());
            record.leased = Some(serving.after);
            record.connect = serving.dial;
        }
        let first_byte = self.first_byte.load(Relaxed);
        record.first_byte = (first_byte > 0).then(|| Duration::from_nanos(first_byte));
        record.bytes_in = self.bytes_in.moved.load(Relaxed);
        record.bytes_out = self.bytes_out.moved.load(Relaxed);
        record.total = self.accepted.elapsed();
        let queued = self.queued.lock().clone();
        SessionTrace { record: Arc::new(record), queued, replaced, ended: None }
    }

    /// Adds what is not counted yet to the service's counters.
    fn count(&self) {
        self.counters.bytes_in.fetch_add(self.bytes_in.uncounted(), Relaxed);
        self.counters.bytes_out.fetch_add(self.bytes_out.uncounted(), Relaxed);
    }
}

// === impl Traffic ===

impl Traffic {
    /// Takes the bytes that were not counted yet, and counts them. Concurrent calls never get the
    /// same byte twice.
    fn uncounted(&self) -> u64 {
        let moved = self.moved.load(Relaxed);
        moved.saturating_sub(self.counted.fetch_max(moved, Relaxed))
    }
}

// === impl SessionEntry ===

impl SessionEntry {
    /// Records the end of its connection.
    pub(super) fn record(&self, record: ConnRecord) {
        self.sessions.keep(record, Some(&self.live));
    }

    /// The token that a cut of this session, or of all, cancels.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.live.cut
    }

    /// Notes that the session has begun to wait for a container.
    pub(super) fn queued(&self, place: QueuePlace) {
        self.live.queued.lock().push(place);
    }

    /// Notes the container that serves the session from now on, or none.
    pub(super) fn served_by(&self, container: Option<ServingContainer>) {
        *self.live.container.lock() = container;
    }

    /// Notes how long the dial of the container that serves it took.
    pub(super) fn dialled(&self, took: Duration) {
        if let Some(serving) = &mut *self.live.container.lock() {
            serving.dial = Some(took);
        }
    }

    /// Notes the bytes that were moved so far.
    pub(super) fn moved(&self, bytes_in: u64, bytes_out: u64) {
        if bytes_out > 0 && self.live.bytes_out.moved.load(Relaxed) == 0 {
            let after = self.live.accepted.elapsed().as_nanos();
            self.live.first_byte.store(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
        }
        self.live.bytes_in.moved.store(bytes_in, Relaxed);
        self.live.bytes_out.moved.store(bytes_out, Relaxed);
    }
}

impl Drop for SessionEntry {
    fn drop(&mut self) {
        self.live.count();
        self.sessions.live.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Admission;

    #[tokio::test]
    async fn what_a_connection_moves_is_counted_once_whoever_asks_meanwhile() {
        let (admission, sessions) = (Admission::new(1), Sessions::new(Vec::new()));
        let counters = admission.counters(&"echo".into());
        let counted = || {
            let counts = admission.counts().remove(&"echo".into()).unwrap();
            (counts.bytes_in, counts.bytes_out)
        };
        let (id, client, now) = (sessions.number(), ([192, 0, 2, 1], 9).into(), Instant::now());
        let named = ("echo".into(), counters);
        let entry = sessions.enter(id, named, client, now, CancellationToken::new());
        entry.moved(5, 7);
        assert_eq!(counted(), (0, 0));
        sessions.count_traffic();
        sessions.count_traffic();
        assert_eq!(counted(), (5, 7));
        entry.moved(6, 70);
        drop(entry);
        sessions.count_traffic();
        assert_eq!(counted(), (6, 70));
    }

    #[tokio::test]
    async fn more_are_listed_than_are_looked_at_at_a_time() {
        let (admission, sessions) = (Admission::new(1), Sessions::new(Vec::new()));
        let counters = admission.counters(&"echo".into());
        let enter = |_| {
            let named = ("echo".into(), Arc::clone(&counters));
            let (client, now) = (([192, 0, 2, 1], 9).into(), Instant::now());
            sessions.enter(sessions.number(), named, client, now, CancellationToken::new())
        };
        let entries: Vec<_> = (0..2 * AT_A_TIME).map(enter).collect();
        let listed: Vec<_> = sessions.list().iter().map(|view| view.id).collect();
        assert_eq!(listed, entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
    }
}
