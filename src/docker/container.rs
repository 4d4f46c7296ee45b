//! A started container: how it is reached, and what becomes of it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use ganger_pool::core::short_id;
use ganger_pool::runtime::CallError;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Spec;
use super::address::Address;
use super::cells::RunningCell;
use super::contact::Contact;
use super::daemon::Daemon;
use super::explain::{self, explain};
use super::hints::hint;
use super::post_mortem::last_lines;
use super::view::{Inspected, ProcessEnd};
use crate::reach::hot::{Hot, HotDial};
use crate::reach::neighbour::Neighbour;
use crate::reach::process::Process;
use crate::reach::{self, Backend, Fate, Listens, Unacknowledged};
use crate::spec::{Preconnect, Ready, StockedAs};

/// How long an engine may take to report the state of a container that may still run.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause between two looks whether a service listens that a client waits for.
const LOOK: Duration = Duration::from_millis(1);
/// How long an engine's report may lag behind the end of a published connection.
const LAG: Duration = Duration::from_millis(50);

/// A started container.
pub struct Container {
    pub(super) id: String,
    pub(super) daemon: Arc<Daemon>,
    pub(super) spec: Arc<Spec>,
    pub(super) address: Arc<Address>,
    pub(super) hot: Arc<Hot<Address>>,
    /// Set if it runs on this machine and is reached by a published port all the same.
    pub(super) neighbour: Option<Neighbour>,
    /// Its output from its start on, where that is wanted, until somebody takes it.
    pub(super) output: Mutex<Option<Output>>,
    /// Set if it is a cell, which its engine does not know.
    pub(super) cell: Option<Arc<RunningCell>>,
}

/// The output of a container, as it comes. Ends when the container or the connection does.
pub(crate) type Output = BoxStream<'static, Result<LogOutput, String>>;

// === impl Container ===

impl Container {
    /// The specification that it runs.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How it is reached.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether its service listens, asked of the kernel, without connecting to it:
    /// a connection uses up a service that accepts only once, and shows in one
    /// that counts connections.
    /// `None` where that cannot be known.
    pub(crate) async fn listens(&self) -> Option<io::Result<Listens>> {
        let port = self.spec.port;
        match (&*self.address, &self.neighbour) {
            (Address::Namespace { namespace, process }, _) => match namespace.listens().await {
                Err(_) => {
                    let listens = process.listens(port, false);
                    Some(listens.map(|listens| if listens { Listens::Yes } else { Listens::No }))
                }
                answered => Some(answered),
            },
            (Address::Published(_), Some(neighbour)) => match neighbour.listens(port) {
                // Another user's process.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
                listens => Some(listens),
            },
            (Address::Published(_), None) => None,
        }
    }

    /// Whether its service certainly listens, as far as that can be told without waiting, and need
    /// not show by anything else that it can serve.
    pub(crate) fn listens_at_once(&self) -> bool {
        match (&*self.address, &self.spec.ready) {
            (Address::Namespace { namespace, .. }, Ready::Tcp { .. }) => {
                namespace.listens_at_once()
            }
            _ => false,
        }
    }

    /// Its first process, where that is on this machine.
    pub(super) fn process(&self) -> Option<&Process> {
        match &*self.address {
            Address::Namespace { process, .. } => Some(process),
            Address::Published(_) => self.neighbour.as_ref().map(Neighbour::process),
        }
    }

    /// Whether its service is on this machine, and may be several processes.
    pub(crate) fn may_be_several(&self) -> bool {
        self.process().is_some_and(Process::may_be_several)
    }

    /// Whether its first process and the children of that do nothing, as far as is known here.
    pub(crate) fn rests(&self) -> bool {
        self.process().is_none_or(Process::rests)
    }

    /// Whether the kernel has killed a process in it for memory, as far as is known here.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.process().is_some_and(Process::ran_out_of_memory)
    }

    /// Makes a new connection, whether or not there is one made ahead.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        self.address.connect().await
    }

    /// Whether its command waits for the first lease.
    pub(crate) fn waits_for_a_lease(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.waits())
    }

    /// Notes how long its service took to get ready, without a client that waited for it.
    pub(crate) fn note_ready(&self, took: Duration) {
        if let Some(cell) = self.cell.as_ref().filter(|_| self.spec.stock == StockedAs::Created) {
            cell.carrier.pace.note_ready(cell.generation, took, self.may_be_several());
        }
    }

    /// Starts the command of a cell that was created ahead, and waits until its service listens.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a cell whose command may never be started: it has to be retired.
    async fn begin(&self, cell: &RunningCell) -> io::Result<()> {
        let (began, awaited) = (Instant::now(), cell.carrier.pace.awaits_one());
        cell.carrier.adopted.begin(&self.id).await.map_err(io::Error::other)?;
        self.step_done("begin", began);
        while !matches!(self.listens().await, Some(Ok(Listens::Yes))) {
            if self.process().is_none_or(Process::is_ending) {
                return Err(io::Error::other("its command ended before it listened"));
            }
            sleep(LOOK).await;
        }
        self.step_done("ready", began);
        awaited.got_ready(began.elapsed());
        Ok(())
    }

    /// Notes that a step of its launch, which began at `began`, is done.
    pub(crate) fn step_done(&self, name: &'static str, began: Instant) {
        self.daemon.observers.done(name, &self.id, began);
    }

    /// Whether its address certainly leads to this container, even if its engine does not answer.
    pub(crate) fn is_certain(&self) -> bool {
        match (&*self.address, &self.neighbour) {
            (Address::Namespace { .. }, _) => true,
            // A container keeps its port for as long as it lives.
            (Address::Published(_), Some(neighbour)) => !neighbour.process().is_ending(),
            // A connection that was made ahead leads to this container.
            (Address::Published(_), None) => self.hot.holds(),
        }
    }

    /// Makes a connection for the next dial, if its service wants one, or else prepares for it.
    /// With `first`, also waits for the service's banner, if that is wanted.
    ///
    /// Cancel safe.
    pub(crate) async fn preconnect(&self, first: bool) -> io::Result<()> {
        if self.spec.preconnect == Preconnect::Off {
            self.prepare();
            return Ok(());
        }
        let banner = first && self.spec.preconnect == Preconnect::Banner;
        if !self.hot.make(banner).await? && banner {
            tracing::debug!(container = short_id(&self.id), "the container says nothing by itself");
        }
        Ok(())
    }

    /// The same, of a container that was ready before, where that need not be waited for.
    pub(crate) fn preconnect_at_once(&self) -> Option<io::Result<()>> {
        let made = match self.spec.preconnect {
            Preconnect::Off => Some(Ok(())),
            Preconnect::Tcp | Preconnect::Banner => self.hot.make_at_once(),
        };
        self.prepare();
        made
    }

    /// Has sockets made for the next dials, in the background.
    fn prepare(&self) {
        if let Address::Namespace { namespace, .. } = &*self.address {
            namespace.prepare();
        }
    }

    /// The engine's inspection of the container; `None` when it is gone.
    pub(crate) async fn inspect(&self) -> Result<Option<Inspected>, CallError> {
        self.daemon.inspect(&self.id).await
    }

    /// Waits until its process has ended, and says how.
    ///
    /// Cancel safe.
    pub(crate) async fn ended(&self) -> ProcessEnd {
        match &*self.address {
            Address::Namespace { process, .. } => {
                process.ended().await;
                self.end().await
            }
            Address::Published(_) => loop {
                if let Some(end) = self.wait().await {
                    return end;
                }
                // Silence of the daemon says nothing of the container.
                sleep(Duration::from_secs(1)).await;
            },
        }
    }

    async fn wait(&self) -> Option<ProcessEnd> {
        let contact = self.daemon.contact().ok()?;
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let waiting = contact.client.wait_container(&self.id, Some(options));
        let answer = std::pin::pin!(waiting).next().await?;
        match answer {
            Ok(_) => Some(ProcessEnd::Exited { code: 0, out_of_memory: false }),
            Err(Error::DockerContainerWaitError { code, .. }) => {
                Some(ProcessEnd::Exited { code, out_of_memory: false })
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                Some(ProcessEnd::Removed)
            }
            Err(_) => None,
        }
    }

    /// All output since its start, and all that follows. For a second caller, or if the engine
    /// did not attach: the output that its log still has, and all that follows.
    pub(crate) fn output(&self) -> Result<Output, CallError> {
        if let Some(output) = self.output.lock().take() {
            return Ok(output);
        }
        let contact = self.daemon.contact()?;
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        Ok(readable(&self.daemon, contact.client.logs(&self.id, Some(options))))
    }

    /// How it ended, once its process has ended: asks until the engine has noticed.
    async fn end(&self) -> ProcessEnd {
        if let Some(cell) = &self.cell {
            let end = timeout(self.daemon.deadlines.notice, cell.end()).await;
            return end.unwrap_or(ProcessEnd::Unknown);
        }
        match timeout(self.daemon.deadlines.notice, self.daemon.end_of(&self.id)).await {
            Ok(Ok(end)) => end,
            Ok(Err(_)) | Err(_) => ProcessEnd::Unknown,
        }
    }
}

/// Attaches to a container before its start, for all of its output: its log has a bound, and
/// a reader of the log falls behind when much is printed.
///
/// # Cancel safety
/// Dropping the future, or what it returns, closes the connection.
pub(super) async fn attach(
    daemon: &Daemon,
    contact: &Contact,
    container: &str,
) -> Result<Output, CallError> {
    let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true);
    let attach = contact.client.attach_container(container, Some(options.build()));
    match timeout(daemon.deadlines.inspect, attach).await {
        Ok(Ok(attached)) => Ok(readable(daemon, attached.output)),
        Ok(Err(error)) => Err(CallError::refused(explain(&daemon.endpoint, &error))),
        Err(_) => {
            let deadline = daemon.deadlines.inspect;
            let message = explain::late(&daemon.endpoint, "the call to attach", deadline);
            Err(CallError::unreachable(message))
        }
    }
}

fn readable(
    daemon: &Daemon,
    output: impl Stream<Item = Result<LogOutput, Error>> + Send + 'static,
) -> Output {
    let endpoint = daemon.endpoint.clone();
    output.map(move |piece| piece.map_err(|error| explain(&endpoint, &error))).boxed()
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("id", &short_id(&self.id))
            .field("daemon", &self.daemon.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Backend for Container {
    fn id(&self) -> &str {
        &self.id
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        if let Some(stream) = self.hot.take() {
            return Ok(stream);
        }
        if let Some(cell) = self.cell.as_ref().filter(|cell| cell.take_wait()) {
            self.begin(cell).await?;
        }
        self.connect().await
    }

    async fn runs(&self) -> bool {
        match self.process() {
            Some(process) => !process.is_ending(),
            None => match self.daemon.inspect_in_turn(&self.id).await {
                Ok(seen) => seen.is_some_and(|seen| seen.state.end().is_none()),
                Err(_) => true,
            },
        }
    }

    async fn last_lines(&self) -> Vec<String> {
        if let Some(cell) = &self.cell {
            return cell.output.last_lines(cell.ended_already().is_some()).await;
        }
        // Only a few at once, when many die at once. The semaphore is never closed.
        let _permit = self.daemon.post_mortem_slots.acquire().await;
        last_lines(&self.daemon, &self.id).await
    }

    fn hint(&self, lines: &[String], out_of_memory: bool) -> Option<String> {
        hint(lines, out_of_memory)
    }

    /// By namespace the kernel answers, at once while the container lives. A
    /// published connection may end before the engine has seen its container's
    /// end, so that a second look is taken after 50 ms: an end that comes from the
    /// container's side is passed on that much later.
    async fn fate(&self) -> Fate {
        match &*self.address {
            Address::Namespace { process, .. } => {
                if !process.is_ending() {
                    return Fate::Running;
                }
                fate(self.end().await)
            }
            Address::Published(_) => {
                if self.process().is_some_and(Process::is_ending) {
                    return fate(self.end().await);
                }
                for look in 0..2 {
                    if look > 0 {
                        sleep(LAG).await;
                    }
                    match timeout(ANSWER, self.daemon.inspect_in_turn(&self.id)).await {
                        Ok(Ok(Some(seen))) => {
                            if let Some(end) = seen.state.end() {
                                return fate(end);
                            }
                        }
                        Ok(Ok(None)) => return fate(ProcessEnd::Removed),
                        // A daemon that is gone may have taken the container with it.
                        Ok(Err(_)) | Err(_) if self.neighbour.is_none() => {
                            return fate(ProcessEnd::Unknown);
                        }
                        Ok(Err(_)) | Err(_) => return Fate::Running,
                    }
                }
                Fate::Running
            }
        }
    }

    async fn unacknowledged(&self, connection: &TcpStream) -> io::Result<Option<Unacknowledged>> {
        match &*self.address {
            Address::Namespace { namespace, .. } => namespace.unacknowledged(connection).await,
            Address::Published(_) => reach::unacknowledged(connection),
        }
    }
}

/// Only an exit with code 0 counts as a good end.
fn fate(end: ProcessEnd) -> Fate {
    match end {
        ProcessEnd::Exited { code: 0, .. } => Fate::Finished,
        end => {
            let (exit_code, out_of_memory) = match end {
                ProcessEnd::Exited { code, out_of_memory } => (Some(code), out_of_memory),
                ProcessEnd::Removed | ProcessEnd::Unknown => (None, false),
            };
            Fate::Died { reason: end.to_string(), exit_code, out_of_memory }
        }
    }
}
