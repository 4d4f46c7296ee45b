//! Hand-over: a process that starts takes the place of the one that runs, and no client notices.
//!
//! See `docs/decisions/0064`. The new process connects to the holder of the instance's lock, by the
//! socket that the lock is, and is given that lock and the listening sockets. It gets ready beside
//! the old process, begins to accept on the same sockets, and only then says so: until that message
//! the old process serves as before, and from it on accepts no more and drains. The code of the new
//! process is in this file; that of the old one is in `handover/giver.rs`.

mod channel;
mod giver;
mod lives;
mod message;
mod stock;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use super::given::{GivenSockets, PassedOn};
use super::instance::{Instance, InstanceError};
use super::notify;
use channel::Channel;
use message::{Beginning, HandoverReply, HandoverRequest, Offer, PROTOCOL, ToldListener};

pub(super) use giver::{Giver, HandoverAsk, Succession};
pub(super) use lives::Lives;
pub(super) use stock::until_ready;

/// How long the running process has for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The process that runs, as long as this one gets ready to take its place. Dropped without
/// `Predecessor::serving`, it leaves everything as it was.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    boot: String,
    /// The path of its admin socket.
    admin: Option<PathBuf>,
    /// Processes before it that have not ended.
    lives: Lives,
    given: GivenSockets,
}

/// Why the running process is not taken over from.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// A process of another user holds the instance.
    #[error(
        "instance {0} is held by a process of user {1}, which is not asked: take over as that user, \
         or as root"
    )]
    Foreign(String, u32),
    /// The running process refuses.
    #[error("the running process does not hand over: {0}")]
    Refused(String),
    /// The running process does not answer.
    #[error(
        "the running process does not answer within {ANSWER:?}: it is in the middle of a reload, so try \
         again, or it cannot hand over, then stop it and start this one"
    )]
    Silent,
    /// Its answer cannot be understood, or the connection is broken.
    #[error("the running process cannot be talked to: {0}")]
    Broken(#[from] io::Error),
    /// The new process cannot be its successor.
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

/// Asks the running process of an instance for its lock and its sockets. Nothing changes for it
/// yet. `None` where none runs.
///
/// # Errors
/// The running process refuses, or cannot be talked to.
pub async fn take_over(name: &str) -> Result<Option<(Instance, Predecessor)>, HandoverError> {
    let asked = timeout(ANSWER, ask(name)).await;
    asked.unwrap_or(Err(HandoverError::Silent))
}

async fn ask(name: &str) -> Result<Option<(Instance, Predecessor)>, HandoverError> {
    let boot = Instance::new_boot()?;
    let Some(mut channel) = Channel::to_holder(name)? else { return Ok(None) };
    if let Some(uid) = channel.foreigner()? {
        return Err(HandoverError::Foreign(name.to_owned(), uid));
    }
    let begin = Beginning {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: boot.clone(),
        manager: notify::manager(),
    };
    channel.say(&HandoverRequest::Begin(begin), &[]).await?;
    let (offer, mut passed) = match channel.hear().await? {
        Some((HandoverReply::Offer(offer), passed)) => (offer, passed.into_iter()),
        Some((HandoverReply::Refused(why), _)) => return Err(HandoverError::Refused(why)),
        answer => return Err(odd(answer).into()),
    };
    let Offer { boot: its_boot, version, admin, lives, listeners } = offer;
    let lock = passed.next().ok_or_else(|| io::Error::other("it has passed on no lock"))?;
    let lives = Lives::new(lives.into_iter().zip(passed).collect());
    let mut given = GivenSockets::default();
    let mut count = 0;
    while count < listeners {
        channel.say(&HandoverRequest::Listeners { from: count }, &[]).await?;
        match channel.hear().await? {
            Some((HandoverReply::Listeners(told), passed)) if !told.is_empty() => {
                count += told.len();
                let pairs = told.into_iter().zip(passed);
                pairs.for_each(|(told, socket)| {
                    let ToldListener { name, listen, shared } = told;
                    given.add(PassedOn { name, listen, shared, socket });
                });
            }
            answer => return Err(odd(answer).into()),
        }
    }
    info!(boot = its_boot, version, listeners, "taking over from the process that runs");
    let instance = Instance::succeeding(name, boot, lock);
    Ok(Some((instance, Predecessor { channel, boot: its_boot, admin, lives, given })))
}

fn odd<T: std::fmt::Debug>(answer: T) -> io::Error {
    io::Error::other(format!("it answers {answer:?}"))
}

// === impl Predecessor ===

impl Predecessor {
    /// Its run and the runs before it, whose containers are their own.
    pub(super) fn boots(&self) -> Vec<String> {
        let mut boots = self.lives.boots();
        boots.push(self.boot.clone());
        boots
    }

    /// Its listening sockets, once.
    pub(super) fn given(&mut self) -> GivenSockets {
        std::mem::take(&mut self.given)
    }

    /// The path of its admin socket, which is the new one's afterwards.
    pub(super) fn admin(&self) -> Option<&Path> {
        self.admin.as_deref()
    }

    /// Tells the old process that this one serves, with what it has registered and closed: the old
    /// one takes no more clients from here on. Notifies `reload` when it was told to reload
    /// meanwhile. Returns the processes that may still have containers, until they have ended.
    pub(super) async fn serving(self, succession: Succession, reload: &Notify) -> Lives {
        let Succession { registered, closed } = succession;
        let Self { mut channel, boot, lives, .. } = self;
        let told = async {
            channel.say(&HandoverRequest::Serving { registered, closed }, &[]).await?;
            channel.hear::<HandoverReply>().await
        };
        match timeout(ANSWER, told).await {
            Ok(Ok(Some((HandoverReply::Yours { reload: is_due }, _)))) => {
                info!(boot, "taken over: the process before takes no more clients and drains");
                if is_due {
                    info!(
                        "the process before was told to reload: this process reads its file again"
                    );
                    reload.notify_one();
                }
            }
            Ok(Ok(None) | Err(_)) => warn!(boot, "the process before has ended meanwhile"),
            Ok(answer) => {
                warn!(boot, ?answer, "the process before gives an answer that is not understood")
            }
            Err(_) => warn!(
                boot,
                "the process before does not say that it takes no more clients: until it does, \
                 both serve them"
            ),
        }
        match channel.into_life() {
            Ok(life) => lives.with(boot, life),
            Err(error) => {
                warn!(error = error.to_string(), "the end of the process before is not seen");
                lives
            }
        }
    }
}

#[cfg(test)]
mod tests;
