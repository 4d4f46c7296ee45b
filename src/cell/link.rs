//! The connection to one keeper: who waits for which answer.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::channel::CellChannel;
use super::life::{CellEnd, CellLife};
use super::message::{CellExit, KeeperOrder, KeeperReport};

/// How long a keeper has to get ready, to look at what a carrier's cells are made of, and to say that
/// it answers.
pub(super) const PROMPT: Duration = Duration::from_secs(10);

/// The cells whose removal was not confirmed, by id.
pub(super) type KnownCells = Arc<Mutex<BTreeMap<String, Arc<CellLife>>>>;

/// A cell that was made.
#[derive(Debug)]
pub(crate) struct Started {
    /// The number of its first process.
    pub(crate) pid: i32,
    /// The pipe that it prints to.
    pub(crate) output: OwnedFd,
}

/// A cell that was not made, or ended at once.
#[derive(Debug)]
pub(crate) struct FailedCell {
    /// The reason, in the words of the runtime where it has some.
    pub(crate) why: String,
    /// The end of its first process, if there was one.
    pub(crate) end: Option<CellExit>,
    /// The pipe that it has printed to, if it was begun.
    pub(crate) output: Option<OwnedFd>,
    /// The runtime has said why, and not the keeper or this process.
    pub(crate) by_runtime: bool,
}

/// The connection to one keeper.
pub(super) struct Link {
    channel: CellChannel,
    /// The process of the keeper, from when it is ready.
    process: OnceLock<OwnedFd>,
    /// The keeper has ended.
    ended: watch::Sender<bool>,
    waiting: Mutex<LinkWaiters>,
}

/// Who waits for an answer of the keeper. None once it has ended.
#[derive(Debug, Default)]
pub(super) struct LinkWaiters {
    has_ended: bool,
    pub(super) ready: Option<oneshot::Sender<()>>,
    pub(super) adopting: HashMap<u64, oneshot::Sender<Option<String>>>,
    pub(super) launching: HashMap<String, oneshot::Sender<Result<Started, FailedCell>>>,
    pub(super) beginning: HashMap<String, oneshot::Sender<Option<String>>>,
    /// The output of cells that had ended when their start was told, until their end is.
    ended: HashMap<String, Option<OwnedFd>>,
    pub(super) removing: HashMap<String, Vec<oneshot::Sender<()>>>,
}

pub(super) const KEEPER_ENDED: &str = "the keeper of cells has ended, and every cell with it";

/// Hears what a keeper reports, until it ends. Kills one that somebody waits for and that says nothing,
/// not even when it is asked.
async fn follow(link: Arc<Link>, known: KnownCells) {
    let mut is_asked = false;
    let ended = loop {
        match timeout(PROMPT, link.channel.receive::<KeeperReport>()).await {
            Ok(Ok(Some((report, descriptors)))) => {
                is_asked = false;
                link.hear(report, descriptors, &known);
            }
            Ok(Ok(None)) => break "it has ended".to_owned(),
            Ok(Err(error)) => break error.to_string(),
            Err(_) if !link.waiting.lock().is_anybody() => is_asked = false,
            Err(_) => {
                // A keeper that does not even take the order is not waited for again.
                let ping = timeout(PROMPT, link.order(&KeeperOrder::Ping));
                if !is_asked && ping.await.is_ok() {
                    is_asked = true;
                    continue;
                }
                tracing::warn!("the keeper of cells does not answer: it is killed, with its cells");
                link.kill();
                break "it did not answer".to_owned();
            }
        }
    };
    tracing::debug!(why = ended, "the keeper of cells is gone");
    let tell = || known.lock().values().for_each(|cell| cell.over(CellEnd::Unknown));
    // Before those who wait, who would take it for the end of a cell alone.
    tell();
    let waiting = LinkWaiters { has_ended: true, ..LinkWaiters::default() };
    // All who wait are told by that.
    drop(std::mem::replace(&mut *link.waiting.lock(), waiting));
    link.channel.close();
    link.ended.send_replace(true);
    // Of those, too, that were ordered meanwhile.
    tell();
}

// === impl Link ===

impl Link {
    /// Hears what a keeper reports, in a task of its own, until it ends. Also returns what tells that it
    /// is ready.
    pub(super) fn follow(
        channel: CellChannel,
        known: KnownCells,
    ) -> (Arc<Self>, JoinHandle<()>, oneshot::Receiver<()>) {
        let (ready, is_ready) = oneshot::channel();
        let waiting = Mutex::new(LinkWaiters { ready: Some(ready), ..LinkWaiters::default() });
        let (process, ended) = (OnceLock::new(), watch::Sender::new(false));
        let link = Arc::new(Self { channel, process, ended, waiting });
        (Arc::clone(&link), tokio::spawn(follow(link, known)), is_ready)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.waiting.lock().has_ended
    }

    /// Waits for the end of the keeper.
    pub(super) async fn ended(&self) {
        // The sender lives as long as this.
        _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Notes who waits for an answer.
    pub(super) fn wait_for(&self, note: impl FnOnce(&mut LinkWaiters)) -> Result<(), String> {
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(KEEPER_ENDED.to_owned());
        }
        note(&mut waiting);
        Ok(())
    }

    /// Kills the keeper, and the kernel kills its cells.
    pub(super) fn kill(&self) {
        if let Some(process) = self.process.get() {
            // The keeper may have ended meanwhile.
            _ = pidfd_send_signal(process, Signal::KILL);
        }
    }

    pub(super) async fn order(&self, order: &KeeperOrder) -> Result<(), String> {
        let sent = self.channel.send(order, &[]).await;
        sent.map_err(|error| format!("the keeper of cells takes no order: {error}"))
    }

    fn hear(&self, report: KeeperReport, descriptors: Vec<OwnedFd>, known: &KnownCells) {
        let mut descriptors = descriptors.into_iter();
        let mut waiting = self.waiting.lock();
        // A caller that has given up does not hear the answer.
        match report {
            KeeperReport::Ready => {
                let ready = waiting.ready.take();
                // A keeper that could not be killed is not used.
                if let (Some(process), Some(ready)) = (descriptors.next(), ready) {
                    _ = self.process.set(process);
                    _ = ready.send(());
                }
            }
            KeeperReport::Alive => {}
            KeeperReport::Adopted { pattern, refused } => {
                _ = waiting.adopting.remove(&pattern).map(|sender| sender.send(refused));
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
            KeeperReport::Begun { cell, refused } => {
                _ = waiting.beginning.remove(&cell).map(|sender| sender.send(refused));
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
                    let why = "it ended as soon as it was started".to_owned();
                    let failed = FailedCell { why, end: Some(end), output, by_runtime: true };
                    _ = waiting.launching.remove(&cell).map(|sender| sender.send(Err(failed)));
                }
            }
            KeeperReport::Gone { cell } => {
                waiting.launching.remove(&cell);
                waiting.beginning.remove(&cell);
                waiting.ended.remove(&cell);
                for sender in waiting.removing.remove(&cell).into_iter().flatten() {
                    _ = sender.send(());
                }
            }
        }
    }
}

// === impl LinkWaiters ===

impl LinkWaiters {
    fn is_anybody(&self) -> bool {
        !(self.adopting.is_empty()
            && self.launching.is_empty()
            && self.beginning.is_empty()
            && self.removing.is_empty())
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

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
