//! The guardian: a child process that removes this run's containers should this
//! process vanish.
//!
//! The guardian reads a pipe that only this process writes to. A pipe that ends without a farewell
//! means that this process has ended, for any reason. The guardian's side is `guardian/child.rs`.

mod child;
mod message;

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::backoff::Backoff;
use ganger_pool::discovery::{DaemonSpec, FleetWatch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tracing::{info, warn};

use crate::docker::{Docker, Identity};
use crate::endpoint::Site;
use message::{DaemonAddress, GuardianMessage, Manifest, READY};

pub use child::{GIVE_UP, GuardError, QUIET, guard};

/// How long a guardian has to get ready, and to end after a farewell.
const PROMPT: Duration = Duration::from_secs(5);
/// How long a write to the guardian may take: its pipe is empty all the time.
const TELL: Duration = Duration::from_secs(1);
/// Pauses between attempts to start a guardian.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(60) };
/// How often daemons that left are checked for being empty.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The most places of daemons that left or moved; the oldest are dropped.
const FORMER: usize = 64;

/// The task that keeps a guardian, for the life of this process. Dropped without [`Guardian::end`],
/// it closes the pipe, which the guardian takes for our end.
#[derive(Debug)]
pub(super) struct Guardian {
    ending: oneshot::Sender<bool>,
    keeper: JoinHandle<()>,
}

/// Keeps a guardian, and tells it where our containers may be.
struct Keeper {
    command: Command,
    identity: Identity,
    docker: Arc<Docker>,
    /// The fleet, from discovery.
    source: FleetWatch<Site>,
    /// The fleet for the pool, sent once the guardian, if there is one, has been told.
    told: watch::Sender<Arc<[DaemonSpec<Site>]>>,
    /// Where daemons were that left or moved, oldest first.
    former: Vec<DaemonAddress>,
    running: Option<RunningGuardian>,
    /// Guardians in a row that did not last.
    failures: u32,
    /// When the next one is started.
    next: Instant,
}

/// A guardian that is ready.
struct RunningGuardian {
    child: Child,
    pipe: ChildStdin,
    since: Instant,
}

// === impl Guardian ===

impl Guardian {
    /// Starts a guardian and tells it of the fleet. Also returns the fleet as
    /// the pool is to see it: each change once the guardian has been told.
    ///
    /// `command` is to run [`guard`]. A failure to start it is logged, and it is tried again for as
    /// long as this process lives.
    pub(super) async fn start(
        command: std::process::Command,
        identity: Identity,
        docker: Arc<Docker>,
        mut source: FleetWatch<Site>,
    ) -> (Self, FleetWatch<Site>) {
        let mut command = Command::from(command);
        // The guardian says on stdout that it is ready; holding ours open would keep its reader.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (told, fleet) = watch::channel(source.borrow_and_update().clone());
        let (ending, ended) = oneshot::channel();
        let mut keeper = Keeper {
            command,
            identity,
            docker,
            source,
            told,
            former: Vec::new(),
            running: None,
            failures: 0,
            next: Instant::now(),
        };
        keeper.spawn_guardian().await;
        (Self { ending, keeper: tokio::spawn(keeper.run(ended)) }, fleet)
    }

    /// Ends the guard. The guardian ends at once if there is `nothing_left`; otherwise it removes
    /// what is.
    pub(super) async fn end(self, nothing_left: bool) {
        // The keeper runs as long as this process does.
        _ = self.ending.send(nothing_left);
        _ = self.keeper.await;
    }
}

// === impl Keeper ===

impl Keeper {
    async fn run(mut self, mut ended: oneshot::Receiver<bool>) {
        let mut discovering = true;
        let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let running = self.running.is_some();
            tokio::select! {
                // The end first; then the loss of a guardian, before messages to it.
                biased;
                nothing_left = &mut ended => {
                    if nothing_left == Ok(true) {
                        self.release_guardian().await;
                    }
                    // Else the guardian takes the end of the pipe for ours, as it should.
                    return;
                }
                status = ended_of(&mut self.running), if running => self.lost(&status),
                () = sleep_until(self.next), if !running => self.spawn_guardian().await,
                changed = self.source.changed(), if discovering => match changed {
                    Ok(()) => self.follow().await,
                    Err(_) => discovering = false,
                },
                _ = look.tick() => self.forget().await,
            }
        }
    }

    /// Starts a guardian, or sets the time of the next attempt.
    async fn spawn_guardian(&mut self) {
        match self.spawn().await {
            Ok(running) => {
                let pid = running.child.id();
                self.running = Some(running);
                self.tell().await;
                if self.running.is_some() {
                    info!(pid, "the guardian is ready");
                }
            }
            Err(error) => {
                self.failures += 1;
                let pause = AGAIN.after(self.failures);
                self.next = Instant::now() + pause;
                warn!(
                    error = error.to_string(),
                    ?pause,
                    "cannot start a guardian; should this process be killed, its containers stay \
                     until the next start or `ganger reap`. Trying again"
                );
            }
        }
    }

    async fn spawn(&mut self) -> io::Result<RunningGuardian> {
        let mut child = self.command.spawn()?;
        let (pipe, said) = (child.stdin.take(), child.stdout.take());
        let (Some(pipe), Some(mut said)) = (pipe, said) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let mut word = [0; READY.len()];
        let failed = match timeout(PROMPT, said.read_exact(&mut word)).await {
            Ok(Ok(_)) if word == *READY => {
                return Ok(RunningGuardian { child, pipe, since: Instant::now() });
            }
            Ok(_) => "it ended before it was ready".to_owned(),
            Err(_) => format!("it is not ready after {PROMPT:?}"),
        };
        kill(&mut child).await;
        Err(io::Error::other(failed))
    }

    fn lost(&mut self, status: &dyn fmt::Display) {
        let lasted = self.running.take().map_or(Duration::ZERO, |lost| lost.since.elapsed());
        if lasted >= AGAIN.cap {
            self.failures = 0;
        }
        self.failures += 1;
        self.next = Instant::now() + AGAIN.after(self.failures);
        warn!(%status, "the guardian ended; starting another");
    }

    /// Tells the guardian of a changed fleet, and then the pool.
    async fn follow(&mut self) {
        let fleet = self.source.borrow_and_update().clone();
        let before = places(&self.told.borrow());
        let now = places(&fleet);
        self.former.retain(|place| !now.contains(place));
        self.former.extend(before.into_iter().filter(|place| !now.contains(place)));
        let excess = self.former.len().saturating_sub(FORMER);
        self.former.drain(..excess);
        self.tell_of(now).await;
        // The pool may be gone.
        _ = self.told.send(fleet);
    }

    /// Forgets daemons that left the fleet and hold nothing any more.
    async fn forget(&mut self) {
        let (docker, known) = (&self.docker, self.former.len());
        self.former.retain(|place| docker.knows(&place.daemon.as_str().into()));
        if self.former.len() < known {
            self.tell().await;
        }
    }

    async fn tell(&mut self) {
        let fleet = places(&self.told.borrow());
        self.tell_of(fleet).await;
    }

    async fn tell_of(&mut self, fleet: Vec<DaemonAddress>) {
        let Identity { instance, boot } = self.identity.clone();
        let daemons = fleet.into_iter().chain(self.former.iter().cloned()).collect();
        let manifest = Manifest { instance, boot, daemons };
        let Some(running) = &mut self.running else { return };
        if let Err(error) = running.say(&GuardianMessage::Guard(manifest)).await {
            // The next guardian is told everything anew.
            kill(&mut running.child).await;
            self.lost(&error);
        }
    }

    async fn release_guardian(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let said = running.say(&GuardianMessage::Farewell).await;
        let RunningGuardian { mut child, pipe, .. } = running;
        if said.is_err() || timeout(PROMPT, child.wait()).await.is_err() {
            // A guardian that goes on would take the end of the pipe for a vanished process.
            kill(&mut child).await;
        }
        drop(pipe);
    }
}

// === impl RunningGuardian ===

impl RunningGuardian {
    async fn say(&mut self, message: &GuardianMessage) -> io::Result<()> {
        let late = || io::Error::other(format!("it takes nothing for {TELL:?}"));
        let line = message.line();
        timeout(TELL, self.pipe.write_all(line.as_bytes())).await.unwrap_or_else(|_| Err(late()))
    }
}

/// How the guardian ended; never returns without one.
///
/// # Cancel safety
/// Dropping the future changes nothing.
async fn ended_of(running: &mut Option<RunningGuardian>) -> String {
    match running {
        Some(running) => match running.child.wait().await {
            Ok(status) => ExitStatus::to_string(&status),
            Err(error) => error.to_string(),
        },
        None => std::future::pending().await,
    }
}

/// Kills it and waits until it is gone: no zombie is left.
async fn kill(child: &mut Child) {
    // A kill fails when there is nothing to kill.
    _ = child.kill().await;
}

fn places(fleet: &[DaemonSpec<Site>]) -> Vec<DaemonAddress> {
    fleet.iter().map(DaemonAddress::of).collect()
}

#[cfg(test)]
mod tests;
