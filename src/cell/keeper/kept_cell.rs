//! A cell of a keeper: how a runtime is told to make it, and what that has left.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use super::super::message::Pattern;
use super::super::specification::PLACE;
use super::ground::{Ground, log_file, pid_file, state};

/// The programs of a runtime are found there.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A cell, from its launch until nothing is left of it.
#[derive(Debug)]
pub(super) struct KeptCell {
    pub(super) stage: CellStage,
    /// The output of the cell's command, until it is handed on.
    pub(super) output: Option<OwnedFd>,
    /// The pipe at which its command has waited, kept open: see [`open_gate`].
    begun: Option<OwnedFd>,
    /// Its removal was ordered.
    pub(super) retired: bool,
}

/// How far a cell has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellStage {
    /// The runtime makes it.
    Making { runtime: Pid },
    /// Its first process runs.
    Running { first: Pid },
    /// Its first process has ended, or never was.
    Over,
    /// Its control group is being removed.
    Clearing,
}

// === impl KeptCell ===

impl KeptCell {
    /// A cell that this keeper has not made, and that is to be removed all the same.
    pub(super) fn unknown() -> Self {
        Self { stage: CellStage::Over, output: None, begun: None, retired: true }
    }

    /// Has a runtime make a cell, and start its command unless that `waits` for
    /// [`KeptCell::begin`].
    ///
    /// # Errors
    /// The runtime was not started.
    pub(super) fn make(
        ground: &Ground,
        (number, pattern): (u64, &Pattern),
        cell: &str,
        waits: bool,
    ) -> io::Result<Self> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
        let runtime = ground.lay_out((number, pattern), cell, || {
            let mut command = Command::new(&pattern.runtime);
            command.arg("--root").arg(state()).arg("--log").arg(log_file(cell));
            command.args(["--log-format", "json"]);
            command.args(if waits { &["create"][..] } else { &["run", "--detach"] });
            command.args(["--bundle", PLACE, "--pid-file"]).arg(pid_file(cell)).arg(cell);
            command.env_clear().env("PATH", PATH);
            command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
            // It is waited for like all other children.
            let child = command.spawn()?;
            Ok(Pid::from_child(&child))
        })?;
        let stage = CellStage::Making { runtime };
        Ok(Self { stage, output: Some(output), begun: None, retired: false })
    }

    /// Starts the command of a cell as the runtime's own command `start` does, and without another
    /// process.
    ///
    /// # Errors
    /// Why it was not started: the cell has ended, or is killed.
    pub(super) fn begin(&mut self, cell: &str) -> Result<(), String> {
        let CellStage::Running { first } = self.stage else {
            return Err("it has ended".to_owned());
        };
        let gate = open_gate(cell).map_err(|error| {
            _ = kill_process(first, Signal::KILL);
            error.to_string()
        });
        self.begun = Some(gate?);
        Ok(())
    }
}

/// The first process of a cell that a runtime has made.
pub(super) fn first_process(cell: &str) -> Option<Pid> {
    let pid = fs::read_to_string(pid_file(cell)).ok()?;
    Pid::from_raw(pid.trim().parse().ok()?)
}

/// Lets the first process of a cell go on to the command of the cell. Until then it waits at a pipe
/// with a name: crun's reads from it, and runc's writes to it. Who has both ends serves either, for as
/// long as it keeps them.
fn open_gate(cell: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let gate = open(state().join(cell).join("exec.fifo"), flags, Mode::empty())?;
    rustix::io::write(&gate, b"0")?;
    Ok(gate)
}

/// The exit code of a process, as a shell counts it.
pub(super) fn code(status: WaitStatus) -> i32 {
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(killed).unwrap_or(-1)
}

/// Why a runtime has made no cell, by what it has logged.
pub(super) fn why_not(cell: &str, status: WaitStatus) -> String {
    let log = fs::read_to_string(log_file(cell)).unwrap_or_default();
    let said = log.lines().rev().find_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        entry.get("msg")?.as_str().map(str::to_owned)
    });
    said.unwrap_or_else(|| format!("the runtime ended with code {} and said nothing", code(status)))
}
