//! The ends of a session that relays bytes: its time-outs, and connections that break.

use std::io::ErrorKind;
use std::time::Duration;

use ganger_pool::runtime::PostMortem;
use tokio::time::Instant;

use super::Settings;
use super::end::{End, Phase, Who};
use super::relay::{Relay, Side};
use crate::reach::GIVEN_UP_AFTER;

/// The outcome of trying one container.
pub(super) enum Tried {
    /// The connection is over.
    Over(End),
    /// The container failed: another may follow if the client has had no byte of it.
    Failed(End),
}

/// The limit that comes next, and when.
pub(super) fn next(
    relay: &Relay,
    settings: &Settings,
    expires: Option<Instant>,
) -> Option<(Instant, Limit)> {
    let silent =
        settings.session.first_byte.filter(|_| relay.owes_first_byte(settings.speaks_first));
    let silent = silent.map(|limit| (relay.active() + limit, Limit::FirstByte));
    let idle = settings.session.idle.map(|idle| (relay.active() + idle, Limit::Idle));
    let session = expires.map(|expires| (expires, Limit::Session));
    let unconfirmed = |side: Side, limit: Option<Duration>| {
        let (limit, since) = (limit?, relay.unconfirmed(side)?);
        Some((since + limit, Limit::Unconfirmed(side, limit)))
    };
    let client = unconfirmed(Side::Client, settings.session.keepalive);
    let container = unconfirmed(Side::Container, Some(GIVEN_UP_AFTER));
    let limits = session.into_iter().chain(silent).chain(idle);
    limits.chain(client).chain(container).min_by_key(|(due, _)| *due)
}

/// Whether a connection broke for want of any answer, and not because of its other end.
pub(super) fn is_out_of_reach(error: ErrorKind) -> bool {
    // The last two where the next hop does not answer: of what comes later, the kernel
    // tells what it was told.
    matches!(
        error,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    )
}

/// The end of a session with a broken connection: its other end reset it, or is `gone`.
pub(super) fn broken(side: Side, gone: bool) -> Tried {
    let (who, reason) = match (side, gone) {
        (Side::Client, false) => (Who::Client, "the client reset the connection"),
        (Side::Client, true) => (Who::ClientTimeout, "the client vanished"),
        (Side::Container, false) => (Who::Container, "the container reset the connection"),
        (Side::Container, true) => (Who::ContainerTimeout, "the container vanished"),
    };
    let end = End::new(who, Phase::Data, reason);
    match side {
        Side::Client => Tried::Over(end),
        Side::Container => Tried::Failed(end),
    }
}

pub(super) fn died(reason: &str, exit_code: Option<i64>, out_of_memory: bool) -> End {
    let post_mortem = Box::new(PostMortem { exit_code, out_of_memory, ..PostMortem::default() });
    let end = End::new(Who::Death, Phase::Data, format!("the container died: {reason}"));
    End { post_mortem: Some(post_mortem), ..end }
}

/// The limits of a session that relays bytes, besides the events of the relay.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    FirstByte,
    Idle,
    Session,
    /// A side may have answered nothing for this long: the kernel is to be asked.
    Unconfirmed(Side, Duration),
    /// There is no container to relay to.
    NoContainer,
}

// === impl Limit ===

impl Limit {
    /// The outcome when this limit is reached.
    pub(super) fn on_expiry(self, slow_side: Side) -> Tried {
        let (who, reason) = match (self, slow_side) {
            (Self::FirstByte, _) => {
                let reason = "the container did not answer within `timeouts.first_byte`";
                return Tried::Failed(End::new(Who::ContainerTimeout, Phase::Data, reason));
            }
            (Self::Session, _) => (Who::Limit, "the session time-out"),
            (Self::Unconfirmed(side, _), _) => return broken(side, true),
            (Self::NoContainer, _) => (Who::Internal, "no container to relay to"),
            (Self::Idle, Side::Client) => (Who::ClientTimeout, "idle"),
            (Self::Idle, Side::Container) => {
                (Who::ContainerTimeout, "idle: the container does not read")
            }
        };
        Tried::Over(End::new(who, Phase::Data, reason))
    }
}
