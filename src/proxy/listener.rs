//! Listening sockets: opened here, or by another process.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ganger_pool::core::ServiceName;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::Settings;
use crate::reach::{tune, unpaced};

/// Connections that the kernel completes before accept(2), as far as net.core.somaxconn allows.
pub(super) const BACKLOG: i32 = 4096;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: std::net::TcpListener,
    /// Another process shares it, and accepts the clients that wait when this one ends.
    shared: bool,
}

/// A service cannot listen.
#[derive(Debug, Error)]
#[error("service {service} cannot listen on {address}: {source}{}", hint(.source, .address))]
pub struct BindError {
    /// The service.
    pub service: ServiceName,
    /// Its address.
    pub address: SocketAddr,
    /// The system's error.
    pub source: io::Error,
}

/// A service cannot use a listening socket that another process has opened for it.
#[derive(Debug, Error)]
#[error("service {service} cannot use the listening socket that was passed on for it: {why}")]
pub struct AdoptError {
    /// The service.
    pub service: ServiceName,
    /// The fault of the socket, and what to do.
    pub why: String,
}

/// Opens a service's listening socket.
///
/// # Errors
/// See [`BindError`].
pub fn bind(settings: &Settings) -> Result<Listener, BindError> {
    let Settings { name, listen, session, .. } = settings;
    let fail = |source| BindError { service: name.clone(), address: *listen, source };
    let opened = open(*listen, session.keepalive);
    opened.map(|inner| Listener { inner, shared: false }).map_err(fail)
}

/// Takes a listening socket that another process has opened for a service, and sets the options
/// that [`bind`] sets. `shared`: another process keeps the socket, and passes it on to the
/// successor of this one.
///
/// # Errors
/// See [`AdoptError`].
pub fn adopt(settings: &Settings, socket: OwnedFd, shared: bool) -> Result<Listener, AdoptError> {
    let Settings { name, listen, session, .. } = settings;
    let fail = |why| AdoptError { service: name.clone(), why };
    let socket = Socket::from(socket);
    let failed = |error: io::Error| fail(error.to_string());
    if let Some(why) = unfit(&socket, *listen).map_err(failed)? {
        return Err(fail(why));
    }
    let prepared =
        prepare(&socket, *listen, session.keepalive).and_then(|()| socket.listen(BACKLOG));
    prepared.map_err(failed)?;
    Ok(Listener { inner: socket.into(), shared })
}

/// Why a socket is not the one that listens at an address, if it is not.
fn unfit(socket: &Socket, listen: SocketAddr) -> io::Result<Option<String>> {
    let address = socket.local_addr()?.as_socket();
    let Some(address) = address.filter(|_| socket.r#type().is_ok_and(|kind| kind == Type::STREAM))
    else {
        return Ok(Some("it is no TCP socket".to_owned()));
    };
    if !sockopt::socket_acceptconn(socket)? {
        return Ok(Some("nobody listens on it".to_owned()));
    }
    // Port 0 stands for any port.
    let same = address.ip() == listen.ip() && [0, address.port()].contains(&listen.port());
    if !same {
        return Ok(Some(format!(
            "it listens on {address}, and `listen` is {listen}: make both the same, in the \
             configuration or in `ListenStream` of the .socket unit"
        )));
    }
    let only_v6 = address.is_ipv6() && socket.only_v6()?;
    if address.is_ipv6() && only_v6 == listen.ip().is_unspecified() {
        return Ok(Some(format!(
            "at {listen} `BindIPv6Only` of the .socket unit has to be {}",
            if only_v6 { "`both`" } else { "`ipv6-only`" }
        )));
    }
    Ok(None)
}

fn open(address: SocketAddr, keepalive: Option<Duration>) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // An address means the same on every machine, whatever bindv6only says: `[::]` is every
        // address of both families, as Docker has it.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    prepare(&socket, address, keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets the options of a listening socket, and those that connections inherit from it.
fn prepare(socket: &Socket, address: SocketAddr, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    tune(socket, keepalive)?;
    if address.ip().is_loopback() {
        unpaced(socket);
    }
    // Accepted connections inherit this until a thread takes them over: a client that cannot be
    // served is to see a reset and no normal end.
    socket.set_linger(Some(Duration::ZERO))
}

fn hint(error: &io::Error, address: &SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; see who has it with `ss -ltnp 'sport = :{port}'`, or choose another port")
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "; choose a port from 1024 up, or give Ganger CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "; no interface of this machine has this address".to_owned()
        }
        _ => String::new(),
    }
}

// === impl Listener ===

impl Listener {
    /// Another listener on the same socket, for another thread: each connection is accepted by one
    /// of them.
    ///
    /// # Errors
    /// As for dup(2).
    pub fn try_clone(&self) -> io::Result<Self> {
        self.inner.try_clone().map(|inner| Self { inner, ..*self })
    }

    /// Its descriptor, for another process.
    ///
    /// # Errors
    /// As for dup(2).
    pub fn to_pass_on(&self) -> io::Result<OwnedFd> {
        self.inner.as_fd().try_clone_to_owned()
    }

    /// Whether another process has it as well, which accepts there when this one has ended.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The address in use, with the chosen port when 0 was asked for.
    ///
    /// # Errors
    /// As for getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.inner.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, listen: &str) -> Settings {
        Settings { name: name.into(), listen: listen.parse().unwrap(), ..Settings::sample() }
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_service() {
        let taken = bind(&at("first", "127.0.0.1:0")).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(&at("second", &address.to_string())).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("service second cannot listen on {address}: ")),
            "{error}"
        );
        assert!(error.contains("ss -ltnp"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_no_interface_is_explained() {
        let error = bind(&at("echo", "192.0.2.1:0")).unwrap_err().to_string();
        assert!(error.ends_with("no interface of this machine has this address"), "{error}");
    }

    #[test]
    fn a_low_port_without_permission_is_explained() {
        let error = io::ErrorKind::PermissionDenied.into();
        assert!(hint(&error, &"0.0.0.0:80".parse().unwrap()).contains("CAP_NET_BIND_SERVICE"));
        assert_eq!(hint(&error, &"0.0.0.0:8080".parse().unwrap()), "");
    }
}
