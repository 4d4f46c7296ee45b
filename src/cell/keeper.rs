//! The keeper of cells: a process that makes them, reaps them and removes what they had.
//!
//! It is the first process of a namespace of processes, so that the kernel kills every cell when it
//! ends, however it ends; and it ends when the process that wants cells does. It has one thread: a
//! mount namespace is entered by a whole process.

mod ground;
mod kept_cell;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use ganger_pool::backoff::Backoff;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, pidfd_open, wait,
};
use rustix::thread::UnshareFlags;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::channel::CellChannel;
use super::groups::Groups;
use super::message::{CellExit, KeeperOrder, KeeperReport, Pattern};
use ground::{Ground, log_file, pid_file, state};
use kept_cell::{CellStage, KeptCell, code, first_process, why_not};

/// The pause before another attempt to remove the group of a cell whose processes have ended.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(5), cap: Duration::from_secs(1) };
/// How long the end of a process is remembered that may be the first one of a cell.
const EARLY: Duration = Duration::from_secs(30);
/// How long the last cells have to end, before the kernel ends them with the keeper.
const LAST: Duration = Duration::from_secs(5);

/// Starts the keeper, as the first process of a new namespace of processes: by a command that calls
/// [`keep`], and inherits standard input.
///
/// # Errors
/// This process lacks the rights of root.
pub(crate) fn start_keeper(command: &mut Command) -> io::Result<()> {
    ground::unshare(UnshareFlags::NEWPID)?;
    command.spawn().map(drop)
}

/// Keeps cells in the control group `group`, as the process at the other end of standard input
/// orders, until that end is closed.
///
/// # Errors
/// This is not the first process of a namespace of processes, or it lacks the rights of root.
pub(crate) async fn keep(group: &str) -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::other("a keeper is started by `ganger run`, for `sandbox: Cell`"));
    }
    // Else its name would be that of its file, `exe`.
    _ = fs::write("/proc/self/comm", "ganger-cells");
    let ground = Ground::new()?;
    let mut ended = signal(SignalKind::child())?;
    let end = io::stdin().as_fd().try_clone_to_owned()?;
    let channel = CellChannel::new(end)?;
    let mut keeper = CellKeeper {
        ground,
        groups: Groups::find(group)?,
        patterns: HashMap::new(),
        cells: HashMap::new(),
        early: Vec::new(),
        has_cleared: false,
        reports: Vec::new(),
    };
    let own = pidfd_open(getpid(), PidfdFlags::NONBLOCK)?;
    keeper.reports.push((KeeperReport::Ready, vec![own]));
    // Of attempts in a row to remove what does not go.
    let mut attempts = 1;
    loop {
        for (report, descriptors) in keeper.reports.drain(..) {
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            channel.send(&report, &descriptors).await?;
        }
        attempts = if keeper.has_cleared { 1 } else { attempts };
        keeper.has_cleared = false;
        let is_clearing = keeper.cells.values().any(|cell| cell.stage == CellStage::Clearing);
        tokio::select! {
            order = channel.receive() => match order? {
                Some((KeeperOrder::End, _)) | None => break,
                Some((order, _)) => keeper.carry_out(order),
            },
            _ = ended.recv() => keeper.reap(),
            () = sleep(AGAIN.after(attempts)), if is_clearing => {
                attempts = attempts.saturating_add(1);
                keeper.clear();
            }
        }
    }
    keeper.end().await;
    Ok(())
}

struct CellKeeper {
    ground: Ground,
    groups: Groups,
    patterns: HashMap<u64, Pattern>,
    cells: HashMap<String, KeptCell>,
    /// Processes that have ended, and may turn out to be the first ones of cells whose runtime has
    /// not ended yet.
    early: Vec<(Instant, Pid, WaitStatus)>,
    /// What was left of a cell was removed.
    has_cleared: bool,
    /// The reports to be sent, with their descriptors.
    reports: Vec<(KeeperReport, Vec<OwnedFd>)>,
}

// === impl CellKeeper ===

impl CellKeeper {
    fn tell(&mut self, report: KeeperReport) {
        self.reports.push((report, Vec::new()));
    }

    fn carry_out(&mut self, order: KeeperOrder) {
        match order {
            KeeperOrder::Adopt { number, pattern } => {
                let refused = self.ground.adopt(number, &pattern).err();
                let refused = refused.map(|error| error.to_string());
                if refused.is_none() {
                    self.patterns.insert(number, pattern);
                }
                self.tell(KeeperReport::Adopted { pattern: number, refused });
            }
            KeeperOrder::Drop { pattern } => {
                self.patterns.remove(&pattern);
                self.ground.forget(pattern);
            }
            KeeperOrder::Launch { cell, pattern, waits } => {
                match self.launch(&cell, pattern, waits) {
                    Ok(kept) => _ = self.cells.insert(cell, kept),
                    Err(error) => {
                        let (why, end, by_runtime) = (error.to_string(), None, false);
                        self.tell(KeeperReport::Failed { cell, why, end, by_runtime });
                    }
                }
            }
            KeeperOrder::Begin { cell } => self.begin(cell),
            KeeperOrder::Retire { cell } => self.retire(cell),
            KeeperOrder::Ping => self.tell(KeeperReport::Alive),
            KeeperOrder::End => {}
        }
    }

    fn launch(&self, cell: &str, number: u64, waits: bool) -> io::Result<KeptCell> {
        let pattern =
            self.patterns.get(&number).ok_or_else(|| io::Error::other("its carrier is gone"))?;
        KeptCell::make(&self.ground, (number, pattern), cell, waits)
    }

    fn begin(&mut self, cell: String) {
        let kept = self.cells.get_mut(&cell);
        let begun = kept.map_or_else(|| Err("it is gone".to_owned()), |kept| kept.begin(&cell));
        self.tell(KeeperReport::Begun { cell, refused: begun.err() });
    }

    fn retire(&mut self, cell: String) {
        // One that is not known may have been another keeper's.
        let kept = self.cells.entry(cell.clone()).or_insert_with(KeptCell::unknown);
        kept.retired = true;
        match kept.stage {
            CellStage::Making { runtime: process } | CellStage::Running { first: process } => {
                _ = kill_process(process, Signal::KILL);
                self.groups.thaw(&cell);
            }
            CellStage::Over => kept.stage = CellStage::Clearing,
            CellStage::Clearing => {}
        }
        self.clear();
    }

    /// Waits for all children that have ended.
    fn reap(&mut self) {
        let is_making = |kept: &KeptCell| matches!(kept.stage, CellStage::Making { .. });
        if !self.cells.values().any(is_making) {
            self.early.clear();
        }
        self.early.retain(|(since, ..)| since.elapsed() < EARLY);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => match (self.made_by(pid), self.first_of(pid)) {
                    (Some(cell), _) => self.made(cell, status),
                    (None, Some(cell)) => self.ended(cell, status),
                    (None, None) => self.early.push((Instant::now(), pid, status)),
                },
                Err(Errno::INTR) => {}
                // Nobody else has ended, or nobody is left.
                Ok(None) | Err(_) => break,
            }
        }
        self.clear();
    }

    fn ended(&mut self, cell: String, status: WaitStatus) {
        if let Some(kept) = self.cells.get_mut(&cell) {
            kept.stage = if kept.retired { CellStage::Clearing } else { CellStage::Over };
            let end = self.exit(&cell, status);
            self.tell(KeeperReport::Ended { cell, end });
        }
    }

    fn exit(&self, cell: &str, status: WaitStatus) -> CellExit {
        CellExit { code: code(status), out_of_memory: self.groups.has_run_out_of_memory(cell) }
    }

    /// The cell whose first process this is.
    fn first_of(&self, first: Pid) -> Option<String> {
        self.in_stage(CellStage::Running { first })
    }

    /// The cell that a runtime makes.
    fn made_by(&self, runtime: Pid) -> Option<String> {
        self.in_stage(CellStage::Making { runtime })
    }

    fn in_stage(&self, stage: CellStage) -> Option<String> {
        self.cells.iter().find(|(_, kept)| kept.stage == stage).map(|(cell, _)| cell.clone())
    }

    /// A runtime has ended, after it has made a cell or not.
    fn made(&mut self, cell: String, status: WaitStatus) {
        let first = first_process(&cell);
        let early = self.early.iter().position(|(_, pid, _)| Some(*pid) == first);
        let early = early.map(|at| self.early.swap_remove(at).2);
        let early = early.map(|status| self.exit(&cell, status));
        let Some(kept) = self.cells.get_mut(&cell) else { return };
        let output: Vec<_> = kept.output.take().into_iter().collect();
        let is_made = status.exit_status() == Some(0);
        let process = match (first, early) {
            (Some(first), None) if is_made && !kept.retired => {
                pidfd_open(first, PidfdFlags::NONBLOCK).ok().map(|process| (first, process))
            }
            _ => None,
        };
        if let Some((first, process)) = process {
            kept.stage = CellStage::Running { first };
            let descriptors = [process].into_iter().chain(output).collect();
            return self.reports.push((KeeperReport::Launched { cell }, descriptors));
        }
        kept.stage = CellStage::Clearing;
        if !std::mem::replace(&mut kept.retired, true) {
            let end = early.filter(|_| is_made);
            let why = why_not(&cell, status);
            let failed = KeeperReport::Failed { cell, why, end, by_runtime: true };
            self.reports.push((failed, output));
        }
    }

    /// Removes what is left of cells whose removal was ordered and that have ended.
    fn clear(&mut self) {
        let clearing = |kept: &KeptCell| kept.stage == CellStage::Clearing;
        let all: Vec<_> = self
            .cells
            .iter()
            .filter(|(_, kept)| clearing(kept))
            .map(|(cell, _)| cell.clone())
            .collect();
        for cell in all {
            if self.groups.remove(&cell).is_err() {
                continue;
            }
            _ = fs::remove_dir_all(state().join(&cell));
            _ = fs::remove_file(pid_file(&cell));
            _ = fs::remove_file(log_file(&cell));
            self.cells.remove(&cell);
            self.has_cleared = true;
            self.tell(KeeperReport::Gone { cell });
        }
    }

    /// Ends every cell, and removes the control groups.
    async fn end(&mut self) {
        let gone = async {
            while self.groups.remove_all().is_err() {
                _ = wait(WaitOptions::NOHANG);
                sleep(AGAIN.first).await;
            }
        };
        _ = timeout(LAST, gone).await;
    }
}
