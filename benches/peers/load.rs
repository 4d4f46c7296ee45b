//! What is done to each of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use crate::backend::{BOTH, ECHO, SOURCE, drain, send_so_many};

const SET_UPS: usize = 1000;
const AT_A_TIME: usize = 3200;
const PINGS: usize = 4000;
const BULK: u64 = 512 << 20;
const EACH_WAY: u64 = 48 << 20;

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Connects, and gets one byte back.
fn enter(to: SocketAddr) -> TcpStream {
    let mut stream = connect(to);
    stream.write_all(&[ECHO]).expect("it takes a byte");
    stream.read_exact(&mut [0]).expect("it answers");
    stream
}

fn quantiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
    (at(50), at(99))
}

/// One connection after the other, one byte there and back: p50 and p99 in seconds.
pub(crate) fn set_up(to: SocketAddr) -> (f64, f64) {
    let one = |_| {
        let start = Instant::now();
        let stream = enter(to);
        let time = start.elapsed().as_secs_f64();
        drop(stream);
        time
    };
    quantiles((0..SET_UPS).map(one).collect())
}

/// The same by many clients: connections a second.
pub(crate) fn set_ups_at_a_time(to: SocketAddr, clients: usize) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| (0..AT_A_TIME / clients).for_each(|_| drop(enter(to))));
        }
    });
    AT_A_TIME as f64 / start.elapsed().as_secs_f64()
}

/// 64 bytes there and back on one connection: p50 in seconds.
pub(crate) fn ping_pong(to: SocketAddr) -> f64 {
    let (mut stream, mut message) = (enter(to), [7; 64]);
    let mut one = |_| {
        let start = Instant::now();
        stream.write_all(&message).expect("it takes them");
        stream.read_exact(&mut message).expect("it sends them back");
        start.elapsed().as_secs_f64()
    };
    quantiles((0..PINGS).map(&mut one).collect()).0
}

/// One stream from the backend: bytes and seconds.
pub(crate) fn bulk(to: SocketAddr) -> (f64, f64) {
    let mut stream = connect(to);
    let start = Instant::now();
    stream.write_all(&[SOURCE]).and_then(|()| stream.write_all(&BULK.to_le_bytes())).expect("sent");
    stream.shutdown(Shutdown::Write).expect("a socket");
    assert_eq!(drain(&mut stream).expect("read"), BULK);
    (BULK as f64, start.elapsed().as_secs_f64())
}

/// Connections that are full in both directions: bytes and seconds.
pub(crate) fn both_ways(to: SocketAddr, connections: u32) -> (f64, f64) {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut reader = connect(to);
                let mut writer = reader.try_clone().expect("a socket");
                let sender = thread::spawn(move || {
                    writer.write_all(&[BOTH]).expect("sent");
                    writer.write_all(&EACH_WAY.to_le_bytes()).expect("sent");
                    send_so_many(&mut writer, EACH_WAY).expect("sent");
                    writer.shutdown(Shutdown::Write).expect("a socket");
                });
                assert_eq!(drain(&mut reader).expect("read"), EACH_WAY + 1);
                sender.join().expect("it has sent");
            });
        }
    });
    (2.0 * EACH_WAY as f64 * f64::from(connections), start.elapsed().as_secs_f64())
}

/// Connections on which nothing happens.
pub(crate) struct Idle(Vec<TcpStream>);

impl Idle {
    /// Two descriptors each: a process may have 20,000 where nobody may raise that.
    pub(crate) const COUNT: usize = 9_900;

    pub(crate) fn hold(to: SocketAddr) -> Self {
        Self((0..Self::COUNT).map(|_| enter(to)).collect())
    }

    /// Something happens on each, and then nothing again.
    pub(crate) fn used(mut self) -> Self {
        let mut block = vec![7; 64 << 10];
        for stream in &mut self.0 {
            // What fits into the sockets on the way, so that one thread is enough.
            for part in block.chunks_mut(4096) {
                stream.write_all(part).expect("sent");
                stream.read_exact(part).expect("and back");
            }
        }
        self
    }
}
