//! Updates from the running Ganger, again and again, also after contact was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::super::Failure;
use super::super::events::EventStream;
use super::super::remote::Remote;
use crate::admin::{ContainerStatus, Happening, SessionStatus, Status};

/// The interval of requests, and of retries.
const OFTEN: Duration = Duration::from_secs(1);

/// Something to show.
#[derive(Debug)]
pub(super) enum Update {
    /// The state of everything.
    Seen(Box<Outlook>),
    /// An event.
    Happened(Happening),
    /// Ganger does not answer, for this reason.
    Lost(String),
    /// The outcome of an order.
    Said(String),
}

/// The state of everything.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) status: Status,
    pub(super) sessions: Vec<SessionStatus>,
    pub(super) containers: Vec<ContainerStatus>,
}

/// The state of everything now.
pub(super) async fn look(remote: &Remote) -> Result<Outlook, Failure> {
    let status = remote.get("/api/v1/status").await?;
    let sessions = remote.get("/api/v1/sessions").await?;
    let containers = remote.get("/api/v1/containers").await?;
    Ok(Outlook { status, sessions, containers })
}

/// Looks once a second.
pub(super) async fn looks(remote: Arc<Remote>, updates: UnboundedSender<Update>) {
    let mut ticks = interval(OFTEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let update = match look(&remote).await {
            Ok(seen) => Update::Seen(Box::new(seen)),
            Err(Failure { message, .. }) => Update::Lost(message),
        };
        if updates.send(update).is_err() {
            return;
        }
    }
}

/// Follows events: those that are kept, then new ones.
pub(super) async fn events(remote: Arc<Remote>, updates: UnboundedSender<Update>) {
    loop {
        // [`looks`] reports lost contact.
        _ = follow(&remote, &updates).await;
        sleep(OFTEN).await;
    }
}

async fn follow(remote: &Remote, updates: &UnboundedSender<Update>) -> Result<(), Failure> {
    // Nobody is told when the verb has ended, and this task with it.
    let told = |happening| _ = updates.send(Update::Happened(happening));
    let known: Vec<Happening> = remote.get("/api/v1/events").await?;
    // The stream leaves out no event since that answer.
    let after = known.last().map_or(0, |happening| happening.id);
    known.into_iter().for_each(told);
    let mut stream = EventStream::open(remote, Some(after)).await?;
    while let Some(event) = stream.next(remote).await? {
        event.happening().into_iter().for_each(told);
    }
    Ok(())
}
