//! Clients of the built program.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, connect, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::fleet::Host;
use crate::poll::here;

/// Longer than anything takes: what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a container is given to answer another one on its machine.
const SILENCE: Duration = Duration::from_secs(2);

/// A connection to this machine.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Taken and reset before connect(2) had returned.
    reset_at_once: bool,
}

/// How a connection came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Closed in good order, after these bytes.
    Closed(Vec<u8>),
    /// Reset, after these bytes.
    Reset(Vec<u8>),
}

/// The connections of this process: their own port, that to which they were made, and since when.
static CONNECTED: Mutex<Vec<(u16, u16, SystemTime)>> = Mutex::new(Vec::new());

/// Since when there is the latest connection from a port to one of others, as records tell times:
/// the port of a connection that has ended may be another's.
pub(crate) fn connected_since(own: u16, to: &[u16]) -> Option<String> {
    let all = CONNECTED.lock();
    let latest = all.iter().rev().find(|(from, port, _)| *from == own && to.contains(port));
    latest.map(|(.., since)| humantime::format_rfc3339_micros(*since).to_string())
}

// === impl Client ===

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody takes the connection.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|error| panic!("port {port}: {error}"))
    }

    /// Connects, if somebody takes the connection. One that is reset meanwhile was taken.
    ///
    /// # Errors
    /// As for connect(2).
    pub fn try_connect(port: u16) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // With a time-out, a reset right after the accept would most often be an error here.
        let since = SystemTime::now();
        let reset_at_once = match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(()) => false,
            Err(Errno::CONNRESET) => true,
            Err(error) => return Err(error.into()),
        };
        let client = Self { reset_at_once, ..Self::new(socket.into())? };
        if let Ok(own) = client.stream.local_addr() {
            CONNECTED.lock().push((own.port(), port, since));
        }
        Ok(client)
    }

    /// Whether somebody listens on a port of this machine: the kernel is asked, for a connection
    /// may be let in, and is a client then.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn is_listening(port: u16) -> bool {
        let table = fs::read_to_string("/proc/net/tcp").expect("the table of connections");
        let local = format!(":{port:04X}");
        table.lines().skip(1).any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields[1].ends_with(&local) && fields[3] == "0A"
        })
    }

    /// Connects to this machine from a host, over its link.
    ///
    /// # Panics
    /// When nobody takes the connection, and for host 0, which has no link.
    #[must_use]
    pub fn connect_from(host: &Host, port: u16) -> Self {
        Self::try_connect_from(host, port).expect("a connection over the link")
    }

    /// As [`Client::connect_from`].
    ///
    /// # Errors
    /// As for connect(2).
    ///
    /// # Panics
    /// For host 0, which has no link.
    pub fn try_connect_from(host: &Host, port: u16) -> io::Result<Self> {
        let netns = host.netns.as_ref().expect("a link");
        let netns = File::open(format!("/run/netns/{netns}")).expect("a namespace");
        let gateway = host.gateway.as_ref().expect("a link");
        let gateway: Ipv4Addr = gateway.parse().expect("an address");
        let connecting = thread::spawn(move || {
            // Of this thread alone; a socket stays where it was made.
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpStream::connect((gateway, port))
        });
        Self::new(connecting.join().expect("a thread")?)
    }

    /// Connects from inside the network namespace of a process of this machine.
    ///
    /// # Errors
    /// As for connect(2); `TimedOut` when nobody answers within two seconds.
    ///
    /// # Panics
    /// When the namespace cannot be entered.
    pub fn try_connect_inside(pid: &str, address: SocketAddr) -> io::Result<Self> {
        let netns = File::open(format!("/proc/{pid}/ns/net")).expect("a namespace");
        let connecting = thread::spawn(move || {
            let entered =
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network));
            entered.expect("in the namespace");
            TcpStream::connect_timeout(&address, here(SILENCE))
        });
        Self::new(connecting.join().expect("a thread")?)
    }

    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(here(DEADLINE)))?;
        stream.set_write_timeout(Some(here(DEADLINE)))?;
        Ok(Self { stream, reset_at_once: false })
    }

    fn check(&self) -> io::Result<()> {
        if self.reset_at_once { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// The address of its own end, which the program's log names.
    ///
    /// # Panics
    /// Never, once it is connected.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// The port of its own end.
    ///
    /// # Panics
    /// Never, once it is connected.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Waits so long from now on, and then fails with `WouldBlock`.
    ///
    /// # Panics
    /// When it is to wait for no time at all.
    pub fn patience(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(here(limit))).expect("a limit");
        self.stream.set_write_timeout(Some(here(limit))).expect("a limit");
    }

    /// Sends.
    ///
    /// # Panics
    /// When the connection is broken.
    pub fn send(&mut self, data: impl AsRef<[u8]>) {
        self.try_send(data).expect("a connection that takes data");
    }

    /// As [`Client::send`].
    ///
    /// # Errors
    /// How the connection failed.
    pub fn try_send(&mut self, data: impl AsRef<[u8]>) -> io::Result<()> {
        self.check()?;
        self.stream.write_all(data.as_ref()).map_err(|error| match error.kind() {
            // The second word on a connection that was reset says this.
            ErrorKind::BrokenPipe => ErrorKind::ConnectionReset.into(),
            _ => error,
        })
    }

    /// Receives a line, and returns it without its end.
    ///
    /// # Panics
    /// When the connection ends before the line does, or nothing comes.
    pub fn line(&mut self) -> String {
        self.try_line().unwrap_or_else(|error| panic!("no line: {error}"))
    }

    /// As [`Client::line`].
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection was closed before the line's end,
    /// else what became of it.
    pub fn try_line(&mut self) -> io::Result<String> {
        self.check()?;
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            // By the byte, so that what follows is left for whoever wants it.
            self.stream.read_exact(&mut byte)?;
            if byte == *b"\n" {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            line.extend(byte);
        }
    }

    /// Sends a line and expects it back.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub fn echo(&mut self, line: &str) {
        self.send(format!("{line}\n"));
        assert_eq!(self.line(), line);
    }

    /// Breaks the connection off: its other end is reset.
    ///
    /// # Panics
    /// Never, once it is connected.
    pub fn reset(self) {
        set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("a socket");
    }

    /// Receives up to the end.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn ending(&mut self) -> Ending {
        self.try_ending().unwrap_or_else(|error| panic!("neither end nor reset: {error}"))
    }

    fn try_ending(&mut self) -> io::Result<Ending> {
        if self.reset_at_once {
            return Ok(Ending::Reset(Vec::new()));
        }
        let mut received = Vec::new();
        match self.stream.read_to_end(&mut received) {
            Ok(_) => Ok(Ending::Closed(received)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Ending::Reset(received)),
            Err(error) => Err(error),
        }
    }

    /// Receives so many bytes.
    ///
    /// # Panics
    /// When the connection ends before, or nothing comes.
    #[must_use]
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut received = Vec::new();
        let limit = u64::try_from(count).expect("a number of bytes");
        let read = (&self.stream).take(limit).read_to_end(&mut received);
        read.unwrap_or_else(|error| panic!("after {} of {count} bytes: {error}", received.len()));
        assert_eq!(received.len(), count, "the connection ended before");
        received
    }

    /// Ends its own direction, and receives nothing.
    ///
    /// # Panics
    /// When the connection is broken.
    pub fn end(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Ends its own direction, and receives up to the end.
    ///
    /// # Panics
    /// As [`Client::ending`].
    #[must_use]
    pub fn finish(self) -> Ending {
        self.try_finish().unwrap_or_else(|error| panic!("neither end nor reset: {error}"))
    }

    /// As [`Client::finish`].
    ///
    /// # Errors
    /// When neither an end nor a reset comes.
    pub fn try_finish(mut self) -> io::Result<Ending> {
        // A connection that was reset cannot be ended; how it ended comes next.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.try_ending()
    }
}
