//! Relays, polled once at a time.

use socket2::SockRef;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::flow::BUFFER_BYTES;
use super::*;
use crate::reach::tune;

/// Both ends of a connection, the far one tuned as a session's is.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    tune(&far, None).unwrap();
    near.writable().await.unwrap();
    far.writable().await.unwrap();
    (near, far)
}

/// Writes until the kernel takes no more.
fn fill(stream: &TcpStream) -> u64 {
    let mut filled = 0;
    while let Ok(written) = stream.try_write(&[7; BUFFER_BYTES]) {
        filled += written as u64;
    }
    filled
}

#[tokio::test]
async fn one_poll_moves_a_bounded_number_of_bytes() {
    let (_client, client_far) = pair().await;
    let (container, container_far) = pair().await;
    let filled = fill(&container);
    container_far.readable().await.unwrap();
    let mut relay = Relay::new(0, Instant::now());
    let mut most = 0;
    while relay.bytes_out() < filled.min(2 << 20) {
        let before = relay.bytes_out();
        poll_fn(|cx| {
            let event = relay.poll(cx, &client_far, &container_far);
            assert!(event.is_pending(), "{event:?}");
            Poll::Ready(())
        })
        .await;
        most = most.max(relay.bytes_out() - before);
        if relay.bytes_out() == before {
            break;
        }
    }
    assert!(filled > 1 << 20, "{filled} bytes are too few to tell");
    assert!(most <= 2 << 20, "{most} of {filled} bytes in one poll");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_only_bound_by_the_idle_time_out() {
    let (mut client, client_far) = pair().await;
    let (container, container_far) = pair().await;
    // The kernel would apply it to a closed window.
    assert_eq!(SockRef::from(&client_far).tcp_user_timeout().unwrap(), None);
    let mut relay = Relay::new(0, Instant::now());
    // Until the far side's memory is full and a rest is left.
    while !relay.down.is_backpressured() {
        fill(&container);
        poll_fn(|cx| {
            let _ = relay.poll(cx, &client_far, &container_far);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
    assert!(relay.unconfirmed(Side::Client).is_some(), "it is to be asked after");
    relay.confirm(Side::Client, None);
    assert_eq!(relay.unconfirmed(Side::Client), None, "not again, until more is sent");
    assert!(relay.down.kept() <= BUFFER_BYTES);
    // And memory of its own is given back with the rest.
    let mut sink = vec![0; BUFFER_BYTES];
    tokio::select! {
        flushed = poll_fn(|cx| relay.down.flush(cx, &client_far)) => assert!(flushed.is_ok()),
        () = async { while client.read(&mut sink).await.unwrap() > 0 {} } => {}
    }
    assert_eq!(relay.down.kept(), 0);
}

/// Relays what is there until its source is dry, with a client that takes it.
async fn run_dry(relay: &mut Relay, client: &TcpStream, legs: (&TcpStream, &TcpStream)) {
    let mut sink = vec![0; BUFFER_BYTES];
    legs.1.readable().await.unwrap();
    loop {
        let before = relay.bytes_out();
        poll_fn(|cx| {
            let event = relay.poll(cx, legs.0, legs.1);
            assert!(event.is_pending(), "{event:?}");
            Poll::Ready(())
        })
        .await;
        while client.try_read(&mut sink).is_ok() {}
        if relay.bytes_out() == before && !relay.down.is_backpressured() {
            return;
        }
        // Lets the reactor say what it knows.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flow_is_bulk_until_it_moves_little_between_two_dry_moments() {
    let _one = pipe::ALL.lock().await;
    let (client, client_far) = pair().await;
    let (container, container_far) = pair().await;
    let legs = (&client_far, &container_far);
    let mut relay = Relay::new(0, Instant::now());
    let filled = fill(&container);
    assert!(filled > 1 << 20, "{filled} bytes are too few to tell");
    run_dry(&mut relay, &client, legs).await;
    assert!(relay.down.is_bulk());
    // A flow stays bulk with fewer bytes than it took to become so.
    assert_eq!(container.try_write(&[7; BUFFER_BYTES]).unwrap(), BUFFER_BYTES);
    run_dry(&mut relay, &client, legs).await;
    assert!(relay.down.is_bulk());
    assert_eq!(container.try_write(&[7; 1000]).unwrap(), 1000);
    run_dry(&mut relay, &client, legs).await;
    assert!(!relay.down.is_bulk());
}

/// Sends so much of a pattern, with an urgent byte in its middle if wanted.
async fn send_pattern(to: &mut TcpStream, count: usize, urgent: bool) {
    let pattern: Vec<u8> = (0..count).map(|n| (n % 251) as u8).collect();
    let (first, second) = pattern.split_at(count / 2);
    to.write_all(first).await.unwrap();
    if urgent {
        to.writable().await.unwrap();
        assert_eq!(SockRef::from(&*to).send_out_of_band(&[first.len() as u8]).unwrap(), 1);
    }
    to.write_all(second).await.unwrap();
    to.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_burst_goes_through_a_pipe_and_gives_it_back() {
    let _one = pipe::ALL.lock().await;
    const COUNT: usize = 24 << 20;
    for urgent in [false, true] {
        let (mut client, client_far) = pair().await;
        let (mut container, container_far) = pair().await;
        let mut relay = Relay::new(0, Instant::now());
        let (mut got, mut spliced) = (Vec::new(), false);
        let relayed = async {
            let event = poll_fn(|cx| {
                let event = relay.poll(cx, &client_far, &container_far);
                spliced |= relay.down.has_pipe();
                event
            });
            let event = event.await;
            assert!(matches!(event, Event::ContainerEnded), "{event:?}");
            relay.pass_end(&client_far);
        };
        let sent = send_pattern(&mut container, COUNT, urgent);
        tokio::join!(sent, relayed, async { client.read_to_end(&mut got).await.unwrap() });
        if urgent {
            assert_eq!(got.remove(COUNT / 2), (COUNT / 2) as u8, "the urgent byte");
        }
        assert_eq!(got.len(), COUNT);
        assert!(got.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        assert!(spliced, "all of it was copied");
        assert_eq!(relay.bytes_out(), (COUNT + usize::from(urgent)) as u64);
        // A source that runs dry, or ends, has no need of a pipe.
        assert!(!relay.down.has_pipe());
    }
}

#[tokio::test]
async fn an_upload_that_will_not_be_sent_again_goes_through_a_pipe_too() {
    let _one = pipe::ALL.lock().await;
    let (client, client_far) = pair().await;
    let (container, container_far) = pair().await;
    let mut relay = Relay::new(0, Instant::now());
    let mut sink = vec![0; BUFFER_BYTES];
    while !relay.up.has_pipe() {
        fill(&client);
        poll_fn(|cx| {
            let event = relay.poll(cx, &client_far, &container_far);
            assert!(event.is_pending(), "{event:?}");
            Poll::Ready(())
        })
        .await;
        while container.try_read(&mut sink).is_ok() {}
        assert!(relay.bytes_in() < 64 << 20, "all of it is copied");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_may_be_sent_again_is_not_spliced() {
    let (client, client_far) = pair().await;
    let (_container, container_far) = pair().await;
    let mut relay = Relay::new(64 << 20, Instant::now());
    let mut sent = 0;
    loop {
        let more = fill(&client);
        sent += more;
        let before = relay.bytes_in();
        poll_fn(|cx| {
            let _ = relay.poll(cx, &client_far, &container_far);
            Poll::Ready(())
        })
        .await;
        assert!(!relay.up.has_pipe());
        if more == 0 && relay.bytes_in() == before {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(relay.bytes_in() > 1 << 20 && relay.bytes_in() <= sent);
    assert!(relay.rewind());
    assert_eq!(relay.up.kept() as u64, relay.bytes_in(), "all of it");
}

#[tokio::test]
async fn what_a_full_socket_does_not_take_at_all_is_kept_for_it() {
    let (mut client, client_far) = pair().await;
    let (mut container, container_far) = pair().await;
    let filled = fill(&client_far);
    container.write_all(b"the rest").await.unwrap();
    container_far.readable().await.unwrap();
    let mut relay = Relay::new(0, Instant::now());
    poll_fn(|cx| {
        let event = relay.poll(cx, &client_far, &container_far);
        assert!(event.is_pending(), "{event:?}");
        Poll::Ready(())
    })
    .await;
    assert!(relay.down.is_backpressured() && relay.bytes_out() == 8);
    let mut got = vec![0; usize::try_from(filled).unwrap() + 8];
    let relayed = poll_fn(|cx| relay.poll(cx, &client_far, &container_far));
    tokio::select! {
        event = relayed => panic!("{event:?}"),
        read = client.read_exact(&mut got) => assert_eq!(read.unwrap(), got.len()),
    }
    assert!(got.ends_with(b"\x07the rest"));
}
