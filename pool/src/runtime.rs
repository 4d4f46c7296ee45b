//! The port to container engines: what the pool asks of an adapter.

mod findings;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;

pub use crate::core::{ContainerKey, Fault, Owned};
use crate::core::{DaemonName, Generation, LaunchId, ServiceName};
pub use findings::{LaunchFindings, LaunchPhase};

/// Runs containers on daemons.
///
/// The pool decides what is launched where and when; an implementation carries
/// it out and tells the truth about it. Implementations are shared between
/// tasks and called concurrently.
pub trait ContainerRuntime: Send + Sync + 'static {
    /// The spec of a service: image, command, limits. Opaque to the pool; a spec that
    /// differs from another is another generation.
    type Spec: PartialEq + Send + Sync + 'static;
    /// A started container, with all that the data path needs to reach it.
    /// Dropping the last clone of its `Arc` gives back what it holds.
    type Handle: fmt::Debug + Send + Sync + 'static;
    /// How a daemon is reached. Opaque to the pool. A changed endpoint of a
    /// known daemon is passed to `connect` again, and has to lead to the same
    /// engine: containers on another engine are not looked for.
    type Endpoint: fmt::Debug + Clone + PartialEq + Send + Sync + 'static;

    /// A number that other pools on the same daemons do not have. Pools that see the same
    /// at the same time then act at different times.
    fn salt(&self) -> u64 {
        0
    }

    /// Makes contact with a daemon and learns its facts. Called before any
    /// other call for that daemon, and again after contact was lost.
    ///
    /// # Errors
    /// The daemon cannot be reached or does not answer as an engine does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn connect(
        &self,
        daemon: &DaemonName,
        endpoint: &Self::Endpoint,
    ) -> impl Future<Output = Result<DaemonFacts, CallError>> + Send;

    /// Makes a daemon fit to launch a service: image present, a way to reach its containers.
    ///
    /// # Errors
    /// Why this daemon cannot run this service now. The pool asks again later.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the work half done; the next call goes on with it.
    fn prepare(
        &self,
        daemon: &DaemonName,
        service: &ServiceName,
        spec: &Arc<Self::Spec>,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Creates and starts a container. Readiness is not part of it.
    ///
    /// Has deadlines of its own and always ends. After any error the pool
    /// retires the launch, whatever the error says.
    ///
    /// # Errors
    /// See [`LaunchError`].
    ///
    /// # Cancel safety
    /// Not cancel safe for the caller: the pool never drops the future. Engine calls
    /// that are under way must go on when it is dropped, because the engine
    /// carries them out all the same.
    fn launch(
        &self,
        order: &LaunchOrder<Self::Spec>,
    ) -> impl Future<Output = Result<Arc<Self::Handle>, LaunchError>> + Send;

    /// Who may be at fault when a launched container did not get ready, asked at most once for
    /// each launch: the service, unless something that the container was given may be at fault.
    fn fault_of(&self, launch: LaunchId) -> Fault {
        _ = launch;
        Fault::Service
    }

    /// The post-mortem of a container that failed, before it is removed:
    /// exit code, whether the kernel killed it for memory, its last log lines.
    /// `None` when the daemon cannot tell.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn post_mortem(&self, target: &Target) -> impl Future<Output = Option<PostMortem>> + Send;

    /// Tries once to remove a container.
    ///
    /// # Errors
    /// The attempt failed; the pool tries again, for ever, with back-off.
    ///
    /// # Cancel safety
    /// The engine may carry out a removal whose future was dropped.
    fn retire(&self, target: &Target) -> impl Future<Output = Result<Removal, CallError>> + Send;

    /// Every container of this instance on a daemon, whatever its state and
    /// whichever boot made it, and how many others share its capacity.
    ///
    /// # Errors
    /// There is no complete list. A partial list is an error.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn list(&self, daemon: &DaemonName) -> impl Future<Output = Result<Listing, CallError>> + Send;

    /// Passes on the daemon's events about this boot's containers, and that others
    /// have come or gone, until the stream breaks. Events are only hints: the list is the truth.
    ///
    /// Calls `opened` when events have begun to arrive, or will within a tenth
    /// of a second: the pool then asks for a list, after a little longer than
    /// that, which shows what the events have missed.
    ///
    /// # Errors
    /// The stream always ends in one, which says why it broke.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream.
    fn events(
        &self,
        daemon: &DaemonName,
        sink: mpsc::UnboundedSender<RuntimeEvent>,
        opened: impl FnOnce() + Send,
    ) -> impl Future<Output = CallError> + Send;

    /// Forgets a daemon that left the fleet: no call for it will come before it
    /// is connected to again.
    fn forget(&self, daemon: &DaemonName) {
        _ = daemon;
    }
}

/// The facts about a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonFacts {
    /// Version of the engine, for people.
    pub version: String,
    /// Processors it runs containers on; sets how many launches may be in flight.
    pub cpus: u32,
}

/// An order to launch a container.
#[derive(Debug)]
pub struct LaunchOrder<S> {
    /// Its id, chosen by the ledger.
    pub launch: LaunchId,
    /// The daemon.
    pub daemon: DaemonName,
    /// The service.
    pub service: ServiceName,
    /// The version of its spec.
    pub generation: Generation,
    /// The spec.
    pub spec: Arc<S>,
    /// The most containers the daemon may hold, of all who share it. Whether there are
    /// more is known only once this one is created; if so, it must not be started.
    pub max_containers: u32,
}

/// A container on a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The daemon it is on.
    pub daemon: DaemonName,
    /// The container.
    pub key: ContainerKey,
}

/// The result of an attempt at removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The container is gone and stays gone: a complete list after the attempt does
    /// not show it, and no engine call of ours for it is unresolved.
    Gone,
    /// Not yet: its removal is in progress, or a call that may still create it
    /// is unresolved.
    Pending,
}

/// The containers on a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The containers of this instance.
    pub owned: Vec<Owned>,
    /// How many there are of others who share the daemon's capacity.
    pub others: u32,
}

/// An event on a daemon, seen on its event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// A container's process ended.
    Died(LaunchId),
    /// Somebody had the engine send a signal to a container's process: if the process ends
    /// next, then not by itself.
    Signalled(LaunchId),
    /// Somebody has paused or removed a container.
    Taken(LaunchId),
    /// The kernel killed one of a container's processes for memory; it may still run.
    OutOfMemory(LaunchId),
    /// Another who shares the daemon's capacity has made or removed a container.
    Others,
}

/// The post-mortem of a container that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostMortem {
    /// The engine's id of it, where that is known.
    pub container: Option<String>,
    /// Exit code of its process; `None` while it runs.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process of it for memory: while it runs, not its first one.
    pub out_of_memory: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// How it was taken away, if it was, for people: nobody is to blame for that.
    pub removed: Option<&'static str>,
    /// Its last log lines, oldest first: few, cut to size, and with nothing in them that a
    /// terminal obeys.
    pub log: Vec<String>,
    /// The setting to look at, by what it has logged, for people.
    pub hint: Option<String>,
}

impl fmt::Display for PostMortem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.how(), self.said())
    }
}

impl PostMortem {
    /// Somebody else has removed the container.
    pub const BY_SOMEBODY: Option<&'static str> = Some("somebody removed it");

    /// How the container ended, or is, for people.
    #[must_use]
    pub fn how(&self) -> String {
        if let Some(removed) = self.removed {
            return removed.to_owned();
        }
        let how = match self.exit_code {
            Some(code) => format!("exited with code {code}"),
            None if self.paused => "paused".to_owned(),
            None => "still running".to_owned(),
        };
        if self.out_of_memory { how + ", out of memory" } else { how }
    }

    /// The last log lines and the setting to look at, to follow [`PostMortem::how`]. May be
    /// empty.
    pub(crate) fn said(&self) -> String {
        let lines = (!self.log.is_empty()).then(|| format!(", {}", LastLines(&self.log)));
        let hint = self.hint.as_ref().map(|hint| format!("; see {hint}"));
        [lines, hint].into_iter().flatten().collect()
    }
}

/// The last lines that a container has logged, oldest first, in one line for people: the
/// cause often stands before the last. There has to be at least one.
#[derive(Debug, Clone, Copy)]
pub struct LastLines<'l>(pub &'l [String]);

impl fmt::Display for LastLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "last log line{many}: {}", self.0.join(" | "))
    }
}

/// A call to a daemon that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CallError {
    /// Whether contact with the daemon itself failed, as against a refusal by a working one.
    pub unreachable: bool,
    /// The error, with a remedy where there is one.
    pub message: String,
}

impl CallError {
    /// The daemon was not reached, or did not answer in time.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { unreachable: true, message: message.into() }
    }

    /// The daemon answered and said no.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { unreachable: false, message: message.into() }
    }
}

/// Why a launch failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct LaunchError {
    /// Who is at fault, which decides who backs off.
    pub fault: Fault,
    /// The error, with the setting that is the likely cause where there is one.
    pub message: String,
    /// The phase in which it failed.
    pub phase: LaunchPhase,
    /// The setting to look at, or what is wrong with the daemon, by what the engine has said.
    pub hint: Option<String>,
    /// The engine's id of the container, if that was created.
    pub container: Option<String>,
}

impl LaunchError {
    /// A failure to create the container, of which nothing else is known.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        let (phase, hint, container) = (LaunchPhase::Create, None, None);
        Self { fault, message: message.into(), phase, hint, container }
    }
}
