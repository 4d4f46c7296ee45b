//! Pushing an image by hand: from a daemon that has it to others, without a registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use ganger_pool::core::DaemonName;
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::{CallError, ContainerRuntime};
use tokio::time::{MissedTickBehavior, interval};

use crate::docker::{Copied, Docker, HeldImage, Site};

/// How often the progress of a copy is told.
const PROGRESS: Duration = Duration::from_secs(5);

/// The answer of a daemon about an image; `None` where it lacks the image.
pub type ImageAnswer = Result<Option<HeldImage>, CallError>;

/// The outcome of a push to one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The daemon has the image already, the same by its id or by its content.
    Already,
    /// The image was copied, in so many bytes. `other_id` is its id on the daemon when that is
    /// another one, as between stores of different kinds.
    Copied {
        /// Bytes of the archive.
        bytes: u64,
        /// Its id there, if it differs.
        other_id: Option<String>,
    },
}

/// The image on the daemon that it is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The daemon.
    pub daemon: DaemonName,
    /// The image there.
    pub image: HeldImage,
}

/// Makes contact with daemons and asks each for an image, all at once. The answers are
/// in the order of the daemons.
///
/// # Cancel safety
/// Dropping the future changes nothing.
pub async fn ask_for(
    docker: &Docker,
    daemons: &[DaemonSpec<Site>],
    image: &str,
) -> Vec<ImageAnswer> {
    join_all(daemons.iter().map(async |daemon| {
        docker.connect(&daemon.name, &daemon.endpoint).await?;
        docker.held_image(&daemon.name, image).await
    }))
    .await
}

/// Copies an image to a daemon that was asked for it and answered `held`. `tell` is called every 5
/// s with the number of bytes sent.
///
/// # Errors
/// Why the image is not there, and which daemon is at fault.
///
/// # Cancel safety
/// Dropping the future breaks the copy off; the daemon then has nothing of it.
pub async fn push(
    docker: &Docker,
    image: &str,
    source: &Source,
    (to, held): (&DaemonName, ImageAnswer),
    tell: impl Fn(u64),
) -> Result<Pushed, CallError> {
    if held?.is_some_and(|held| held.is_same(&source.image)) {
        return Ok(Pushed::Already);
    }
    let sent = Arc::new(AtomicU64::new(0));
    let mut copy = std::pin::pin!(docker.copy_image(image, &source.daemon, to, sent.clone()));
    let mut ticks = interval(PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let Copied { id } = loop {
        tokio::select! {
            // The end first.
            biased;
            copied = &mut copy => break copied?,
            _ = ticks.tick() => tell(sent.load(Ordering::Relaxed)),
        }
    };
    let other_id = Some(id).filter(|id| *id != source.image.id);
    Ok(Pushed::Copied { bytes: sent.load(Ordering::Relaxed), other_id })
}
