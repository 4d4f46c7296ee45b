//! The side of the process that wants cells: what it has ordered, and what has become of it.

use std::fmt;
use std::fs;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ganger_pool::backoff::Backoff;
use ganger_pool::runtime::{CallError, Removal};
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::channel::CellChannel;
use super::groups::{Groups, own_processes};
use super::life::CellLife;
use super::link::{FailedCell, KEEPER_ENDED, KnownCells, Link, PROMPT, Started};
use super::message::{KeeperOrder, Pattern};

/// The text that stands for the process that writes it.
const OURSELVES: &str = "0";
/// The pauses before further attempts to remove the groups of cells whose keeper was killed.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(10), cap: Duration::from_secs(1) };
/// The time that these attempts have at least, however late it is.
const MOMENT: Duration = Duration::from_secs(1);
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
    known: KnownCells,
}

/// A pattern that the keeper has.
#[derive(Debug)]
pub(crate) struct Adopted {
    number: u64,
    link: Arc<Link>,
}

// === impl Cells ===

impl Cells {
    /// The cells of a run, in the control group of this name. `command` starts a keeper.
    pub(crate) fn new(group: String, command: Option<std::process::Command>) -> Self {
        let command = command.map(|command| {
            let mut command = Command::from(command);
            // A starter that hangs is killed.
            command.kill_on_drop(true);
            Mutex::new(command)
        });
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
        let (sender, answer) = oneshot::channel();
        link.wait_for(|waiting| _ = waiting.adopting.insert(number, sender))?;
        link.order(&KeeperOrder::Adopt { number, pattern }).await?;
        match timeout(PROMPT, answer).await {
            Ok(Ok(None)) => Ok(Adopted { number, link }),
            Ok(Ok(Some(refused))) => Err(refused),
            Ok(Err(_)) => Err(KEEPER_ENDED.to_owned()),
            Err(_) => Err(format!("the keeper of cells gave no answer within {PROMPT:?}")),
        }
    }

    /// Makes a cell, and starts its command unless it `waits` for [`Adopted::begin`]. Until its removal
    /// is confirmed it is known, whatever comes of this.
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
        waits: bool,
    ) -> Result<(Arc<CellLife>, Started), FailedCell> {
        self.wake_groups();
        let cell = Arc::new(CellLife::default());
        let (sender, answer) = oneshot::channel();
        let Adopted { number, link } = adopted;
        link.wait_for(|waiting| {
            waiting.launching.insert(id.to_owned(), sender);
            self.known.lock().insert(id.to_owned(), Arc::clone(&cell));
        })?;
        let order = KeeperOrder::Launch { cell: id.to_owned(), pattern: *number, waits };
        if let Err(why) = link.order(&order).await {
            // The caller asks next whether the keeper lives.
            _ = timeout(PROMPT, link.ended()).await;
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
    /// Something of it cannot be removed.
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

    /// Ends the keeper, and waits until it has ended and nothing is left of any cell, but not much
    /// longer than until the deadline. A keeper that has not ended by then, or after as long as none
    /// needs, is killed. Returns whether nothing is left.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the keeper to end by itself.
    pub(crate) async fn close(&self, deadline: Instant) -> bool {
        self.is_closed.store(true, Relaxed);
        // A keeper that is being started may hang.
        let Ok(mut link) = timeout_at(deadline, self.link.lock()).await else { return false };
        let Some(link) = link.take() else { return true };
        let ended = async {
            // A keeper that takes no order has ended.
            if link.order(&KeeperOrder::End).await.is_ok() {
                link.ended().await;
            }
        };
        if timeout_at(deadline.min(Instant::now() + PROMPT), ended).await.is_err() {
            link.kill();
        }
        // The groups that a killed keeper has left are empty, or about to be.
        let group = self.group.clone();
        let clear = move || Groups::find(&group).and_then(|groups| groups.remove_all());
        let cleared = async {
            let mut attempts = 0;
            while !matches!(tokio::task::spawn_blocking(clear.clone()).await, Ok(Ok(()))) {
                attempts += 1;
                sleep(PAUSES.after(attempts)).await;
            }
        };
        let now = Instant::now();
        timeout_at(deadline.clamp(now + MOMENT, now + PROMPT), cleared).await.is_ok()
    }

    /// The keeper, started now if there is none.
    async fn link(&self) -> Result<Arc<Link>, String> {
        let mut known = self.link.lock().await;
        if let Some(link) = known.as_ref().filter(|link| !link.has_ended()) {
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
        let channel = CellChannel::new(end).map_err(failed)?;
        let (link, following, is_ready) = Link::follow(channel, Arc::clone(&self.known));
        // Dropped before the keeper is ready, it ends that.
        let following = AbortOnDropHandle::new(following);
        match timeout(PROMPT, is_ready).await {
            Ok(Ok(())) => {
                _ = following.detach();
                Ok(Arc::clone(known.insert(link)))
            }
            Ok(Err(_)) => {
                Err("the keeper of cells ended before it was ready, or lacks descriptors"
                    .to_owned())
            }
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

// === impl Adopted ===

impl Adopted {
    /// Starts the command of a cell that waits for it.
    ///
    /// # Errors
    /// Why it was not started: the cell has ended then, or is about to.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a cell whose command may be started.
    pub(crate) async fn begin(&self, id: &str) -> Result<(), String> {
        let (sender, answer) = oneshot::channel();
        let cell = id.to_owned();
        self.link.wait_for(|waiting| _ = waiting.beginning.insert(cell.clone(), sender))?;
        self.link.order(&KeeperOrder::Begin { cell }).await?;
        match answer.await {
            Ok(None) => Ok(()),
            Ok(Some(refused)) => Err(refused),
            Err(_) => Err(KEEPER_ENDED.to_owned()),
        }
    }

    /// Whether the keeper that has it runs.
    pub(crate) fn is_kept(&self) -> bool {
        !self.link.has_ended()
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        let (link, order) = (Arc::clone(&self.link), KeeperOrder::Drop { pattern: self.number });
        if let Ok(runtime) = Handle::try_current() {
            // A keeper that has ended knows of nothing.
            runtime.spawn(async move { link.order(&order).await });
        }
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("group", &self.group).finish_non_exhaustive()
    }
}
