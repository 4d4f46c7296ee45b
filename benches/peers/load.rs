//! The load on each way.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::backend::{BOTH, ECHO, SOURCE, drain, send_so_many};

/// Blocks a round, of each way in turn, where connections are measured one at a time.
pub(crate) const BLOCKS: usize = 5;
const SET_UPS: usize = 400;
const PINGS: usize = 1000;
const AT_A_TIME: usize = 3200;
const BULK: u64 = 512 << 20;
const EACH_WAY: u64 = 48 << 20;
const ODD_BYTES: u32 = 16 << 20;

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

/// Times in seconds, the shortest first.
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// The time that so many percent do not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> f64 {
        self.0.get(self.0.len() * percent / 100).copied().unwrap_or(f64::NAN)
    }
}

/// Connections one after the other, one byte there and back: seconds for each.
pub(crate) fn set_up(to: SocketAddr, times: &mut Vec<f64>) {
    let one = |_| {
        let start = Instant::now();
        let stream = enter(to);
        let time = start.elapsed().as_secs_f64();
        drop(stream);
        time
    };
    times.extend((0..SET_UPS).map(one));
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

/// 64 bytes there and back on one connection: seconds for each.
pub(crate) fn ping_pong(to: SocketAddr, times: &mut Vec<f64>) {
    let (mut stream, mut message) = (enter(to), [7; 64]);
    let one = |_| {
        let start = Instant::now();
        stream.write_all(&message).expect("it takes them");
        stream.read_exact(&mut message).expect("it sends them back");
        start.elapsed().as_secs_f64()
    };
    times.extend((0..PINGS).map(one));
}

/// A stream from the backend: bytes and seconds.
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

/// Whether all that is sent comes back: in writes of odd sizes, two of them urgent, with the end
/// of the direction long before that of the answer.
pub(crate) fn every_byte(to: SocketAddr) -> bool {
    let mut sent: Vec<u8> = (0..ODD_BYTES).map(|n| (n * 31 % 251) as u8).collect();
    // The first byte says what is wanted, and comes back as well.
    sent[0] = ECHO;
    let mut reader = connect(to);
    let mut writer = reader.try_clone().expect("a socket");
    let patience = Some(Duration::from_secs(60));
    reader.set_read_timeout(patience).and(writer.set_write_timeout(patience)).expect("a socket");
    let mut got = Vec::new();
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_oddly(&mut writer, &sent));
        reader.read_to_end(&mut got).is_ok() & sender.join().is_ok_and(|done| done.is_ok())
    }) && got == sent
}

fn send_oddly(stream: &mut TcpStream, mut left: &[u8]) -> io::Result<()> {
    for (n, size) in (1..70_000).step_by(1_003).cycle().enumerate() {
        let (now, rest) = left.split_at(size.min(left.len()));
        match n {
            3 | 200 => _ = SockRef::from(&*stream).send_out_of_band(now)?,
            _ => stream.write_all(now)?,
        }
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// Connections on which nothing happens.
pub(crate) struct Idle(Vec<TcpStream>);

impl Idle {
    /// Two descriptors each: a process may have 20,000 where nobody may raise that.
    pub(crate) const COUNT: usize = 9_900;

    pub(crate) fn hold(to: SocketAddr) -> Self {
        Self((0..Self::COUNT).map(|_| enter(to)).collect())
    }

    /// Each sends and receives, and is idle again.
    pub(crate) fn used(mut self) -> Self {
        let mut block = vec![7; 64 << 10];
        for stream in &mut self.0 {
            // A part fits into the sockets on the way, so that one thread is enough.
            for part in block.chunks_mut(4096) {
                stream.write_all(part).expect("sent");
                stream.read_exact(part).expect("and back");
            }
        }
        self
    }
}
