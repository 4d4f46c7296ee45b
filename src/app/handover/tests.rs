//! Both sides in one process, without engines.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::app::admin_server::AdminPassedOn;
use crate::docker::{Docker, Identity};

fn name() -> String {
    format!("handover-{}", Instance::new_boot().unwrap())
}

/// A process that runs, as far as another one sees it.
struct Old {
    asked: mpsc::Receiver<HandoverAsk>,
    drain: CancellationToken,
    admin_stop: CancellationToken,
    _instance: Instance,
    giver: AbortOnDropHandle<()>,
}

impl Old {
    fn new(name: &str) -> Self {
        let instance = Instance::take(name).unwrap();
        let (asks, asked) = mpsc::channel(1);
        let (drain, admin_stop) = (CancellationToken::new(), CancellationToken::new());
        let boot = instance.boot().to_owned();
        let identity = Identity { instance: name.to_owned(), boot: boot.clone() };
        let giver = Giver {
            lock: instance.lock().unwrap().clone(),
            boot,
            docker: Arc::new(Docker::new(identity, Vec::new())),
            lives: Lives::default(),
            admin: AdminPassedOn { path: Some("/run/a.sock".into()), listener: None },
            admin_stop: admin_stop.clone(),
            asks,
            drain: drain.clone(),
        };
        let giver = AbortOnDropHandle::new(tokio::spawn(giver.run()));
        Self { asked, drain, admin_stop, _instance: instance, giver }
    }

    /// Answers a request for listening sockets with these.
    async fn listeners(&mut self, listeners: Vec<PassedOn>) -> oneshot::Receiver<()> {
        match self.asked.recv().await.unwrap() {
            HandoverAsk::Listeners { tell, over, .. } => {
                tell.send(listeners).unwrap();
                over
            }
            other => panic!("{other:?}"),
        }
    }

    async fn serving(&mut self) -> Succession {
        match self.asked.recv().await.unwrap() {
            HandoverAsk::Serving { succession, done } => {
                self.drain.cancel();
                done.send(true).unwrap();
                succession
            }
            other => panic!("{other:?}"),
        }
    }
}

fn nothing() -> Succession {
    Succession { registered: Vec::new(), closed: Vec::new() }
}

fn inode(fd: impl AsFd) -> u64 {
    std::fs::File::from(fd.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino()
}

#[tokio::test]
async fn what_is_said_arrives_with_its_descriptors_however_long_it_is() {
    let (one, other) = UnixStream::pair().unwrap();
    let (one, mut other) = (Channel::new(one), Channel::new(other));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let many = vec![socket.as_fd(); channel::DESCRIPTORS];
    let text = "x".repeat(500_000);
    let (said, heard) = tokio::join!(one.say(&text, &many), other.hear::<String>());
    said.unwrap();
    let (heard, passed) = heard.unwrap().unwrap();
    assert_eq!((heard, passed.len()), (text, channel::DESCRIPTORS));
    assert!(passed.iter().all(|passed| inode(passed) == inode(&socket)));
    drop(one);
    assert!(other.hear::<String>().await.unwrap().is_none());
}

#[tokio::test]
async fn all_is_passed_on_and_with_the_word_the_other_lets_go() {
    let name = name();
    let mut old = Old::new(&name);
    let sockets: Vec<_> = (0..100).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let listeners = sockets.iter().enumerate().map(|(n, socket)| {
        let address = socket.local_addr().unwrap();
        let socket = socket.try_clone().unwrap().into();
        PassedOn { name: format!("service-{n}"), listen: address, shared: false, socket }
    });
    let listeners = listeners.collect();
    let (taken, mut over) = tokio::join!(take_over(&name), old.listeners(listeners));
    let (instance, mut new) = taken.unwrap().unwrap();
    assert_eq!(new.boots(), [old._instance.boot()]);
    assert_eq!(new.admin(), Some(Path::new("/run/a.sock")));
    assert_eq!(new.given().count(), 100);
    assert!(!old.admin_stop.is_cancelled());

    assert_eq!(over.try_recv(), Err(TryRecvError::Empty));
    let reload = Notify::new();
    let said = || Succession { registered: Vec::new(), closed: vec!["service-7".to_owned()] };
    let (lives, heard) = tokio::join!(new.serving(said(), &reload), old.serving());
    assert_eq!(heard, said());
    // The old process had put a reload off.
    assert_eq!(reload.notified().now_or_never(), Some(()));
    assert!(old.admin_stop.is_cancelled());
    // The lock holds as long as any process has it.
    let Old { giver, _instance, .. } = old;
    drop(_instance);
    assert!(Instance::take(&name).is_err());
    let docker =
        Arc::new(Docker::new(Identity { instance: name.clone(), boot: "b".into() }, vec![]));
    let follow = tokio::spawn(lives.clone().follow(docker));
    assert_eq!(lives.boots().len(), 1);
    drop(giver);
    follow.await.unwrap();
    assert_eq!(lives.boots().len(), 0);
    drop(instance);
}

#[tokio::test]
async fn who_goes_before_it_serves_leaves_its_turn_and_a_second_one_has_to_wait_for_it() {
    let name = name();
    let mut old = Old::new(&name);
    let (first, over) = tokio::join!(take_over(&name), old.listeners(Vec::new()));
    let second = take_over(&name).await.unwrap_err().to_string();
    assert!(second.ends_with("another process is taking over"), "{second}");
    drop(first);
    // A reload that was put off for the first is due.
    assert!(over.await.is_err());
    loop {
        let again = async { take_over(&name).await };
        tokio::select! {
            again = again => match again {
                Ok(_) => break,
                Err(error) => assert!(error.to_string().ends_with("taking over"), "{error}"),
            },
            () = async { loop { _ = old.listeners(Vec::new()).await } } => {}
        }
    }
    assert!(!old.drain.is_cancelled());
}

#[tokio::test]
async fn one_whose_successor_has_ended_gives_what_is_left() {
    let name = name();
    let mut old = Old::new(&name);
    let (taken, _) = tokio::join!(take_over(&name), old.listeners(Vec::new()));
    let (instance, new) = taken.unwrap().unwrap();
    let reload = Notify::new();
    let (lives, _) = tokio::join!(new.serving(nothing(), &reload), old.serving());
    // A process that has a successor is not asked.
    drop((lives, instance));
    let (_, next) = take_over(&name).await.unwrap().unwrap();
    assert_eq!(next.boots(), [old._instance.boot()]);
    assert_eq!(next.serving(nothing(), &Notify::new()).await.boots().len(), 1);
}

#[tokio::test]
async fn an_answer_that_came_too_late_hides_no_end() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    Channel::new(theirs).say(&HandoverReply::Yours { reload: false }, &[]).await.unwrap();
    let lives = Lives::default().with("a".to_owned(), Channel::new(ours).into_life().unwrap());
    let identity = Identity { instance: name(), boot: "b".into() };
    lives.clone().follow(Arc::new(Docker::new(identity, Vec::new()))).await;
    assert_eq!(lives.boots().len(), 0);
}

#[tokio::test]
async fn where_nobody_runs_there_is_nothing_to_take_over() {
    assert!(take_over(&name()).await.unwrap().is_none());
}
