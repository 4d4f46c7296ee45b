//! How connections are ended.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::coop::has_budget_remaining;

use super::*;

const PATIENCE: DeliveryLimits = DeliveryLimits {
    idle: Some(Duration::from_secs(60)),
    keepalive: Some(Duration::from_secs(60)),
};

#[tokio::test]
async fn a_reset_waits_for_the_last_byte_whatever_the_length() {
    // The client's window closes somewhere among these lengths, so that
    // now much, now little is left to send.
    for length in (1..16_000).step_by(500) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut near = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        far.write_all(&vec![7; length]).await.unwrap();
        let mut got = Vec::new();
        // In this order: a reset that does not wait comes before the read.
        let (delivery, end) =
            tokio::join!(reset_after_delivery(far, PATIENCE), near.read_to_end(&mut got));
        assert_eq!((delivery, got.len()), (Delivery::Done, length));
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_flood_is_read_in_turn_with_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let mut sent = 0;
    near.writable().await.unwrap();
    while let Ok(written) = near.try_write(&[7; 1 << 14]) {
        sent += written;
    }
    far.readable().await.unwrap();
    let mut heard = Box::pin(heard_out(&far));
    std::future::poll_fn(|cx| {
        // As if the thread's turn were over: others are to be polled.
        while has_budget_remaining() {
            let _ = std::pin::pin!(consume_budget()).poll(cx);
        }
        assert!(heard.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(heard);
    let (mut left, mut sink) = (0, vec![0; 1 << 20]);
    while let Ok(read) = far.try_read(&mut sink) {
        left += read;
    }
    assert!(left > 0 && sent - left <= 16 << 10, "{left} of {sent} bytes are left");
}

#[tokio::test]
async fn a_client_that_lives_and_does_not_read_is_given_up_as_idle_and_never_as_gone() {
    let limit = Some(Duration::from_millis(100));
    for (limits, given_up) in [
        (DeliveryLimits { idle: limit, keepalive: None }, true),
        (DeliveryLimits { idle: None, keepalive: limit }, false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        far.writable().await.unwrap();
        while far.try_write(&[7; 1 << 14]).is_ok() {}
        let mut ending = Box::pin(close_gently(far, limits));
        // Long enough for a verdict, if there is to be one.
        let verdict = tokio::time::timeout(Duration::from_secs(2), &mut ending).await;
        assert_eq!(verdict.ok(), given_up.then_some(Delivery::Idle), "{limits:?}");
        drop(ending);
        let end = near.read_to_end(&mut Vec::new()).await;
        assert_eq!(end.is_err(), given_up, "{limits:?}: {end:?}");
    }
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    near.writable().await.unwrap();
    far.writable().await.unwrap();
    (near, far)
}

#[tokio::test]
async fn a_client_that_goes_on_sending_is_held_back_at_last() {
    let (near, far) = pair().await;
    let mut heard = Box::pin(heard_out(&far));
    let (mut sent, mut idle) = (0, 0);
    // Until nothing moves any more, by what the sockets say themselves.
    while idle < 1000 {
        idle += 1;
        while let Ok(written) = near.try_write(&[7; 1 << 16]) {
            (sent, idle) = (sent + written, 0);
        }
        assert!(sent < 6 * MOST_HEARD, "far more is read than is kept in sockets");
        tokio::select! {
            biased;
            () = &mut heard => panic!("it has not ended"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn what_a_client_has_taken_shows_where_the_kernel_cannot_be_asked_for_it() {
    let (mut near, mut far) = pair().await;
    let mut sent = 0;
    while let Ok(written) = far.try_write(&[7; 1 << 16]) {
        sent += written;
    }
    assert!(!is_all_but_taken(&far), "{sent} bytes, and nobody reads");
    far.shutdown().await.unwrap();
    near.read_to_end(&mut Vec::new()).await.unwrap();
    // Acknowledgements come a moment later.
    let taken = async {
        while !is_all_but_taken(&far) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken).await.expect("it has been taken");
}
