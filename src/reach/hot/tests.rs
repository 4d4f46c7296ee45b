//! Servers of every kind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::keeper::{ENOUGH, PAUSE};
use super::*;

impl HotDial for SocketAddr {
    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(*self).await
    }
}

async fn listener() -> (TcpListener, Arc<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Arc::new(address))
}

/// A place for a connection to this, with a keeper of its own.
fn hot<C: HotDial>(to: &Arc<C>) -> Arc<Hot<C>> {
    Hot::new(Arc::clone(to), Arc::default())
}

/// Takes the connection, once there is one.
async fn taken(hot: &Hot<SocketAddr>) -> TcpStream {
    loop {
        if hot.state.lock().made.is_some() {
            return hot.take().expect("it is there");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn it_is_the_only_connection_and_holds_what_the_server_says_first() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        stream.write_all(b"220 ready").await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        word
    });
    assert!(hot.make(true).await.unwrap(), "it has said something");
    let mut stream = hot.take().unwrap();
    assert!(hot.take().is_none(), "there is one");
    let mut said = [0; 9];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"220 ready");
    stream.write_all(b"QUIT").await.unwrap();
    assert_eq!(&server.await.unwrap(), b"QUIT");
}

#[tokio::test]
async fn one_that_waits_for_its_client_is_not_waited_for_long() {
    let (_listener, address) = listener().await;
    let hot = hot(&address);
    assert!(!hot.make(true).await.unwrap());
    assert!(hot.take().is_some());
}

#[tokio::test]
async fn one_that_the_server_has_ended_is_given_to_nobody_and_replaced() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    drop(listener.accept().await.unwrap());
    let (mut second, _) = listener.accept().await.unwrap();
    let mut stream = taken(&hot).await;
    second.write_all(b"x").await.unwrap();
    assert_eq!(stream.read(&mut [0; 2]).await.unwrap(), 1);
}

#[tokio::test]
async fn an_answer_that_was_given_at_once_is_kept_with_its_end() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"it is noon").await.unwrap();
    drop(server);
    // Long enough for several attempts.
    let again = timeout(Duration::from_millis(350), listener.accept()).await;
    assert!(again.is_err(), "it was asked again");
    let mut answer = String::new();
    hot.take().unwrap().read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "it is noon");
}

#[tokio::test]
async fn a_server_that_hangs_up_at_once_is_left_alone() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    for _ in 0..ENOUGH {
        let accepted = timeout(Duration::from_secs(20), listener.accept()).await;
        drop(accepted.expect("another").unwrap());
    }
    assert!(timeout(4 * PAUSE, listener.accept()).await.is_err(), "and again");
    assert!(hot.take().is_none());
}

#[tokio::test]
async fn one_is_made_anew_before_the_server_loses_its_patience() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    let (first, _) = listener.accept().await.unwrap();
    tokio::time::sleep(SOON + 2 * PAUSE).await;
    drop(first);
    let (_second, _) = listener.accept().await.unwrap();
    let third = timeout(2 * SOON, listener.accept()).await;
    assert!(third.is_ok(), "the second was not ended by us");
}

#[tokio::test]
async fn nothing_is_made_for_what_is_gone() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    let accepted = listener.accept().await.unwrap();
    drop(hot);
    drop(address);
    drop(accepted);
    assert!(timeout(4 * PAUSE, listener.accept()).await.is_err());
}

/// Lets one connection come about.
struct Once(SocketAddr, AtomicU32);

impl HotDial for Once {
    async fn connect(&self) -> io::Result<TcpStream> {
        match self.1.fetch_add(1, Relaxed) {
            0 => self.0.connect().await,
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_one_connection_ever_is_left_alone_soon() {
    let (listener, address) = listener().await;
    let once = Arc::new(Once(*address, AtomicU32::new(0)));
    let hot = hot(&once);
    hot.make(false).await.unwrap();
    drop(listener.accept().await.unwrap());
    while once.1.load(Relaxed) < ENOUGH {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(2 * PAUSE).await;
    assert_eq!(once.1.load(Relaxed), ENOUGH);
    assert!(hot.take().is_none());
}

#[tokio::test]
async fn what_was_taken_or_made_anew_is_watched_no_more() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    hot.make(false).await.unwrap();
    assert_eq!(hot.keeper.watched(), 1);
    assert!(hot.holds(), "the second is there");
    assert!(hot.take().is_some());
    assert_eq!(hot.keeper.watched(), 0);
    assert!(hot.take().is_none(), "nothing was made in its place");
    hot.make(false).await.unwrap();
    let keeper = Arc::clone(&hot.keeper);
    drop(hot);
    assert_eq!(keeper.watched(), 0);
    drop(listener);
}

#[tokio::test]
async fn what_goes_while_another_connection_is_to_be_made_is_held_by_nobody() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    drop(listener.accept().await.unwrap());
    // The end was seen, and the pause before another attempt has begun.
    while hot.keeper.watched() > 0 {
        tokio::task::yield_now().await;
    }
    drop(hot);
    assert_eq!(Arc::strong_count(&address), 1);
    assert!(timeout(2 * PAUSE, listener.accept()).await.is_err(), "it was dialled again");
}

#[tokio::test]
async fn one_that_is_taken_during_the_pause_is_not_replaced() {
    let (listener, address) = listener().await;
    let hot = hot(&address);
    hot.make(false).await.unwrap();
    drop(listener.accept().await.unwrap());
    while hot.keeper.watched() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(hot.take().is_none(), "its server has ended it");
    assert!(timeout(2 * PAUSE, listener.accept()).await.is_err(), "its server was dialled again");
}

/// Connects once, and from then on when it is let to.
struct Gated {
    to: SocketAddr,
    asked: tokio::sync::Notify,
    gate: tokio::sync::Semaphore,
}

impl HotDial for Gated {
    async fn connect(&self) -> io::Result<TcpStream> {
        self.asked.notify_one();
        self.gate.acquire().await.unwrap().forget();
        TcpStream::connect(self.to).await
    }
}

#[tokio::test]
async fn one_that_is_made_while_its_turn_ends_is_nobody_s() {
    let (listener, address) = listener().await;
    let (asked, gate) = (tokio::sync::Notify::new(), tokio::sync::Semaphore::new(1));
    let to = Arc::new(Gated { to: *address, asked, gate });
    let hot = hot(&to);
    hot.make(false).await.unwrap();
    to.asked.notified().await;
    // The first is over, and another is on its way when somebody takes one.
    drop(listener.accept().await.unwrap());
    to.asked.notified().await;
    assert!(hot.take().is_none());
    to.gate.add_permits(1);
    let (mut second, _) = listener.accept().await.unwrap();
    let end = timeout(Duration::from_secs(20), second.read(&mut [0])).await;
    assert_eq!(end.expect("it is closed").unwrap(), 0);
    assert!(!hot.holds());
}
