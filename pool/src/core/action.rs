//! The actions of the ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{
    ContainerKey, DaemonName, Generation, LaunchId, Refusal, RetireReason, ServiceName, Stage,
    State, WaiterId,
};

/// An order or a report of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Launch a container. Answered by `Started` and `Ready`, or `LaunchFailed`.
    Launch {
        /// Its id.
        launch: LaunchId,
        /// The daemon.
        daemon: DaemonName,
        /// The service.
        service: ServiceName,
        /// The version of its spec.
        generation: Generation,
        /// The most containers that the daemon may hold, of all who share it.
        max_containers: u32,
    },
    /// Stop waiting for a launch to get ready. Answered by `LaunchFailed`.
    Interrupt {
        /// The launch.
        launch: LaunchId,
    },
    /// Check whether a container can serve again. Answered by `Checked`.
    Check {
        /// The launch.
        launch: LaunchId,
    },
    /// Remove a container, however long it takes. Answered by `Removed`.
    Retire {
        /// The daemon it is on.
        daemon: DaemonName,
        /// The container.
        key: ContainerKey,
        /// Why.
        reason: RetireReason,
        /// The service in whose stock it ended, if it did so.
        ended_in_stock: Option<ServiceName>,
    },
    /// A waiter begins to wait.
    Queued {
        /// The waiter.
        waiter: WaiterId,
        /// Its place: 1 is the next to be served. Nobody is behind it yet.
        place: u32,
    },
    /// A waiter gets a container.
    Grant {
        /// The waiter.
        waiter: WaiterId,
        /// The launch of the container.
        launch: LaunchId,
        /// The daemon it is on.
        daemon: DaemonName,
        /// How the lease was served.
        start: StartKind,
        /// Which lease of this container it is; 1 is the first.
        uses: u32,
        /// How many containers were ready, this one included.
        ready: u32,
    },
    /// A waiter gets nothing.
    Refuse {
        /// The waiter.
        waiter: WaiterId,
        /// The service that it asked for.
        service: ServiceName,
        /// Why.
        refusal: Refusal,
    },
    /// A daemon that left the fleet holds nothing any more: contact may end.
    Forget {
        /// The daemon.
        daemon: DaemonName,
    },
    /// Launches on a daemon fail by its fault, though there is contact.
    Degraded {
        /// The daemon.
        daemon: DaemonName,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A container was started on a daemon that was degraded.
    Recovered {
        /// The daemon.
        daemon: DaemonName,
    },
    /// A stock that sizes itself is to be of another size.
    Resized {
        /// The service.
        service: ServiceName,
        /// How many ready containers are kept from now on.
        warm: u32,
    },
    /// Containers of a service keep ending in stock by themselves: launches for the stock
    /// are paced until one serves.
    Paced {
        /// The service.
        service: ServiceName,
        /// The generation.
        generation: Generation,
        /// The longest pause before such a launch.
        pause: Duration,
    },
    /// A rollout went a step further.
    Advanced {
        /// The service.
        service: ServiceName,
        /// The new generation.
        generation: Generation,
        /// How far it is now.
        stage: Stage,
    },
    /// A generation has taken the place of the one before, which is not launched any more.
    SwitchedOver {
        /// The service.
        service: ServiceName,
        /// The new generation.
        generation: Generation,
    },
    /// A generation could not take the place of the one before, which goes on. The generation
    /// that was given up is not launched any more.
    RolledBack {
        /// The service.
        service: ServiceName,
        /// The one that is given up.
        generation: Generation,
        /// Why.
        why: GivenUp,
        /// The same in words, for people.
        reason: Arc<str>,
    },
    /// A container changed its state: only to be reported.
    Moved {
        /// The launch.
        launch: LaunchId,
        /// Its state before; `Removed` for a new one.
        from: State,
        /// Its state now.
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
    /// Another generation was asked for.
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
