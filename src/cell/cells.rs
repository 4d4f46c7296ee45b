//! The side of the process that wants cells: what it has ordered, and what has become of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ganger_pool::runtime::{CallError, Removal};
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::channel::CellChannel;
use super::groups::{Groups, own_processes};
use super::keeper::ENDED_AT_ONCE;
use super::message::{CellExit, KeeperOrder, KeeperReport, Mould};

/// What stands for the process that writes it.
const OURSELVES: &str = "0";
/// How long a keeper has to get ready, and to look at what a carrier's cells are made of.
const PROMPT: Duration = Duration::from_secs(10);
/// How long one attempt to remove a cell waits for its end.
const REMOVAL: Duration = Duration::from_secs(5);

/// The cells of this run. Starts a keeper when one is needed.
pub(crate) struct Cells {
    group: String,
    /// Starts a keeper; none where there are to be no cells.
    command: Option<Mutex<Command>>,
    /// Locked while a keeper is started.
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    /// No more keepers are started.
    is_closed: AtomicBool,
    /// The file that moves processes into our own control group is being written to.
    is_waking: Arc<AtomicBool>,
    /// Every cell whose removal was not confirmed.
    known: Arc<Mutex<BTreeMap<String, Arc<CellLife>>>>,
}

/// How the cells of a carrier are made.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// The program that runs containers by a specification.
    pub(crate) runtime: PathBuf,
    /// Their specification.
    pub(crate) spec: String,
    /// The layers of the image, the uppermost first.
    pub(crate) layers: Vec<PathBuf>,
    /// Their own files at `/etc`, by name, with the content.
    pub(crate) files: Vec<(String, String)>,
    /// The most bytes that a cell may write to its file system.
    pub(crate) size: Option<u64>,
}

/// A pattern that the keeper has.
#[derive(Debug)]
pub(crate) struct Adopted {
    number: u64,
    link: Arc<Link>,
}

/// One cell.
#[derive(Debug)]
pub(crate) struct CellLife {
    end: watch::Sender<Option<CellEnd>>,
}

/// How a cell has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellEnd {
    /// Its first process has.
    Exited(CellExit),
    /// It was never started, or was killed with its keeper.
    Unknown,
}

/// A cell that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// The number of its first process.
    pub(crate) pid: i32,
    /// What it prints.
    pub(crate) output: OwnedFd,
}

/// A cell that was not made, or ended at once.
#[derive(Debug)]
pub(crate) struct FailedCell {
    /// Why, in the words of the runtime where it has some.
    pub(crate) why: String,
    /// The end of its first process, if there was one.
    pub(crate) end: Option<CellExit>,
    /// What it has printed, if it was begun.
    pub(crate) output: Option<OwnedFd>,
    /// The runtime has said why, and not the keeper or this process.
    pub(crate) by_runtime: bool,
}

/// The connection to one keeper.
struct Link {
    channel: CellChannel,
    /// The keeper has ended.
    ended: watch::Sender<bool>,
    waiting: Mutex<LinkWaiters>,
}

/// Who waits for an answer of the keeper. None once it has ended.
#[derive(Debug, Default)]
struct LinkWaiters {
    has_ended: bool,
    ready: Option<oneshot::Sender<()>>,
    adopting: HashMap<u64, oneshot::Sender<Option<String>>>,
    launching: HashMap<String, oneshot::Sender<Result<Started, FailedCell>>>,
    /// The output of cells that had ended when their start was told, until their end is.
    ended: HashMap<String, Option<OwnedFd>>,
    removing: HashMap<String, Vec<oneshot::Sender<()>>>,
}

// === impl Cells ===

impl Cells {
    /// The cells of a run, in the control group of this name. `command` starts a keeper.
    pub(crate) fn new(group: String, command: Option<std::process::Command>) -> Self {
        let command = command.map(|command| Mutex::new(Command::from(command)));
        let (link, is_closed) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        Self { group, command, link, is_closed, is_waking: Arc::default(), known: Arc::default() }
    }

    /// The control group of all cells.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Has the keeper remember how the cells of a carrier are made.
    ///
    /// # Errors
    /// Why there can be none.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the keeper with a pattern that nobody uses.
    pub(crate) async fn adopt(&self, pattern: Pattern) -> Result<Adopted, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let link = self.link().await?;
        let number = NEXT.fetch_add(1, Relaxed);
        let Pattern { runtime, spec, layers, files, size } = pattern;
        let (sender, answer) = oneshot::channel();
        link.wait_for(|waiting| _ = waiting.adopting.insert(number, sender))?;
        link.order(&KeeperOrder::Adopt(Mould { number, runtime, spec, layers, files, size }))
            .await?;
        match timeout(PROMPT, answer).await {
            Ok(Ok(None)) => Ok(Adopted { number, link }),
            Ok(Ok(Some(refused))) => Err(refused),
            Ok(Err(_)) => Err(KEEPER_ENDED.to_owned()),
            Err(_) => Err(format!("the keeper of cells gave no answer within {PROMPT:?}")),
        }
    }

    /// Makes a cell and starts its command. Until its removal is confirmed it is known, whatever
    /// comes of this.
    ///
    /// # Errors
    /// Why there is none, in the words of the runtime where it has some.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a cell that may be started.
    pub(crate) async fn launch(
        &self,
        adopted: &Adopted,
        id: &str,
    ) -> Result<(Arc<CellLife>, Started), FailedCell> {
        self.wake_groups();
        let cell = Arc::new(CellLife { end: watch::Sender::new(None) });
        let (sender, answer) = oneshot::channel();
        let Adopted { number: mould, link } = adopted;
        link.wait_for(|waiting| {
            waiting.launching.insert(id.to_owned(), sender);
            self.known.lock().insert(id.to_owned(), Arc::clone(&cell));
        })?;
        let order = KeeperOrder::Launch { cell: id.to_owned(), mould: *mould };
        if let Err(why) = link.order(&order).await {
            // Whoever is told so asks next whether the keeper lives.
            _ = timeout(PROMPT, link.ended.subscribe().wait_for(|ended| *ended)).await;
            return Err(why.into());
        }
        match answer.await {
            Ok(started) => started.map(|started| (cell, started)),
            Err(_) => Err(KEEPER_ENDED.to_owned().into()),
        }
    }

    /// Tries once to remove a cell.
    ///
    /// # Errors
    /// What of it cannot be removed.
    ///
    /// # Cancel safety
    /// The keeper goes on with a removal whose future was dropped.
    pub(crate) async fn remove(&self, id: &str) -> Result<Removal, CallError> {
        let link = self.link.lock().await.clone();
        let (sender, gone) = oneshot::channel();
        let asked = link.as_ref().map(|link| {
            link.wait_for(|w| w.removing.entry(id.to_owned()).or_default().push(sender))
        });
        match (link, asked) {
            (Some(link), Some(Ok(()))) => {
                let cell = id.to_owned();
                link.order(&KeeperOrder::Retire { cell }).await.map_err(CallError::refused)?;
                match timeout(REMOVAL, gone).await {
                    Ok(Ok(())) => self.forget(id),
                    Ok(Err(_)) | Err(_) => return Ok(Removal::Pending),
                }
            }
            // Its processes have ended with the keeper, or are about to.
            _ => {
                let (group, cell) = (self.group.clone(), id.to_owned());
                let clear = move || Groups::find(&group).and_then(|groups| groups.remove(&cell));
                match tokio::task::spawn_blocking(clear).await {
                    Ok(Ok(())) => self.forget(id),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => {
                        return Ok(Removal::Pending);
                    }
                    Ok(Err(error)) => return Err(CallError::refused(error.to_string())),
                    Err(error) => return Err(CallError::refused(error.to_string())),
                }
            }
        }
        Ok(Removal::Gone)
    }

    /// Has the kernel get ready to move a process into a control group, which the runtime does some
    /// milliseconds from now: the first move after a while waits for as long as every processor needs to
    /// notice, 5 to 20 ms. A move into the group that we are in changes nothing.
    fn wake_groups(&self) {
        if self.is_waking.swap(true, Relaxed) {
            return;
        }
        let is_waking = Arc::clone(&self.is_waking);
        tokio::task::spawn_blocking(move || {
            if let Some(file) = own_processes() {
                // Without the right to it, the first cell takes longer.
                _ = fs::write(file, OURSELVES);
            }
            is_waking.store(false, Relaxed);
        });
    }

    fn forget(&self, id: &str) {
        self.known.lock().remove(id);
    }

    /// Ends the keeper, and waits until it has ended: nothing is left of any cell then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the keeper to end by itself.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Relaxed);
        let Some(link) = self.link.lock().await.take() else { return };
        // One that takes no order has ended.
        if link.order(&KeeperOrder::End).await.is_ok() {
            _ = link.ended.subscribe().wait_for(|ended| *ended).await;
        }
    }

    /// Whether a cell is known whose removal was not confirmed, and whether it may run.
    pub(crate) fn runs(&self, id: &str) -> Option<bool> {
        self.known.lock().get(id).map(|cell| cell.end.borrow().is_none())
    }

    /// The keeper, started now if there is none.
    async fn link(&self) -> Result<Arc<Link>, String> {
        let mut known = self.link.lock().await;
        if let Some(link) = known.as_ref().filter(|link| !link.waiting.lock().has_ended) {
            return Ok(Arc::clone(link));
        }
        if self.is_closed.load(Relaxed) {
            return Err("no more cells are made".to_owned());
        }
        let command = self.command.as_ref().ok_or("cells are for `ganger run`")?;
        let failed = |error: io::Error| format!("the keeper of cells cannot be started: {error}");
        let (end, its_end) = CellChannel::pair().map_err(failed)?;
        let mut child = command.lock().stdin(Stdio::from(its_end)).spawn().map_err(failed)?;
        // Else the other end would not be closed when the keeper ends.
        command.lock().stdin(Stdio::null());
        // It starts another process, and ends.
        let status = timeout(PROMPT, child.wait()).await;
        let status =
            status.map_err(|_| format!("the keeper of cells is not there after {PROMPT:?}"));
        let status = status?.map_err(failed)?;
        if !status.success() {
            return Err(format!("the keeper of cells did not start: {status}"));
        }
        let (ready, is_ready) = oneshot::channel();
        let waiting = Mutex::new(LinkWaiters { ready: Some(ready), ..LinkWaiters::default() });
        let (channel, ended) = (CellChannel::new(end).map_err(failed)?, watch::Sender::new(false));
        let link = Arc::new(Link { channel, ended, waiting });
        let following = tokio::spawn(follow(Arc::clone(&link), Arc::clone(&self.known)));
        // Dropped before the keeper is ready, it ends that.
        let following = AbortOnDropHandle::new(following);
        match timeout(PROMPT, is_ready).await {
            Ok(Ok(())) => {
                _ = following.detach();
                Ok(Arc::clone(known.insert(link)))
            }
            Ok(Err(_)) => Err("the keeper of cells ended before it was ready".to_owned()),
            Err(_) => Err(format!("the keeper of cells is not ready after {PROMPT:?}")),
        }
    }

    /// Makes sure of the keeper.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.link().await.map(drop)
    }
}

const KEEPER_ENDED: &str = "the keeper of cells has ended, and every cell with it";

/// Hears what a keeper reports, until it ends.
async fn follow(link: Arc<Link>, known: Arc<Mutex<BTreeMap<String, Arc<CellLife>>>>) {
    let ended = loop {
        match link.channel.receive::<KeeperReport>().await {
            Ok(Some((report, descriptors))) => link.hear(report, descriptors, &known),
            Ok(None) => break "it has ended".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    tracing::debug!(why = ended, "the keeper of cells is gone");
    let waiting = LinkWaiters { has_ended: true, ..LinkWaiters::default() };
    // Whoever waits is told by that.
    drop(std::mem::replace(&mut *link.waiting.lock(), waiting));
    link.channel.close();
    link.ended.send_replace(true);
    for cell in known.lock().values() {
        cell.over(CellEnd::Unknown);
    }
}

// === impl Link ===

impl Link {
    /// Notes who waits for an answer.
    fn wait_for(&self, note: impl FnOnce(&mut LinkWaiters)) -> Result<(), String> {
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(KEEPER_ENDED.to_owned());
        }
        note(&mut waiting);
        Ok(())
    }

    async fn order(&self, order: &KeeperOrder) -> Result<(), String> {
        let sent = self.channel.send(order, &[]).await;
        sent.map_err(|error| format!("the keeper of cells takes no order: {error}"))
    }

    fn hear(
        &self,
        report: KeeperReport,
        descriptors: Vec<OwnedFd>,
        known: &Mutex<BTreeMap<String, Arc<CellLife>>>,
    ) {
        let mut descriptors = descriptors.into_iter();
        let mut waiting = self.waiting.lock();
        // Who has given up does not hear the answer.
        match report {
            KeeperReport::Ready => _ = waiting.ready.take().map(|ready| ready.send(())),
            KeeperReport::Adopted { mould, refused } => {
                _ = waiting.adopting.remove(&mould).map(|sender| sender.send(refused));
            }
            KeeperReport::Launched { cell } => {
                match started(descriptors.next(), descriptors.next()) {
                    Ok(started) => {
                        _ = waiting.launching.remove(&cell).map(|sender| sender.send(Ok(started)));
                    }
                    // It has ended, and was waited for, meanwhile: how, the keeper tells next.
                    Err(output) => _ = waiting.ended.insert(cell, output),
                }
            }
            KeeperReport::Failed { cell, why, end, by_runtime } => {
                if let Some(cell) = known.lock().get(&cell) {
                    cell.over(end.map_or(CellEnd::Unknown, CellEnd::Exited));
                }
                let output = descriptors.next();
                let failed = FailedCell { why, end, output, by_runtime };
                _ = waiting.launching.remove(&cell).map(|sender| sender.send(Err(failed)));
            }
            KeeperReport::Ended { cell, end } => {
                if let Some(life) = known.lock().get(&cell) {
                    life.over(CellEnd::Exited(end));
                }
                if let Some(output) = waiting.ended.remove(&cell) {
                    let why = format!("exited with code {} {ENDED_AT_ONCE}", end.code);
                    let failed = FailedCell { why, end: Some(end), output, by_runtime: true };
                    _ = waiting.launching.remove(&cell).map(|sender| sender.send(Err(failed)));
                }
            }
            KeeperReport::Gone { cell } => {
                waiting.launching.remove(&cell);
                waiting.ended.remove(&cell);
                for sender in waiting.removing.remove(&cell).into_iter().flatten() {
                    _ = sender.send(());
                }
            }
        }
    }
}

impl From<String> for FailedCell {
    fn from(why: String) -> Self {
        Self { why, end: None, output: None, by_runtime: false }
    }
}

/// Reads the number of a process from its descriptor: the keeper knows it by another one. Returns
/// the output alone if the process has ended.
fn started(process: Option<OwnedFd>, output: Option<OwnedFd>) -> Result<Started, Option<OwnedFd>> {
    let pid = process.and_then(|process| {
        let info = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
        let info = fs::read_to_string(info).ok()?;
        info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
    });
    match (pid, output) {
        (Some(pid), Some(output)) if pid > 0 => Ok(Started { pid, output }),
        (_, output) => Err(output),
    }
}

// === impl Adopted ===

impl Adopted {
    /// Whether the keeper that has it runs.
    pub(crate) fn is_kept(&self) -> bool {
        !self.link.waiting.lock().has_ended
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        let (link, order) = (Arc::clone(&self.link), KeeperOrder::Drop { mould: self.number });
        if let Ok(runtime) = Handle::try_current() {
            // A keeper that has ended knows of nothing.
            runtime.spawn(async move { link.order(&order).await });
        }
    }
}

// === impl CellEnd ===

impl CellEnd {
    /// The end of its first process, if that is known.
    pub(crate) fn exit(self) -> Option<CellExit> {
        match self {
            Self::Exited(exit) => Some(exit),
            Self::Unknown => None,
        }
    }
}

// === impl CellLife ===

impl CellLife {
    fn over(&self, end: CellEnd) {
        self.end.send_if_modified(|known| known.is_none() && known.replace(end).is_none());
    }

    /// How it has ended, if it has.
    pub(crate) fn end(&self) -> Option<CellEnd> {
        *self.end.borrow()
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn ended(&self) -> CellEnd {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            _ => CellEnd::Unknown,
        }
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("group", &self.group).finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
