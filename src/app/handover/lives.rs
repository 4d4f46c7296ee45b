//! Processes of our instance that have handed over and have not ended.
//!
//! Each has left us an end of a connection that nobody writes to any more. The kernel closes it
//! with the process, however that ends, and not before.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::docker::Docker;
use crate::reactor;

/// A run, and the connection that ends with it.
type Life = (String, OwnedFd);

/// Processes that are not known to have ended.
#[derive(Debug, Default, Clone)]
pub(in crate::app) struct Lives(Arc<Mutex<Vec<Life>>>);

// === impl Lives ===

impl Lives {
    pub(super) fn new(lives: Vec<Life>) -> Self {
        Self(Arc::new(Mutex::new(lives)))
    }

    pub(super) fn with(self, boot: String, life: OwnedFd) -> Self {
        self.0.lock().push((boot, life));
        self
    }

    /// The names of their runs.
    pub(super) fn boots(&self) -> Vec<String> {
        self.0.lock().iter().map(|(boot, _)| boot.clone()).collect()
    }

    /// Copies of them, for another process.
    pub(super) fn to_pass_on(&self) -> io::Result<Vec<Life>> {
        let copy = |(boot, life): &Life| Ok((boot.clone(), life.as_fd().try_clone_to_owned()?));
        self.0.lock().iter().map(copy).collect()
    }

    /// Tells an adapter of each run that is over, once it is, so that it removes what that has
    /// left. Returns when all are.
    pub(in crate::app) async fn follow(self, docker: Arc<Docker>) {
        let mut ends = JoinSet::new();
        match self.to_pass_on() {
            Ok(lives) => lives.into_iter().for_each(|(boot, life)| {
                ends.spawn(async move { (ended(life).await, boot) });
            }),
            Err(error) => {
                warn!(error = error.to_string(), "the end of the processes before is not seen");
            }
        }
        while let Some(Ok((seen, boot))) = ends.join_next().await {
            if let Err(error) = seen {
                let error = error.to_string();
                warn!(boot, error, "the end of a process before is not seen");
                continue;
            }
            info!(boot, "the process before has ended");
            docker.is_over(&boot);
            self.0.lock().retain(|(known, _)| *known != boot);
        }
    }
}

/// Waits for the end of a connection.
async fn ended(life: OwnedFd) -> io::Result<()> {
    let life = reactor::readable(life)?;
    loop {
        let mut ready = life.readable().await?;
        match recv(life.get_ref(), &mut [0; 64], RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(()),
            // An answer that nobody has waited for.
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
}
