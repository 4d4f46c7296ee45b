//! A child in the foreground that gets our signals, while we live on to clean up.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command;
#[cfg(target_os = "linux")]
use crate::wait;

/// Takes the signals that end a program, for as long as we live.
///
/// Children run in a process group of their own, so that each signal reaches
/// them once: the terminal would send it to them as well as to us, and to
/// ganger a second one says "at once".
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// Whether one has come.
    came: Arc<AtomicBool>,
    /// The process group that is to get them; 0 for none.
    group: Arc<AtomicI32>,
}

// === impl Interrupts ===

impl Interrupts {
    /// From now on signals do not end us.
    pub(crate) fn take() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signal handlers")?;
        let (came, group) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let interrupts = Self { came: came.clone(), group: group.clone() };
        thread::spawn(move || {
            for signal in signals.forever() {
                came.store(true, Ordering::SeqCst);
                let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
                signal_group(group.load(Ordering::SeqCst), signal);
            }
        });
        Ok(interrupts)
    }

    /// Whether one has come.
    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }

    /// Fails when one has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.came() { bail!("interrupted") } else { Ok(()) }
    }

    /// Runs a program to its end. What it leaves behind of its process group is killed.
    pub(crate) fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        let (mut child, group) = self.start(command)?;
        let status = child.wait();
        self.end(group);
        status.with_context(|| command::line(command))
    }

    /// The same while `go_on` says so, which is asked all the time; `None` when it was killed
    /// for that.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_while(
        &self,
        command: &mut Command,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<ExitStatus>> {
        let (mut child, group) = self.start(command)?;
        let mut status = child.try_wait();
        while matches!(status, Ok(None)) && go_on() {
            wait::step();
            status = child.try_wait();
        }
        self.end(group);
        if matches!(status, Ok(None)) {
            child.wait().with_context(|| command::line(command))?;
        }
        status.with_context(|| command::line(command))
    }

    fn start(&self, command: &mut Command) -> Result<(Child, i32)> {
        command::say(&format!("+ {}", command::line(command)));
        let child = command
            .process_group(0)
            // A read of the terminal from its background would stop the child.
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("`{}` could not be run", command::line(command)))?;
        let group = i32::try_from(child.id()).context("process id")?;
        self.group.store(group, Ordering::SeqCst);
        if self.came() {
            // The signal came when there was nobody to get it.
            signal_group(group, Signal::TERM);
        }
        Ok((child, group))
    }

    fn end(&self, group: i32) {
        self.group.store(0, Ordering::SeqCst);
        signal_group(group, Signal::KILL);
    }
}

fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        // The group may be gone already.
        let _ = kill_process_group(group, signal);
    }
}
