//! The running process's side: gives what it has to the one that takes its place.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::channel::{Channel, DESCRIPTORS};
use super::lives::Lives;
use super::message::{Beginning, HandoverReply, HandoverRequest, Offer, PROTOCOL, ToldListener};
use crate::app::admin_server::AdminPassedOn;
use crate::app::given::PassedOn;
use crate::app::instance::Lock;
use crate::app::notify;
use crate::app::register::RegisteredAt;
use crate::docker::Docker;

/// How long a process that connects has to say what it wants.
const PROMPT: Duration = Duration::from_secs(5);
/// The pause after a failed accept, as when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(75);

/// A request to the server on behalf of another process.
#[derive(Debug)]
pub(in crate::app) enum HandoverAsk {
    /// Its listening sockets, for a process that gets ready.
    Listeners {
        tell: oneshot::Sender<Vec<PassedOn>>,
        /// The process, as far as it is known.
        pid: Option<u32>,
        /// Ends when that process has gone, or serves.
        over: oneshot::Receiver<()>,
    },
    /// To take no more clients: the other process serves them, with this succession. `done` is told
    /// when that is so, and whether a reload was put off for it.
    Serving { succession: Succession, done: oneshot::Sender<bool> },
}

/// The registrations of the process that serves now, and the sockets it has closed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::app) struct Succession {
    /// The services that it has registered.
    pub(in crate::app) registered: Vec<RegisteredAt>,
    /// The services whose sockets it has closed: clients that wait there are nobody else's.
    pub(in crate::app) closed: Vec<String>,
}

/// All that a running process hands over.
#[derive(Clone)]
pub(in crate::app) struct Giver {
    pub(in crate::app) lock: Arc<Lock>,
    pub(in crate::app) boot: String,
    pub(in crate::app) docker: Arc<Docker>,
    /// Earlier processes that have not ended.
    pub(in crate::app) lives: Lives,
    pub(in crate::app) admin: AdminPassedOn,
    /// Ends the admin server.
    pub(in crate::app) admin_stop: CancellationToken,
    pub(in crate::app) asks: mpsc::Sender<HandoverAsk>,
    pub(in crate::app) drain: CancellationToken,
}

/// How much it can hand over.
#[derive(Clone)]
struct Stage {
    /// The process accepts clients; else it only waits for its sessions to end.
    serves: bool,
    /// Cancelled when the process has handed over; while it serves, also when it drains.
    over: CancellationToken,
}

// === impl Giver ===

impl Giver {
    /// Answers processes that ask the lock for its holder, and hands over to one of them. Runs
    /// until it is dropped, which ends the connection that tells the other that this process lives.
    pub(in crate::app) async fn run(self) {
        let mut stage = Stage { serves: true, over: self.drain.clone() };
        loop {
            if let Err(error) = self.listen(&stage).await {
                warn!(error = error.to_string(), "this process cannot be taken over from");
                return;
            }
            // Nobody has taken over from this process, and it is ending: only the instance is left
            // to pass on, and the knowledge that the process lives.
            stage = Stage { serves: false, over: CancellationToken::new() };
        }
    }

    /// Answers until the stage is over, and all processes that were answered have gone.
    async fn listen(&self, stage: &Stage) -> io::Result<()> {
        let listener = self.lock.listener()?;
        let (mut asking, turn) = (JoinSet::new(), Arc::new(Semaphore::new(1)));
        loop {
            tokio::select! {
                biased;
                () = stage.over.cancelled() => break,
                Some(_) = asking.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (this, turn, stage) = (self.clone(), turn.clone(), stage.clone());
                        asking.spawn(async move { this.answer(stream, &turn, &stage).await });
                    }
                    Err(error) => {
                        debug!(error = error.to_string(), "cannot accept who would take over");
                        sleep(PAUSE).await;
                    }
                },
            }
        }
        // Connections from here on are for the process that comes after.
        drop(listener);
        while asking.join_next().await.is_some() {}
        Ok(())
    }

    async fn answer(self, stream: UnixStream, turn: &Semaphore, stage: &Stage) {
        let mut channel = Channel::new(stream);
        let begin = match timeout(PROMPT, channel.hear()).await {
            Ok(Ok(Some((HandoverRequest::Begin(begin), _)))) => begin,
            // A process that only asks for the holder says nothing.
            _ => return,
        };
        let turn = turn.try_acquire();
        let refused = match (self.refusal(&channel, &begin), &turn) {
            (Some(why), _) => Some(why),
            (None, Err(_)) => Some("another process is taking over".to_owned()),
            (None, Ok(_)) => None,
        };
        let Beginning { boot, version, .. } = begin;
        if let Some(why) = refused {
            warn!(boot, version, why, "a process that would take over is refused");
            _ = channel.say(&HandoverReply::Refused(why), &[]).await;
            return;
        }
        let pid = channel.pid();
        info!(pid, boot, version, "a process gets ready to take over");
        // Before the other makes any container.
        self.docker.leave_alone(&boot);
        match self.hand_over(&mut channel, stage).await {
            Ok(true) => {
                info!(pid, boot, "handed over: running connections may end here");
                // Nothing more is said: the next event is its end, or ours.
                _ = channel.hear::<HandoverRequest>().await;
                warn!(pid, boot, "the process that has taken over has ended");
            }
            Ok(false) => {
                warn!(pid, boot, "the new process ended before it served: this process goes on");
                self.docker.is_over(&boot);
            }
            Err(error) => {
                let error = error.to_string();
                warn!(pid, boot, error, "the new process cannot take over: this process goes on");
                self.docker.is_over(&boot);
            }
        }
    }

    /// Why a process may not take over.
    fn refusal(&self, channel: &Channel, begin: &Beginning) -> Option<String> {
        match channel.foreigner() {
            Ok(None) => {}
            Ok(Some(uid)) => return Some(format!("user {uid} may not take over")),
            Err(error) => return Some(format!("nobody knows whose process it is: {error}")),
        }
        if begin.protocol != PROTOCOL {
            let version = env!("CARGO_PKG_VERSION");
            return Some(format!(
                "it is of version {version}, which hands over in another way than {}: restart it",
                begin.version
            ));
        }
        // A service manager would end what it does not know, or wait for a sign of life of us.
        (begin.manager != notify::manager()).then(|| {
            "a service manager runs it, or the new process, and would know nothing of the change: \
             restart it by that, with listening sockets that it holds"
                .to_owned()
        })
    }

    /// Answers until the other serves; `false` when it has gone before.
    async fn hand_over(&self, channel: &mut Channel, stage: &Stage) -> io::Result<bool> {
        // Held to the end: meanwhile no change is made that the other would not know.
        let (_attempt, over) = oneshot::channel();
        let listeners = self.listeners(stage.serves, channel.pid(), over).await;
        let Some(listeners) = listeners else {
            let stopping = "it is stopping".to_owned();
            channel.say(&HandoverReply::Refused(stopping), &[]).await?;
            return Ok(false);
        };
        self.offer(channel, listeners.len()).await?;
        loop {
            match channel.hear().await? {
                None => return Ok(false),
                Some((HandoverRequest::Listeners { from }, _)) => {
                    let some = listeners.iter().skip(from).take(DESCRIPTORS);
                    let told = some.clone().map(|passed| ToldListener {
                        name: passed.name.clone(),
                        listen: passed.listen,
                        shared: passed.shared,
                    });
                    let reply = HandoverReply::Listeners(told.collect());
                    let sockets: Vec<_> = some.map(|passed| passed.socket.as_fd()).collect();
                    channel.say(&reply, &sockets).await?;
                }
                Some((HandoverRequest::Serving { registered, closed }, _)) => {
                    self.let_go(channel, Succession { registered, closed }, stage).await;
                    return Ok(true);
                }
                Some((HandoverRequest::Begin(_), _)) => {
                    return Err(io::Error::other("it begins twice"));
                }
            }
        }
    }

    async fn offer(&self, channel: &Channel, listeners: usize) -> io::Result<()> {
        let lives = self.lives.to_pass_on()?;
        let offer = Offer {
            boot: self.boot.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            admin: self.admin.path.clone(),
            lives: lives.iter().map(|(boot, _)| boot.clone()).collect(),
            listeners,
        };
        let lock = self.lock.as_fd();
        let passed: Vec<_> =
            std::iter::once(lock).chain(lives.iter().map(|l| l.1.as_fd())).collect();
        channel.say(&HandoverReply::Offer(offer), &passed).await
    }

    /// The listening sockets: of services only while they are served, and the admin server's, which
    /// listens to the end. `None` when the process is stopping.
    async fn listeners(
        &self,
        serves: bool,
        pid: Option<u32>,
        over: oneshot::Receiver<()>,
    ) -> Option<Vec<PassedOn>> {
        let mut listeners = Vec::new();
        if serves {
            let (tell, told) = oneshot::channel();
            self.asks.send(HandoverAsk::Listeners { tell, pid, over }).await.ok()?;
            listeners = told.await.ok()?;
        }
        if let Some((listen, socket)) = &self.admin.listener
            && let Ok(socket) = socket.as_fd().try_clone_to_owned()
        {
            let name = crate::app::given::ADMIN.to_owned();
            listeners.push(PassedOn { name, listen: *listen, shared: false, socket });
        }
        Some(listeners)
    }

    /// Has the process take no more clients, and leave everything to the other.
    async fn let_go(&self, channel: &Channel, succession: Succession, stage: &Stage) {
        // Leftovers of other runs are for the other process to remove.
        self.docker.leave_all();
        let mut reload = false;
        if stage.serves {
            let (done, is_done) = oneshot::channel();
            let asked = self.asks.send(HandoverAsk::Serving { succession, done }).await;
            reload = match is_done.await {
                Ok(reload) if asked.is_ok() => reload,
                // The process is stopping anyway; the other waits a while for the end of that.
                _ => return,
            };
        }
        stage.over.cancel();
        self.admin_stop.cancel();
        if let Some(pid) = channel.pid() {
            notify::succeeded_by(pid);
        }
        // The other may have gone meanwhile.
        _ = channel.say(&HandoverReply::Yours { reload }, &[]).await;
    }
}
