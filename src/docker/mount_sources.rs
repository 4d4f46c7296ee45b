//! The sources of mounts, looked for before an engine makes those that are absent.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::spec::Mount;

/// A file system that is away, such as that of an NFS server, answers nothing at all.
const DEADLINE: Duration = Duration::from_secs(5);

/// The files of an engine's machine, as its process sees them.
#[derive(Debug)]
pub(super) struct MountSources {
    root: PathBuf,
    turns: Arc<Turns>,
}

/// Looks that go on: one at a time for the same sources, since a look without an answer holds a
/// thread until it has one. Services with other sources do not wait for it.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<Vec<String>, Arc<Semaphore>>>);

// === impl MountSources ===

impl MountSources {
    /// The files that the process with this id sees.
    pub(super) fn of(engine: i32, turns: Arc<Turns>) -> Self {
        Self { root: format!("/proc/{engine}/root").into(), turns }
    }

    /// Looks for the source of each mount.
    ///
    /// # Errors
    /// Which one is absent, or that no look was answered within 5 s.
    ///
    /// # Cancel safety
    /// A look that has begun is finished by its thread.
    pub(super) async fn find(&self, mounts: &[Mount]) -> Result<(), String> {
        if mounts.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = mounts.iter().map(|mount| mount.source.clone()).collect();
        let (root, turn) = (self.root.clone(), self.turns.of(&paths));
        match look(turn, DEADLINE, move || first_absent(&root, paths)).await {
            Some(None) => Ok(()),
            Some(Some(path)) => Err(format!(
                "see `mounts`: the source {path} is not on the daemon's machine, and Podman \
                 would make an empty directory there"
            )),
            None => Err(format!(
                "see `mounts`: no answer within {DEADLINE:?} whether the sources are on the \
                 daemon's machine; look whether the file system of one of them is away"
            )),
        }
    }
}

// === impl Turns ===

impl Turns {
    fn of(&self, paths: &[String]) -> Arc<Semaphore> {
        let mut turns = self.0.lock();
        turns.entry(paths.to_vec()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }
}

/// Looks on a thread of its own; `None` when that is not answered in time.
async fn look<T: Send + 'static>(
    turn: Arc<Semaphore>,
    deadline: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let looked = async {
        // The semaphore is never closed.
        let turn = turn.acquire_owned().await.ok()?;
        let looking = spawn_blocking(move || {
            let _turn = turn;
            look()
        });
        looking.await.ok()
    };
    timeout(deadline, looked).await.ok().flatten()
}

fn first_absent(root: &Path, paths: Vec<String>) -> Option<String> {
    paths.into_iter().find(|path| {
        let seen = fs::symlink_metadata(root.join(path.trim_start_matches('/')));
        seen.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_look_that_is_not_answered_holds_one_thread_and_no_other_service() {
        let turns = Turns::default();
        let of = |path: &str| turns.of(&[path.to_owned()]);
        let (answer, answered) = mpsc::channel::<()>();
        assert!(look(of("/away"), Duration::ZERO, move || answered.recv()).await.is_none());
        let again = look(of("/away"), Duration::from_millis(1), || panic!("a second thread"));
        assert!(again.await.is_none());
        assert_eq!(look(of("/here"), DEADLINE, || 1).await, Some(1));

        answer.send(()).unwrap();
        assert_eq!(look(of("/away"), DEADLINE, || 2).await, Some(2));
    }
}
