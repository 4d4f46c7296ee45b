//! Listening sockets that another process has opened for this one: the service manager, by the
//! protocol of systemd's sd_listen_fds(3), or the process that this one takes over from.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use socket2::SockRef;
use thiserror::Error;
use tracing::{info, warn};

use crate::admin::{AdminListener, AdminSocket, SocketError};
use crate::proxy::{self, AdoptError, Listener, Settings};

/// The name of the admin server's sockets.
pub(super) const ADMIN: &str = "admin";

/// Listening sockets that nobody has claimed yet.
#[derive(Debug, Default)]
pub struct GivenSockets(Vec<GivenSocket>);

#[derive(Debug)]
struct GivenSocket {
    /// The service that it is for, or [`ADMIN`].
    name: String,
    /// Its address as a configuration had it. Without one it is claimed by its name.
    configured: Option<SocketAddr>,
    /// The service manager holds it as well, and passes it on to the next process.
    shared: bool,
    socket: OwnedFd,
}

/// A listening socket of a process, for the one that takes its place.
#[derive(Debug)]
pub(super) struct PassedOn {
    /// The service that it is for, or [`ADMIN`].
    pub(super) name: String,
    /// Its address as configured.
    pub(super) listen: SocketAddr,
    /// The service manager holds it as well.
    pub(super) shared: bool,
    pub(super) socket: OwnedFd,
}

/// The service manager has passed on something that cannot be used.
#[derive(Debug, Error)]
#[error(
    "cannot take the sockets that LISTEN_FDS says were passed on: {0}; start it by the service \
     manager, or without LISTEN_PID"
)]
pub struct GivenError(String);

// === impl GivenSockets ===

impl GivenSockets {
    /// The sockets that the service manager has passed on. No child of ours inherits them. To be
    /// called once, and before anything else has closed a descriptor.
    ///
    /// # Errors
    /// There are fewer sockets than it says.
    pub fn of_service_manager() -> Result<Self, GivenError> {
        // The first call checks that they exist, and sets close-on-exec: the second does neither.
        let there = sd_notify::listen_fds();
        _ = there.map_err(|error| GivenError(error.to_string()))?;
        let given = sd_listen_fds::get().map_err(|error| GivenError(error.to_string()))?;
        let given = given.into_iter().map(|(name, socket)| {
            let (name, socket) = (name.unwrap_or_default(), socket.into_std());
            GivenSocket { name, configured: None, shared: true, socket }
        });
        Ok(Self(given.collect()))
    }

    /// Adds a socket that another process had at a configured address, for whichever service.
    pub(super) fn add(&mut self, passed: PassedOn) {
        let PassedOn { name, listen, shared, socket } = passed;
        self.0.push(GivenSocket { name, configured: Some(listen), shared, socket });
    }

    /// Adds the sockets of `others`.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The services' listening sockets, each one of these or a new one.
    pub(super) fn listeners(&mut self, all: &[Settings]) -> Result<Vec<Listener>, super::AppError> {
        // With port 0 several services may have one address, each with a port of its own: a service
        // takes its own socket before others may claim it.
        let own = |settings| self.own(settings);
        let own: Vec<_> = all.iter().map(own).collect();
        let listener = |(settings, own): (&Settings, Option<GivenSocket>)| match own
            .or_else(|| self.claim(settings.name.as_str(), settings.listen))
        {
            Some(given) => Ok(adopted(settings, given)?),
            None => Ok(proxy::bind(settings)?),
        };
        all.iter().zip(own).map(listener).collect()
    }

    /// The admin server's TCP listener, if one of these is.
    pub(super) fn admin_listener(
        &mut self,
        listen: Option<SocketAddr>,
    ) -> Result<Option<AdminListener>, SocketError> {
        let is_its = |given: &GivenSocket| match given.configured {
            Some(configured) => Some(configured) == listen,
            None => given.name == ADMIN && address(&given.socket).is_some(),
        };
        let own = |given: &GivenSocket| given.name == ADMIN && is_its(given);
        // With port 0 another socket at this address is a service's, on a port of its own.
        let is_one = listen.is_none_or(|listen| listen.port() != 0);
        match self.remove(own).or_else(|| is_one.then(|| self.remove(is_its)).flatten()) {
            Some(given) => AdminListener::adopt(given.socket, listen).map(Some),
            None => Ok(None),
        }
    }

    /// The admin server's unix socket, if one of these is.
    pub(super) fn admin_socket(&mut self, path: &Path) -> Result<Option<AdminSocket>, SocketError> {
        let is_its = |given: &GivenSocket| {
            let unnamed = given.configured.is_none() && given.name == ADMIN;
            unnamed && SockRef::from(&given.socket).local_addr().is_ok_and(|its| its.is_unix())
        };
        match self.remove(is_its) {
            Some(given) => AdminSocket::adopt(given.socket, path).map(Some),
            None => Ok(None),
        }
    }

    /// The socket that another process had for the service of this name and address.
    fn own(&mut self, settings: &Settings) -> Option<GivenSocket> {
        self.remove(|given| {
            given.configured == Some(settings.listen) && given.name == settings.name.as_str()
        })
    }

    /// The socket for this name, or for this address.
    fn claim(&mut self, name: &str, listen: SocketAddr) -> Option<GivenSocket> {
        let named = |given: &GivenSocket| given.configured.is_none() && given.name == name;
        self.remove(|given| given.configured == Some(listen))
            // Of several with this name, the one that listens at the address.
            .or_else(|| self.remove(|given| named(given) && address(&given.socket) == Some(listen)))
            .or_else(|| self.remove(named))
    }

    fn remove(&mut self, is_it: impl Fn(&GivenSocket) -> bool) -> Option<GivenSocket> {
        let position = self.0.iter().position(is_it)?;
        Some(self.0.remove(position))
    }

    /// Closes the sockets that nobody has claimed, and logs it. Returns the names of those that
    /// another process has had.
    pub(super) fn close(&mut self) -> Vec<String> {
        let mut closed = Vec::new();
        for GivenSocket { name, socket, configured, .. } in self.0.drain(..) {
            let address = address(&socket).map(|address| address.to_string());
            warn!(
                name,
                address,
                "a listening socket that was passed on is for no service here: it is closed here"
            );
            closed.extend(configured.map(|_| name));
        }
        closed
    }
}

fn adopted(settings: &Settings, given: GivenSocket) -> Result<Listener, AdoptError> {
    let listener = proxy::adopt(settings, given.socket, given.shared)?;
    info!(service = %settings.name, "the listening socket of the service was open already");
    Ok(listener)
}

/// The address of a TCP socket.
fn address(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::app::Plan;
    use crate::config::Config;

    fn listening() -> (OwnedFd, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener.into(), address)
    }

    fn settings(name: &str, listen: SocketAddr) -> Settings {
        let config = Config::parse(&Config::default_text(), "the default configuration").unwrap();
        let settings = Plan::new(&config).settings.remove(0);
        Settings { name: name.into(), listen, ..settings }
    }

    fn claimed(given: &mut GivenSockets, of: Settings) -> Result<Listener, crate::app::AppError> {
        given.listeners(&[of]).map(|mut listeners| listeners.remove(0))
    }

    fn named(sockets: Vec<(&str, OwnedFd)>) -> GivenSockets {
        let given = |(name, socket): (&str, _)| GivenSocket {
            name: name.to_owned(),
            configured: None,
            shared: true,
            socket,
        };
        GivenSockets(sockets.into_iter().map(given).collect())
    }

    #[tokio::test]
    async fn a_service_takes_the_socket_of_its_name_which_has_to_listen_where_it_does() {
        let ((first, one), (second, two), (other, _)) = (listening(), listening(), listening());
        let mut given = named(vec![("echo", first), ("other", other), ("echo", second)]);
        // Of two sockets, the one at this address.
        let listener = claimed(&mut given, settings("echo", two)).unwrap();
        assert_eq!((listener.local_addr().unwrap(), listener.is_shared()), (two, true));
        let error = claimed(&mut given, settings("echo", two)).unwrap_err().to_string();
        let expected = format!("it listens on {one}, and `listen` is {two}");
        assert!(error.contains("service echo cannot use") && error.contains(&expected), "{error}");
        assert_eq!(given.0.len(), 1);
        assert_eq!(given.close(), [""; 0]);
        assert!(given.0.is_empty());
        let own = claimed(&mut given, settings("own", "127.0.0.1:0".parse().unwrap())).unwrap();
        assert!(!own.is_shared());
    }

    #[tokio::test]
    async fn the_admin_server_takes_its_own_and_no_other_address() {
        let ((socket, address), (again, _)) = (listening(), listening());
        let mut given = named(vec![(ADMIN, socket)]);
        let listener = given.admin_listener(Some(address)).unwrap().unwrap();
        assert_eq!(listener.address(), Some(address));
        assert!(given.admin_listener(Some(address)).unwrap().is_none());
        let error = named(vec![(ADMIN, again)]).admin_listener(Some(address)).unwrap_err();
        assert!(error.to_string().contains("`admin.listen` is 127.0.0.1"), "{error}");
    }

    #[tokio::test]
    async fn what_a_process_had_goes_by_its_address_whatever_it_was_for() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let ((socket, address), (other, _)) = (listening(), listening());
        let mut given = GivenSockets::default();
        for (name, socket) in [("before", socket), ("admin-before", other)] {
            given.add(PassedOn { name: name.to_owned(), listen: any, shared: false, socket });
        }
        assert!(given.admin_listener(Some(address)).unwrap().is_none());
        let listener = claimed(&mut given, settings("now", any)).unwrap();
        // Its former process no longer accepts on it.
        assert_eq!((listener.local_addr().unwrap(), listener.is_shared()), (address, false));
        assert_eq!(given.close(), ["admin-before"]);
    }

    #[tokio::test]
    async fn of_those_at_one_address_each_goes_to_who_had_it() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = [listening(), listening(), listening(), listening()];
        let mut given = GivenSockets::default();
        let mut addresses = Vec::new();
        for (name, (socket, address)) in ["a", "b", "gone", ADMIN].into_iter().zip(sockets) {
            given.add(PassedOn { name: name.to_owned(), listen: any, shared: false, socket });
            addresses.push(address);
        }
        let admin = given.admin_listener(Some(any)).unwrap().unwrap();
        assert_eq!(admin.address(), Some(addresses[3]));
        let all = ["new", "b", "a"].map(|name| settings(name, any));
        let listeners = given.listeners(&all).unwrap();
        let found: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
        assert_eq!(found, [addresses[2], addresses[1], addresses[0]]);
    }
}
