//! Much data through the built program.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ganger_test_support::{Config, Fleet};

use crate::GANGER;

const GIBIBYTE: usize = 1 << 30;
/// The longest that nothing moves.
const DEADLINE: Duration = Duration::from_secs(60);
/// A write that waits for so long waits for the reader.
const STUCK: Duration = Duration::from_millis(100);
/// At so many eighths of all data the reader waits until the writer does: early enough that
/// more is left than fits into all sockets on the way, each of up to 36 MB.
const STOPS: usize = 4;

/// The block that is sent again and again: no buffer on its way has its length.
fn block() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..1_048_583).map(next).collect()
}

/// Sizes that fit to nothing.
fn sizes() -> impl Iterator<Item = usize> {
    [1, 65_537, 7, 4_095, 262_145, 3, 1_449, 999_983].into_iter().cycle()
}

/// Sends all of it in pieces, tells each time that it is stuck, and ends its direction.
fn send(mut stream: &TcpStream, block: &[u8], stuck: mpsc::Sender<()>) -> io::Result<()> {
    let (mut sent, mut sizes) = (0, sizes());
    while sent < GIBIBYTE {
        let at = sent % block.len();
        let most = sizes.next().unwrap_or(1).min(block.len() - at).min(GIBIBYTE - sent);
        match stream.write(&block[at..at + most]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // Nobody may want to know any more.
                let _ = stuck.send(());
            }
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// Receives it all, slowly: stops until the writer is stuck.
fn receive(mut stream: &TcpStream, block: &[u8], stuck: &mpsc::Receiver<()>) -> io::Result<()> {
    let (mut received, mut sizes, mut buffer) = (0, sizes(), vec![0; 1 << 20]);
    let mut stops = (0..STOPS).map(|stop| stop * (GIBIBYTE / 8)).peekable();
    loop {
        if stops.next_if(|stop| *stop <= received).is_some() {
            while stuck.try_recv().is_ok() {}
            if let Err(error) = stuck.recv_timeout(DEADLINE) {
                let what = format!("no writer waits for its reader at {received}: {error}");
                return Err(io::Error::other(what));
            }
        }
        let most = sizes.next().unwrap_or(1);
        let count = stream.read(&mut buffer[..most])?;
        if count == 0 {
            break;
        }
        let mut new = &buffer[..count];
        while !new.is_empty() {
            let at = received % block.len();
            let (here, rest) = new.split_at(new.len().min(block.len() - at));
            assert!(here == &block[at..at + here.len()], "other bytes from {received} on");
            received += here.len();
            new = rest;
        }
    }
    assert_eq!(received, GIBIBYTE);
    Ok(())
}

#[test]
fn a_gibibyte_each_way_arrives_byte_for_byte_through_slow_readers_and_half_closed_connections() {
    let fleet = Fleet::shared();
    let host = fleet.local();
    let config = Config::new("bulk")
        .daemon(host.daemon(40))
        .fixture("inside", "warm: 1, max: 2, network: Sealed, reach: Namespace", &[])
        .fixture("published", "warm: 1, max: 2, network: Bridge, reach: Published", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let block = block();
    for service in ["inside", "published"] {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, config.port(service)));
        let stream = stream.expect("a connection");
        stream.set_write_timeout(Some(STUCK)).expect("a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let (says, hears) = mpsc::channel();
        let (sent, received) = thread::scope(|scope| {
            let sent = scope.spawn(|| send(&stream, &block, says));
            let received = receive(&stream, &block, &hears);
            (sent.join().unwrap(), received)
        });
        assert!(sent.is_ok() && received.is_ok(), "{sent:?}, {received:?}");
        let port = stream.local_addr().expect("connected").port();
        let end = ganger.wait_for_end(port);
        let bytes = GIBIBYTE.to_string();
        assert_eq!((end.field("in"), end.field("out")), (&*bytes, &*bytes), "{service}");
        assert_eq!(end.field("end"), "--", "{service}");
    }
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
