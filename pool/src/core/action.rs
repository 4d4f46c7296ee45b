//! What the ledger answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{
    ContainerKey, DaemonName, Generation, LaunchId, Refusal, RetireReason, ServiceName, Stage,
    State, WaiterId,
};

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Launch a container. Answered by `Started` and `Ready`, or `LaunchFailed`.
    Launch {
        /// Its id.
        launch: LaunchId,
        /// Where.
        daemon: DaemonName,
        /// Of which service.
        service: ServiceName,
        /// Which version of its spec.
        generation: Generation,
        /// The most containers the daemon may hold, of all who share it.
        capacity: u32,
    },
    /// Stop waiting for a launch to get ready. Answered by `LaunchFailed`.
    Interrupt {
        /// Which.
        launch: LaunchId,
    },
    /// Find out whether a container can serve again. Answered by `Checked`.
    Check {
        /// Which.
        launch: LaunchId,
    },
    /// Remove a container, however long it takes. Answered by `Removed`.
    Retire {
        /// The daemon it is on.
        daemon: DaemonName,
        /// Which.
        key: ContainerKey,
        /// Why.
        reason: RetireReason,
        /// Whose stock it was in, if it ended there by itself.
        ended_in_stock: Option<ServiceName>,
    },
    /// A waiter begins to wait.
    Queued {
        /// Who.
        waiter: WaiterId,
        /// Its place: 1 is the next to be served. Nobody is behind it yet.
        place: u32,
    },
    /// A waiter gets a container.
    Grant {
        /// Who.
        waiter: WaiterId,
        /// What.
        launch: LaunchId,
        /// The daemon it is on.
        daemon: DaemonName,
        /// How the lease was served.
        start: StartKind,
        /// Which lease of this container it is; 1 is the first.
        uses: u32,
        /// How many were ready, this one included.
        ready: u32,
    },
    /// A waiter gets nothing.
    Refuse {
        /// Who.
        waiter: WaiterId,
        /// The service that it wanted one of.
        service: ServiceName,
        /// Why.
        refusal: Refusal,
    },
    /// A daemon that left the fleet holds nothing any more: contact may end.
    Forget {
        /// Which.
        daemon: DaemonName,
    },
    /// Launches on a daemon fail by its fault. It has contact all the same.
    Degraded {
        /// Which.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A container was started on a daemon that was degraded.
    Recovered {
        /// Which.
        daemon: DaemonName,
    },
    /// A stock that sizes itself is to be of another size.
    Resized {
        /// Of which service.
        service: ServiceName,
        /// How many ready containers are kept from now on.
        warm: u32,
    },
    /// Containers of a service keep ending in stock by themselves: what is launched for the
    /// stock is paced, until one serves.
    Paced {
        /// Of which service.
        service: ServiceName,
        /// Of which generation.
        generation: Generation,
        /// The longest pause before each of them.
        pause: Duration,
    },
    /// A rollout went a step further.
    Advanced {
        /// Of which service.
        service: ServiceName,
        /// The new generation.
        generation: Generation,
        /// How far it is now.
        stage: Stage,
    },
    /// A generation has taken the place of the one before, which is launched no more.
    SwitchedOver {
        /// Of which service.
        service: ServiceName,
        /// The new one.
        generation: Generation,
    },
    /// A generation could not take the place of the one before, which goes on.
    /// It is launched no more.
    RolledBack {
        /// Of which service.
        service: ServiceName,
        /// The one that is given up.
        generation: Generation,
        /// Why.
        why: GivenUp,
        /// The same in words, for people.
        reason: Arc<str>,
    },
    /// A container changed its state; nothing to be done but to tell it.
    Moved {
        /// Which.
        launch: LaunchId,
        /// From where; `Removed` for a new one.
        from: State,
        /// To where.
        to: State,
    },
}

/// Why a generation was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// Its containers failed, or leases of them did.
    Failed,
    /// No daemon that answers can launch it.
    Refused,
    /// Another was asked for.
    Replaced,
    /// The operator has ordered it.
    Operator,
}

/// How a lease was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartKind {
    /// From stock, fresh.
    Warm,
    /// A container that was leased before.
    Reused,
    /// The stock was empty: waited for a fresh container.
    Cold,
}

// === impl StartKind ===

impl fmt::Display for StartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warm => "warm",
            Self::Reused => "reused",
            Self::Cold => "cold",
        })
    }
}
