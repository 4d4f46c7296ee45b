//! One connection, from accept to its record.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::ServiceContext;
use super::admission::Ticket;
use super::dial::{Patience, SILENCE, dial};
use super::end::{End, EndCode, Phase, Who};
use super::last_words::give_back;
use super::limit::{self, Limit, Tried, broken, died, is_out_of_reach};
use super::record::ConnRecord;
use super::relay::{Event, Relay, Side};
use super::sessions::{ServingContainer, SessionEntry};
use super::socket::{self, Delivery, DeliveryLimits};
use super::supply::{Leased, Outcome, Refusal, Supply};
use super::trace::QueuePlace;
use super::workers::WorkerSlot;
use crate::reach::{Backend, Fate, unacknowledged};
use crate::spec::SessionSettings;

/// The most checks, within its limit, of a side that does not read.
const AGAIN: u32 = 4;

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) client: TcpStream,
    pub(super) accepted: Instant,
    pub(super) record: ConnRecord,
    pub(super) entry: SessionEntry,
    pub(super) ticket: Ticket,
    pub(super) place: WorkerSlot,
}

struct Session<S: Supply> {
    service: Arc<ServiceContext<S>>,
    client: TcpStream,
    accepted: Instant,
    phase: Phase,
    /// Held from the pool's grant until the connection, or the attempt, is over.
    lease: Option<S::Lease>,
    /// The connection into the leased container.
    container: Option<TcpStream>,
    relay: Relay,
    /// When the session time-out strikes; set by the first container's connection.
    expires: Option<Instant>,
    /// The container exited with code 0: a normal end, but no reuse.
    exited: bool,
    record: ConnRecord,
    /// Its entry among the open sessions, with the token that cuts it.
    entry: SessionEntry,
    /// Given back when all is over.
    _ticket: Ticket,
    _place: WorkerSlot,
}

/// Why there is no lease.
enum Unserved {
    Left(&'static str),
    Refused(Refusal),
}

/// Serves one client. Records how it ended, whatever happens.
///
/// # Cancel safety
/// Not meant to be dropped: the cut of its entry ends it in good order.
pub(super) async fn serve<S: Supply>(service: Arc<ServiceContext<S>>, arrival: Arrival) {
    let cut = arrival.entry.cut().clone();
    let mut session = Session::new(service, arrival);
    let end = tokio::select! {
        biased;
        () = cut.cancelled() => session.cut(),
        end = session.run() => end,
    };
    // Boxed, like all that is cold: the task is as large as its largest state.
    Box::pin(session.settle(end)).await;
}

// === impl Session ===

impl<S: Supply> Session<S> {
    fn new(service: Arc<ServiceContext<S>>, arrival: Arrival) -> Self {
        let Arrival { client, accepted, record, entry, ticket, place } = arrival;
        Self {
            client,
            accepted,
            phase: Phase::Queue,
            lease: None,
            container: None,
            relay: Relay::new(service.settings.session.connect.replay, accepted),
            expires: None,
            exited: false,
            record,
            entry,
            service,
            _ticket: ticket,
            _place: place,
        }
    }

    /// Tries containers until one serves the client or nothing is left to try.
    async fn run(&mut self) -> End {
        let SessionSettings { queue_timeout, connect, .. } = &self.service.settings.session;
        let (connect_timeout, mut left) = (connect.timeout, connect.retries);
        let mut deadline = self.accepted + *queue_timeout;
        let mut connecting = false;
        let mut failure: Option<End> = None;
        loop {
            if let Err(unserved) = Box::pin(self.take_lease(deadline)).await {
                return self.unserved(unserved, failure);
            }
            if failure.is_some() {
                self.service.counters.failovers.fetch_add(1, Relaxed);
            }
            self.phase = Phase::Connect;
            if !connecting {
                connecting = true;
                deadline = Instant::now() + connect_timeout;
            }
            let end = match Box::pin(self.dial(deadline, left == 0)).await {
                Ok(()) => {
                    self.phase = Phase::Data;
                    match self.relay().await {
                        Tried::Failed(end) if left > 0 && self.relay.rewind() => {
                            deadline = Instant::now() + connect_timeout;
                            end
                        }
                        Tried::Over(end) | Tried::Failed(end) => return end,
                    }
                }
                Err(end)
                    if left > 0
                        && matches!(end.code.who, Who::Container | Who::ContainerTimeout) =>
                {
                    end
                }
                Err(end) => return end,
            };
            left -= 1;
            self.give_up(end.clone());
            failure = Some(end);
        }
    }

    async fn take_lease(&mut self, deadline: Instant) -> Result<(), Unserved> {
        let ServiceContext { supply, settings, .. } = &*self.service;
        let queued =
            |place| self.entry.queued(QueuePlace { after: self.accepted.elapsed(), place });
        // The lease first: from stock it is there at once, and the client's
        // socket need not be asked.
        let lease = tokio::select! {
            biased;
            lease = supply.lease(&settings.name, deadline, &queued) => lease.map_err(Unserved::Refused)?,
            how = socket::left(&self.client, self.relay.bytes_in() > 0) => {
                return Err(Unserved::Left(how));
            }
        };
        let (launch, daemon) = (lease.launch(), lease.daemon().clone());
        let id: Arc<str> = lease.backend().id().into();
        let after = self.accepted.elapsed();
        self.record.wait.get_or_insert(after);
        self.record.leased = Some(after);
        self.record.container = Some(id.clone());
        self.record.launch = Some(launch);
        self.record.daemon = Some(daemon.clone());
        let (uses, start) = (lease.uses(), lease.start());
        self.record.start = Some(start);
        self.record.uses = Some((uses, lease.max_uses()));
        self.record.ready = Some(lease.ready());
        let serving = ServingContainer { id, launch, daemon, uses, start, after, dial: None };
        self.entry.served_by(Some(serving));
        self.lease = Some(lease);
        Ok(())
    }

    fn unserved(&self, unserved: Unserved, failure: Option<End>) -> End {
        match (unserved, failure) {
            (Unserved::Left(how), _) => End::new(Who::Client, self.phase, how),
            (Unserved::Refused(refusal), None) => refusal.into(),
            // The client had a container: that it failed is what matters.
            (Unserved::Refused(refusal), Some(mut failure)) => {
                let reason = failure.reason.unwrap_or_default();
                failure.reason = Some(format!("{reason}; then {refusal}"));
                failure
            }
        }
    }

    /// Connects to the leased container.
    async fn dial(&mut self, deadline: Instant, last: bool) -> Result<(), End> {
        let Some(lease) = &self.lease else {
            return Err(End::new(Who::Internal, Phase::Connect, "no lease to dial"));
        };
        let started = Instant::now();
        // Half of the time left, where there is another container to try.
        let left = deadline.saturating_duration_since(started);
        let (refused, silence) =
            if last { (deadline, left) } else { (started + left / 2, SILENCE.min(left / 2)) };
        let backend = Arc::clone(lease.backend());
        let container = dial(&*backend, Patience { deadline, silence, refused }).await?;
        let now = Instant::now();
        self.record.connect.get_or_insert(now - started);
        self.entry.dialled(now - started);
        self.relay.touch(now);
        if let (None, Some(session)) = (self.expires, self.service.settings.session.session_timeout)
        {
            self.expires = Some(now + session);
        }
        self.container = Some(container);
        Ok(())
    }

    /// Ends the lease of a container that failed, to take another. The client does not wait for
    /// that.
    fn give_up(&mut self, mut end: End) {
        // From now on, the phase of the next container.
        self.phase = Phase::Connect;
        if let Some(container) = self.container.take() {
            socket::reset_on_close(&container);
        }
        let Some(lease) = self.lease.take() else { return };
        self.entry.served_by(None);
        self.record.replaced += 1;
        let (outcome, cut) = (self.outcome(&end), self.entry.cut().clone());
        let (sessions, record) = (Arc::clone(&self.service.sessions), self.record.clone());
        let after = self.accepted.elapsed();
        tokio::spawn(async move {
            give_back(lease, outcome, &mut end, &cut).await;
            sessions.record_replaced(record.replaced_container(end, after));
        });
    }

    /// Moves bytes until the connection is over or the container failed early.
    async fn relay(&mut self) -> Tried {
        loop {
            match self.next_event().await {
                Ok(Event::Closed) => return Tried::Over(End::NORMAL),
                Ok(Event::ContainerEnded) => match Box::pin(self.fate()).await {
                    Fate::Running => self.relay.pass_end(&self.client),
                    // Nobody is left to read what the client may still send.
                    Fate::Finished => {
                        self.exited = true;
                        self.relay.pass_end(&self.client);
                        return Tried::Over(End::NORMAL);
                    }
                    Fate::Died { reason, exit_code, out_of_memory } => {
                        return Tried::Failed(died(&reason, exit_code, out_of_memory));
                    }
                },
                Ok(Event::Broken { side, error }) => {
                    return broken(side, is_out_of_reach(error.kind()));
                }
                Err(Limit::Unconfirmed(side, limit)) => {
                    if Box::pin(self.is_given_up(side, limit)).await {
                        return broken(side, true);
                    }
                }
                Err(limit) => return limit.on_expiry(self.relay.slow_side()),
            }
        }
    }

    /// Whether a side has left data unanswered for too long. Where the kernel cannot tell, the idle
    /// time-out and the kernel itself decide.
    async fn is_given_up(&mut self, side: Side, limit: Duration) -> bool {
        let told = match (side, &self.lease, &self.container) {
            (Side::Client, ..) => unacknowledged(&self.client),
            (Side::Container, Some(lease), Some(container)) => {
                let backend = Arc::clone(lease.backend());
                backend.unacknowledged(container).await
            }
            (Side::Container, ..) => Ok(None),
        };
        let told = told.unwrap_or_else(|error| {
            tracing::debug!(error = error.to_string(), "the kernel cannot be asked for its peers");
            None
        });
        let now = Instant::now();
        let waiting = told.filter(|told| told.bytes > 0);
        // Checked again when the silence may reach the limit, but at most `AGAIN` times in it.
        let again = waiting
            .map(|told| now.checked_sub(told.silence.min(limit - limit / AGAIN)).unwrap_or(now));
        self.relay.confirm(side, again);
        waiting.is_some_and(|told| told.is_given_up(limit))
    }

    /// Runs the relay up to its next event or a time-out. The timer looks at what has
    /// moved only when it fires, and is set anew when it is to fire earlier.
    async fn next_event(&mut self) -> Result<Event, Limit> {
        let Self { relay, client, container, service, expires, entry, .. } = self;
        let Some(container) = container else {
            return Err(Limit::NoContainer);
        };
        let (settings, expires) = (&service.settings, *expires);
        let next = |relay: &Relay| limit::next(relay, settings, expires);
        let mut timer = pin!(next(relay).map(|(due, _)| sleep_until(due)));
        poll_fn(|cx| {
            let event = relay.poll(cx, client, container);
            entry.moved(relay.bytes_in(), relay.bytes_out());
            if let Poll::Ready(event) = event {
                return Poll::Ready(Ok(event));
            }
            while let Some((due, limit)) = next(relay) {
                let Some(set) = timer.as_mut().as_pin_mut() else {
                    timer.set(Some(sleep_until(due)));
                    continue;
                };
                if due < set.deadline() || (set.deadline() < due && set.is_elapsed()) {
                    set.reset(due);
                    continue;
                }
                ready!(set.poll(cx));
                if Instant::now() >= due {
                    return Poll::Ready(Err(limit));
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn fate(&mut self) -> Fate {
        let Some(lease) = &self.lease else {
            return Fate::Running;
        };
        let backend = Arc::clone(lease.backend());
        backend.fate().await
    }

    /// How the lease of the container at hand ended.
    fn outcome(&self, end: &End) -> Outcome {
        let EndCode { who, phase } = end.code;
        match (who, phase) {
            (Who::Nobody, _) if self.exited => Outcome::Ended,
            (Who::Nobody, _) => Outcome::Clean,
            // The container was never dialled.
            (Who::Resources, Phase::Connect) => Outcome::Unused,
            (Who::Container | Who::ContainerTimeout, Phase::Connect)
            | (Who::Container | Who::Death, Phase::Data)
                if self.relay.bytes_in() == 0 && self.relay.bytes_out() == 0 =>
            {
                Outcome::FailedUnprovoked
            }
            _ => Outcome::Failed,
        }
    }

    /// The end by the operator's cut.
    fn cut(&self) -> End {
        self.service.counters.cut.fetch_add(1, Relaxed);
        End::new(Who::Operator, self.phase, "cut by the operator")
    }

    /// Ends both connections and the lease in the way that `end` asks for.
    async fn settle(mut self, mut end: End) {
        const RESET: EndCode = EndCode::new(Who::Container, Phase::Data);

        // A container that is killed may reset or end; the log is to tell why.
        if end.code == RESET
            && let Fate::Died { reason, exit_code, out_of_memory } = self.fate().await
        {
            end = died(&reason, exit_code, out_of_memory);
        }
        if let Some(container) = self.container.take()
            && !end.is_normal()
        {
            socket::reset_on_close(&container);
        }
        let outcome = self.outcome(&end);
        // From now on the container may serve another client.
        self.entry.served_by(None);
        let (code, cut, lease) = (end.code, self.entry.cut(), self.lease.take());
        let given_back = async {
            if let Some(lease) = lease {
                give_back(lease, outcome, &mut end, cut).await;
            }
        };
        let SessionSettings { idle, keepalive, .. } = self.service.settings.session;
        let limits = DeliveryLimits { idle, keepalive };
        let farewell = async {
            match code {
                EndCode::NORMAL if self.exited => socket::close_gently(self.client, limits).await,
                // The kernel delivers what is left, as it does for the container itself.
                EndCode::NORMAL => Delivery::Done,
                RESET | EndCode { who: Who::Death, phase: Phase::Data } => {
                    socket::reset_after_delivery(self.client, limits).await
                }
                _ => {
                    socket::reset_on_close(&self.client);
                    Delivery::Done
                }
            }
        };
        let service = Arc::clone(&self.service);
        let farewell = async {
            // The end of the delivery first: the session may be over because of the cut.
            tokio::select! {
                biased;
                delivery = farewell => Some(delivery),
                () = cut.cancelled() => {
                    service.counters.cut.fetch_add(1, Relaxed);
                    None
                }
            }
        };
        // Given back first: the next client need not wait for this one to read.
        let ((), delivery) = tokio::join!(biased; given_back, farewell);
        if end.is_normal() {
            end = match delivery {
                Some(Delivery::Done | Delivery::Waiting) => end,
                Some(Delivery::Vanished) => {
                    End::new(Who::ClientTimeout, Phase::Data, "the client vanished")
                }
                Some(Delivery::Idle) => End::new(Who::ClientTimeout, Phase::Data, "idle"),
                None => End::new(Who::Operator, Phase::Data, "cut by the operator"),
            };
        }
        let Self { accepted, relay, entry, mut record, .. } = self;
        record.first_byte = relay.first_byte().map(|then| then - accepted);
        record.bytes_in = relay.bytes_in();
        record.bytes_out = relay.bytes_out();
        entry.moved(record.bytes_in, record.bytes_out);
        entry.record(record.with_end(end, accepted.elapsed()));
    }
}
