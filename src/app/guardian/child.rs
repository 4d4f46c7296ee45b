//! The guardian's side: waits for the end of the process it guards, then removes
//! what that left behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use ganger_pool::backoff::Backoff;
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::{CallError, ContainerRuntime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setsid;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::message::{GuardianMessage, Manifest, READY};
use crate::app::reap::remove_all;
use crate::docker::Docker;

/// How long a daemon has to answer without showing a container before it counts as empty. Requests
/// of the vanished process may be carried out later; that process itself waits as long for a create
/// and a start.
pub const QUIET: Duration = Duration::from_secs(40);
/// How long a daemon is tried that does not answer, or removes nothing.
pub const GIVE_UP: Duration = Duration::from_secs(600);
/// Pauses between two looks at a daemon.
const LOOK: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(1) };
/// How readily the kernel ends us when memory is short: hardly ever.
const OOM_SCORE: &[u8] = b"-900";

/// Why a guardian has nothing to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Standard input is no pipe from a process to guard.
    #[error("a guardian is started by `ganger run`, with a pipe to it: {0}")]
    Unguided(io::Error),
    /// Signals cannot be handled, and one would end it.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
}

/// The signals that would end the guardian.
struct Signals([Signal; 3]);

/// The outcome of clearing one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cleared {
    /// Containers that were removed.
    pub(super) removed: usize,
    /// Why some may be left.
    pub(super) left: Option<String>,
}

/// Guards the process at the other end of standard input: returns when that says
/// farewell, or has vanished and its containers are removed. Says whether
/// nothing is left of them.
///
/// SIGTERM, SIGINT and SIGHUP are ignored for as long as that process lives;
/// after that they end the work. `quiet` is how long a daemon has to show nothing before it counts
/// as empty, [`QUIET`] to be sure of it; [`GIVE_UP`] says how long a daemon is tried.
///
/// # Errors
/// Standard input is not a pipe, or signals cannot be handled.
pub async fn guard(quiet: Duration) -> Result<bool, GuardError> {
    // Fails where this process leads a process group already, which is as good.
    _ = setsid();
    // A guardian without the permission guards all the same.
    _ = File::options()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .and_then(|mut score| score.write_all(OOM_SCORE));
    // Else its name would be that of its file, `exe`.
    _ = fs::write("/proc/self/comm", "ganger-guard");
    let mut signals = Signals::take().map_err(GuardError::Signals)?;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(GuardError::Unguided)?;
    let pipe = Receiver::from_owned_fd(stdin).map_err(GuardError::Unguided)?;
    // A parent that does not wait for it has vanished.
    _ = io::stdout().write_all(READY).and_then(|()| io::stdout().flush());

    let Some(manifest) = attend(BufReader::new(pipe).lines(), &mut signals).await else {
        return Ok(true);
    };
    let Manifest { instance, boot, daemons } = &manifest;
    warn!(instance, boot, daemons = daemons.len(), "the process is gone; removing its containers");
    tokio::select! {
        biased;
        nothing_left = clear_all(&manifest, quiet) => Ok(nothing_left),
        () = signals.any() => {
            warn!(instance, boot, "told to stop; `ganger reap` removes what is left");
            Ok(false)
        }
    }
}

/// Listens until the pipe ends; `None` when there is nothing to remove then.
async fn attend(mut lines: Lines<BufReader<Receiver>>, signals: &mut Signals) -> Option<Manifest> {
    let mut manifest = None;
    loop {
        tokio::select! {
            biased;
            line = lines.next_line() => match line {
                Ok(Some(line)) => match GuardianMessage::read(&line) {
                    Some(GuardianMessage::Guard(told)) => manifest = Some(told),
                    Some(GuardianMessage::Farewell) => return None,
                    None => {}
                },
                Ok(None) | Err(_) => return manifest,
            },
            () = signals.any() => if has_ended() {
                warn!("told to stop; `ganger reap` removes what is left");
                return None;
            },
        }
    }
}

/// Whether nobody holds the other end of standard input, as the kernel says: the runtime may not
/// have heard yet.
fn has_ended() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// Clears every daemon, all at the same time; says whether nothing is left.
async fn clear_all(manifest: &Manifest, quiet: Duration) -> bool {
    let mut work = JoinSet::new();
    for place in &manifest.daemons {
        // A `Docker` for each: two places may have one name.
        let docker = Docker::after(manifest.identity());
        let daemon = place.daemon();
        let name = place.daemon.clone();
        work.spawn(async move {
            let cleared = match daemon {
                Ok(daemon) => clear(&docker, &daemon, quiet).await,
                Err(error) => Cleared { removed: 0, left: Some(error.to_string()) },
            };
            (name, cleared)
        });
    }
    let mut nothing_left = true;
    while let Some(done) = work.join_next().await {
        let (daemon, Cleared { removed, left }) = match done {
            Ok(done) => done,
            Err(error) => {
                nothing_left = false;
                error!(
                    error = error.to_string(),
                    "containers may be left; `ganger reap` removes them"
                );
                continue;
            }
        };
        match left {
            None => info!(daemon, removed, "nothing is left of the process"),
            Some(why) => {
                nothing_left = false;
                error!(daemon, removed, why, "containers may be left; `ganger reap` removes them");
            }
        }
    }
    nothing_left
}

/// Removes what a runtime has on a daemon, until it has shown nothing for as long as `quiet`.
pub(super) async fn clear<R: ContainerRuntime>(
    runtime: &R,
    daemon: &DaemonSpec<R::Endpoint>,
    quiet: Duration,
) -> Cleared {
    let (mut removed, mut pauses, mut connected) = (0, 0, false);
    // The time of the last progress, and since when lists show nothing.
    let (mut progress, mut empty) = (Instant::now(), None);
    loop {
        let looked = Instant::now();
        let failed = match look(runtime, daemon, &mut connected).await {
            Ok(None) => {
                if looked - *empty.get_or_insert(looked) >= quiet {
                    return Cleared { removed, left: None };
                }
                progress = Instant::now();
                None
            }
            Ok(Some((gone, failed))) => {
                (empty, pauses) = (None, 0);
                removed += gone;
                if gone > 0 {
                    progress = Instant::now();
                }
                failed
            }
            Err(error) => {
                (empty, connected) = (None, false);
                Some(error)
            }
        };
        if let Some(error) = failed
            && progress.elapsed() >= GIVE_UP
        {
            return Cleared { removed, left: Some(error.to_string()) };
        }
        pauses += 1;
        sleep(LOOK.after(pauses)).await;
    }
}

/// Lists a daemon once and removes what there is: returns how many were removed, and why one was
/// not. `None` when there is nothing.
async fn look<R: ContainerRuntime>(
    runtime: &R,
    daemon: &DaemonSpec<R::Endpoint>,
    connected: &mut bool,
) -> Result<Option<(usize, Option<CallError>)>, CallError> {
    if !*connected {
        runtime.connect(&daemon.name, &daemon.endpoint).await?;
        *connected = true;
    }
    let owned = runtime.list(&daemon.name).await?.owned;
    if owned.is_empty() {
        return Ok(None);
    }
    let outcomes = remove_all(runtime, &daemon.name, owned).await;
    let gone = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    Ok(Some((gone, outcomes.into_iter().find_map(|(_, outcome)| outcome.err()))))
}

// === impl Signals ===

impl Signals {
    fn take() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hang_up] = kinds.map(signal);
        Ok(Self([terminate?, interrupt?, hang_up?]))
    }

    /// The next one.
    ///
    /// # Cancel safety
    /// Dropping the future loses none.
    async fn any(&mut self) {
        let [terminate, interrupt, hang_up] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}
