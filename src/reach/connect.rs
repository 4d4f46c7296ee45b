//! Connections to containers.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use super::tune::{GIVEN_UP_AFTER, prompt, unpaced, watched};

/// The path between the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// The loopback of a network namespace, which nothing can cut: both ends are in one kernel,
    /// which would only ask itself whether the other is there.
    Loopback,
    /// Links within this machine.
    Machine,
    /// A network.
    Network,
}

/// A socket to be connected, with those options of [`tune()`](super::tune()) and of [`unpaced`]
/// that matter for its path. Made ahead, it saves a dial these calls.
///
/// # Errors
/// As for socket(2) and setsockopt(2).
pub fn socket(domain: Domain, between: Between) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::TCP))?;
    prompt(&socket)?;
    if between != Between::Loopback {
        watched(&socket, Some(GIVEN_UP_AFTER))?;
    }
    if between != Between::Network {
        unpaced(&socket);
    }
    Ok(socket)
}

/// Connects a socket. Waits for nothing where the other end is on this machine.
///
/// # Errors
/// As for connect(2).
///
/// # Cancel safety
/// Dropping the future closes the socket.
pub async fn connect(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    let connected = begin(&socket, to)?;
    let stream = TcpStream::from_std(socket.into())?;
    if connected {
        return Ok(stream);
    }
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(stream), Err)
}

/// Connects a socket if that needs no wait, as where the other end is on this machine; `None` if it
/// does, after which the socket is closed.
pub(super) fn connect_at_once(
    socket: Socket,
    to: SocketAddr,
) -> io::Result<Option<std::net::TcpStream>> {
    Ok(begin(&socket, to)?.then(|| socket.into()))
}

/// Begins to connect a socket, and returns whether it is connected.
fn begin(socket: &Socket, to: SocketAddr) -> io::Result<bool> {
    match socket.connect(&to.into()) {
        Ok(()) => Ok(true),
        // The kernel says so even where the connection is made before the call returns.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {
            Ok(socket.peer_addr().is_ok())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_cut_is_watched() {
        for (between, cuttable) in
            [(Between::Loopback, false), (Between::Machine, true), (Between::Network, true)]
        {
            let socket = socket(Domain::IPV4, between).unwrap();
            assert_eq!(socket.keepalive().unwrap(), cuttable, "{between:?}");
            assert_eq!(socket.tcp_user_timeout().unwrap(), None, "{between:?}");
            assert!(socket.tcp_nodelay().unwrap() && socket.out_of_band_inline().unwrap());
        }
    }
}
