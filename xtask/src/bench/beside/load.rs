//! Many clients in one thread: each connects, sends a byte, waits for its echo, and closes.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::{io, net};

/// A connection that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pings on one connection.
const PINGS: usize = 500;

/// The times of connections, the shortest first, and how long all of them took.
#[derive(Debug)]
pub(super) struct Times {
    sorted: Vec<Duration>,
    all: Duration,
}

struct LoadClient {
    since: Instant,
    socket: OwnedFd,
    /// The byte is sent; its echo is waited for.
    has_sent: bool,
}

/// The clients that are at work at the same time.
struct LoadClients<'a> {
    to: &'a [SocketAddr],
    epoll: OwnedFd,
    clients: Vec<Option<LoadClient>>,
    started: usize,
    times: Vec<Duration>,
}

// === impl Times ===

impl Times {
    /// Connections a second.
    pub(super) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.all.as_secs_f64()
    }

    /// The time, in seconds, that so many percent do not exceed.
    pub(super) fn quantile(&self, percent: usize) -> f64 {
        let place = self.sorted.len() * percent / 100;
        self.sorted.get(place).map_or(f64::NAN, Duration::as_secs_f64)
    }

    fn new(mut times: Vec<Duration>, since: Instant) -> Self {
        times.sort_unstable();
        Self { sorted: times, all: since.elapsed() }
    }
}

/// Makes `count` connections, so many at a time, to these addresses in turn.
pub(super) fn set_ups(to: &[SocketAddr], at_a_time: usize, count: usize) -> Result<Times> {
    let since = Instant::now();
    let mut clients = LoadClients {
        to,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        clients: Vec::new(),
        started: 0,
        times: Vec::with_capacity(count),
    };
    clients.clients.resize_with(at_a_time, || None);
    for slot in 0..at_a_time {
        clients.begin(slot)?;
    }
    let mut events = Vec::with_capacity(at_a_time);
    while clients.times.len() < count {
        events.clear();
        let patience = Timespec::try_from(PATIENCE)?;
        epoll::wait(&clients.epoll, spare_capacity(&mut events), Some(&patience))?;
        if events.is_empty() {
            bail!("{} of {count} connections were served, then none", clients.times.len());
        }
        for event in &events {
            let slot = usize::try_from(event.data.u64())?;
            if clients.go_on(slot)? && clients.started < count {
                clients.begin(slot)?;
            }
        }
    }
    Ok(Times::new(clients.times, since))
}

/// 64 bytes there and back on one connection, again and again.
pub(super) fn ping_pong(to: SocketAddr) -> Result<Times> {
    use std::io::{Read, Write};
    let since = Instant::now();
    let mut stream = std::net::TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut message = [7; 64];
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let begin = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        times.push(begin.elapsed());
    }
    Ok(Times::new(times, since))
}

// === impl LoadClients ===

impl LoadClients<'_> {
    /// Has the client of a slot connect.
    fn begin(&mut self, slot: usize) -> Result<()> {
        let to = self.to[self.started % self.to.len()];
        self.started += 1;
        let since = Instant::now();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        set_tcp_nodelay(&socket, true)?;
        let has_sent = match net::connect(&socket, &to) {
            Ok(()) => send(&socket, to)?,
            Err(Errno::INPROGRESS) => false,
            Err(error) => return Err(error).with_context(|| to.to_string()),
        };
        let wanted = if has_sent { epoll::EventFlags::IN } else { epoll::EventFlags::OUT };
        let data = epoll::EventData::new_u64(u64::try_from(slot)?);
        epoll::add(&self.epoll, &socket, data, wanted)?;
        self.clients[slot] = Some(LoadClient { since, socket, has_sent });
        Ok(())
    }

    /// Goes on with the client of a slot, whose socket is ready. Returns whether it is done.
    fn go_on(&mut self, slot: usize) -> Result<bool> {
        let client = self.clients[slot].as_mut().context("an event of no client")?;
        if !client.has_sent {
            let to = self.to[0];
            net::sockopt::socket_error(&client.socket)?.with_context(|| to.to_string())?;
            client.has_sent = send(&client.socket, to)?;
            let data = epoll::EventData::new_u64(u64::try_from(slot)?);
            epoll::modify(&self.epoll, &client.socket, data, epoll::EventFlags::IN)?;
            return Ok(false);
        }
        match net::recv(&client.socket, &mut [0], RecvFlags::empty()) {
            Ok((1, _)) => {}
            Ok(_) => bail!("a connection was closed before the echo came"),
            Err(io::Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error).context("a connection broke before the echo came"),
        }
        self.times.push(client.since.elapsed());
        self.clients[slot] = None;
        Ok(true)
    }
}

fn send(socket: impl AsFd, to: SocketAddr) -> Result<bool> {
    net::send(socket, &[7], SendFlags::NOSIGNAL).with_context(|| to.to_string())?;
    Ok(true)
}
