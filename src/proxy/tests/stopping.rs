//! Drain and cut, and what a session costs.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::fake::*;
use crate::proxy::record::ConnRecord;
use crate::proxy::session::{self, Arrival};
use crate::proxy::{
    Acceptor, Admission, Listener, Outcome, Refusal, ServiceContext, Sessions, Settings, Shutdown,
    adopt,
};
use crate::reach::Fate;

#[test]
fn a_drain_accepts_no_more_and_lets_sessions_end() {
    test(async {
        // Clients that connect while the listener closes are still recorded.
        let refused = std::iter::repeat_with(|| Give::Refuse(Refusal::Draining)).take(4096);
        let proxy = Proxy::start(std::iter::once(echo().await).chain(refused).collect::<Vec<_>>());
        let address = proxy.address;
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        proxy.shutdown.drain.cancel();
        // Closing the listener is not instant; being refused is the end of it.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        client.write_all(b"still here").await.unwrap();
        client.shutdown().await.unwrap();
        let (back, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(back, b"still here");
        let mut ended = proxy.end().await;
        ended.outcomes(&[Outcome::Clean]);
        assert_eq!(ended.counts.cut, 0);
    });
}

/// A client that waits when a proxy ends goes to the other holder of its listener.
async fn left_to_others(shutdown: impl FnOnce(&Shutdown), share: impl FnOnce(OwnedFd) -> Listener) {
    let settings = Settings::sample();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = share(socket.try_clone().unwrap().into());
    let acceptor = Acceptor::alone(Handle::current());
    let proxy = Proxy::start_at(listener, [], 1, settings, acceptor);
    // The proxy runs on this thread, too: the kernel alone has answered.
    let client = std::net::TcpStream::connect(proxy.address).unwrap();
    shutdown(&proxy.shutdown);
    let ended = proxy.end().await;
    assert_eq!(ended.log, "");
    let (_, peer) = socket.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn who_waits_at_a_socket_that_is_somebody_else_s_as_well_is_theirs() {
    test(left_to_others(|_| {}, |socket| adopt(&Settings::sample(), socket, true).unwrap()));
}

#[test]
fn who_has_connected_before_a_drain_is_told_of() {
    test(async {
        let proxy = Proxy::start([echo().await, Give::Refuse(Refusal::Draining)]);
        // The proxy runs on this thread, too: the kernel alone has answered them.
        let clients: [_; 2] =
            std::array::from_fn(|_| std::net::TcpStream::connect(proxy.address).unwrap());
        proxy.shutdown.drain.cancel();
        for (client, served) in clients.into_iter().zip([true, false]) {
            client.set_nonblocking(true).unwrap();
            let mut client = TcpStream::from_std(client).unwrap();
            if served {
                client.write_all(b"x").await.unwrap();
                client.shutdown().await.unwrap();
            }
            assert_eq!(read_all(&mut client).await.1.is_ok(), served);
        }
        let ended = proxy.end().await;
        assert_eq!(ended.log.matches("conn end").count(), 2, "{}", ended.log);
        assert!(ended.log.contains(" end=KQ "), "{}", ended.log);
    });
}

#[test]
fn a_cut_ends_what_a_drain_left() {
    test(async {
        let (ended, on_end) = tokio::sync::oneshot::channel();
        let served = container(|mut stream| async move {
            stream.write_all(b"x").await.unwrap();
            ended.send(read_all(&mut stream).await.1).unwrap();
        })
        .await;
        let mut proxy =
            Proxy::start([Give::Container(served, Fate::Running), Give::Wait, Give::Deaf]);
        let mut serving = proxy.connect().await;
        serving.read_exact(&mut [0]).await.unwrap();
        let mut waiting = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Waiting);
        let mut dialling = proxy.connect().await;
        while proxy.counts().open < 3 {
            tokio::task::yield_now().await;
        }
        proxy.shutdown.drain.cancel();
        proxy.shutdown.cut.cancel();
        for client in [&mut serving, &mut waiting, &mut dialling] {
            assert_reset(&read_all(client).await.1);
        }
        assert_reset(&on_end.await.unwrap());
        let mut ended = proxy.end().await;
        assert_eq!(ended.counts.cut, 3);
        assert_eq!(ended.log.matches("end=KD").count(), 1, "{}", ended.log);
        assert_eq!(ended.log.matches("end=KQ").count(), 1, "{}", ended.log);
        assert_eq!(ended.log.matches("end=KC").count(), 1, "{}", ended.log);
        ended.outcomes(&[Outcome::Failed, Outcome::Failed]);
    });
}

#[test]
fn one_session_is_cut_alone_and_its_record_is_kept() {
    test(async {
        let proxy = Proxy::start([echo().await, echo().await, Give::Wait]);
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = proxy.connect().await;
            client.write_all(b"hello").await.unwrap();
            client.read_exact(&mut [0; 5]).await.unwrap();
            clients.push(client);
        }
        let _waiting = proxy.connect().await;
        while proxy.counts().open < 3 {
            tokio::task::yield_now().await;
        }
        let there = proxy.sessions.list();
        let peers: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(there.iter().map(|one| one.client).collect::<Vec<_>>()[..2], peers);
        let moved: Vec<_> = there.iter().map(|one| (one.bytes_in, one.bytes_out)).collect();
        assert_eq!(moved, [(5, 5), (5, 5), (0, 0)]);
        let served: Vec<_> = there.iter().map(|one| one.container.is_some()).collect();
        assert_eq!(served, [true, true, false]);

        assert!(proxy.sessions.cut(there[0].id));
        assert_reset(&read_all(&mut clients[0]).await.1);
        clients[1].write_all(b"still here").await.unwrap();
        clients[1].read_exact(&mut [0; 10]).await.unwrap();
        while proxy.sessions.ended().is_empty() {
            tokio::task::yield_now().await;
        }
        let ended = proxy.sessions.ended();
        let record = &ended[0];
        assert_eq!((ended.len(), record.id, record.client), (1, there[0].id, peers[0]));
        assert_eq!((record.end.to_string(), record.bytes_in), ("KD".to_owned(), 5));
        assert_eq!(record.launch, there[0].container.as_ref().map(|one| one.launch));
        while proxy.sessions.list().len() > 2 {
            tokio::task::yield_now().await;
        }
        assert!(!proxy.sessions.cut(there[0].id), "it is not there any more");
    });
}

#[test]
fn a_delivery_that_is_cut_is_counted() {
    test(async {
        let sent = vec![7; 400_000];
        let address = container(move |mut stream| async move {
            stream.write_all(&sent).await.unwrap();
        });
        let killed = Fate::Died {
            reason: "exit code 137".into(),
            exit_code: Some(137),
            out_of_memory: false,
        };
        let mut proxy = Proxy::start([Give::Container(address.await, killed)]);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        // Takes nothing in, so that the last bytes stay with the proxy.
        let _client = socket.connect(proxy.address).await.unwrap();
        assert_eq!(proxy.note().await, Note::Asked);
        assert_eq!(proxy.note().await, Note::Finished(Outcome::Failed));
        proxy.shutdown.drain.cancel();
        proxy.shutdown.cut.cancel();
        let ended = proxy.end().await;
        assert_eq!(ended.counts.cut, 1);
        ended.line(&["end=DD"]);
    });
}

#[test]
fn a_session_is_small() {
    test(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let admission = Admission::new(1);
        let settings = Settings::sample();
        let (notes, _keep) = tokio::sync::mpsc::unbounded_channel();
        let supply = FakeSupply { script: Mutex::default(), notes };
        let sessions = Sessions::new(Vec::new());
        let (to, among) = (Arc::clone(&admission), Arc::clone(&sessions));
        let service = ServiceContext::new(settings, Arc::new(supply), to, among);
        let ticket = admission.admit(&service.counters).unwrap();
        let peer = client.peer_addr().unwrap();
        let place = crate::proxy::Acceptor::alone(tokio::runtime::Handle::current()).place();
        let accepted = tokio::time::Instant::now();
        let (id, name) = (sessions.number(), service.settings.name.clone());
        let counters = Arc::clone(&service.counters);
        let record = ConnRecord::new(id, name.clone(), peer);
        let entry = sessions.enter(id, (name, counters), peer, accepted, CancellationToken::new());
        let arrival = Arrival { client, accepted, record, entry, ticket, place };
        let session = session::serve(service, arrival);
        let size = size_of_val(&session);
        println!("a session's task: {size} bytes");
        assert!(size <= 2560, "{size} bytes");
    });
}
