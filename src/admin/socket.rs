//! The unix socket, and the address, that the admin server listens on.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

/// Its user and its group may ask.
const MODE: u32 = 0o660;

/// A socket that is listened on. Its path is removed with it.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: UnixListener,
    /// None where the socket is somebody else's, who stays.
    pub(super) place: Option<SocketPlace>,
}

/// An address that is listened on.
#[derive(Debug)]
pub struct AdminListener(pub(super) TcpListener);

/// The path of a socket, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketPlace(PathBuf);

/// Why there is no socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Another process is there.
    #[error("another process listens at {}: name another `admin.socket`", .0.display())]
    Taken(PathBuf),
    /// Something else than a socket is there.
    #[error("{} is there, and is no socket: name another `admin.socket`", .0.display())]
    NoSocket(PathBuf),
    /// The address cannot be listened on.
    #[error("the admin server cannot listen on {address}: {source}; choose another `admin.listen`")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A socket that was passed on is another one.
    #[error(
        "the socket `admin` that was passed on listens on {found}, and {wanted}: make both the \
         same, in the configuration or in `ListenStream` of the .socket unit"
    )]
    Other {
        /// Where it listens.
        found: String,
        /// Where it is to listen, as the configuration says it.
        wanted: String,
    },
    /// The socket cannot be made.
    #[error("cannot make the admin socket {}: {source}", path.display())]
    Made {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

// === impl AdminSocket ===

impl AdminSocket {
    /// Listens at a path, whose directory is made if it is absent. A socket that nobody listens on any
    /// more is replaced.
    ///
    /// # Errors
    /// Somebody is there, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Made { path: path.to_owned(), source };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Ok(_) if is_listened_on(path) => return Err(SocketError::Taken(path.to_owned())),
            Ok(_) => fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let place = SocketPlace(path.to_owned());
        // Until now nobody but its user could write to it, unless the umask is a very open one.
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
        Ok(Self { listener, place: Some(place) })
    }

    /// Takes one over that listens at a path. The path is left to who has made it.
    ///
    /// # Errors
    /// It listens somewhere else, or cannot be used.
    pub fn adopt(socket: OwnedFd, path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Made { path: path.to_owned(), source };
        let listener = std::os::unix::net::UnixListener::from(socket);
        let found = listener.local_addr().map_err(failed)?;
        if found.as_pathname() != Some(path) {
            let found = found.as_pathname().map_or("no path".into(), Path::to_string_lossy);
            let wanted = format!("the admin socket is {}", path.display());
            return Err(SocketError::Other { found: found.into_owned(), wanted });
        }
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, place: None })
    }
}

/// Whether somebody takes connections there, as far as can be told.
fn is_listened_on(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::ConnectionRefused,
    }
}

// === impl AdminListener ===

impl AdminListener {
    /// Listens at an address.
    ///
    /// # Errors
    /// Somebody does, or it is none of this machine's.
    pub async fn bind(address: SocketAddr) -> Result<Self, SocketError> {
        let listener = TcpListener::bind(address).await;
        listener.map(Self).map_err(|source| SocketError::Listen { address, source })
    }

    /// Takes one over that listens at an address.
    ///
    /// # Errors
    /// It listens somewhere else, or cannot be used.
    pub fn adopt(socket: OwnedFd, listen: Option<SocketAddr>) -> Result<Self, SocketError> {
        let listener = std::net::TcpListener::from(socket);
        let failed = |address| move |source| SocketError::Listen { address, source };
        let nowhere = SocketAddr::from(([0; 4], 0));
        let found = listener.local_addr().map_err(failed(listen.unwrap_or(nowhere)))?;
        // Port 0 is any.
        let is_it = |listen: SocketAddr| {
            listen.ip() == found.ip() && [0, found.port()].contains(&listen.port())
        };
        if !listen.is_some_and(is_it) {
            let wanted = match listen {
                Some(listen) => format!("`admin.listen` is {listen}"),
                None => "there is no `admin.listen`".to_owned(),
            };
            return Err(SocketError::Other { found: found.to_string(), wanted });
        }
        listener.set_nonblocking(true).map_err(failed(found))?;
        TcpListener::from_std(listener).map(Self).map_err(failed(found))
    }

    /// The address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }
}

// === impl SocketPlace ===

impl Drop for SocketPlace {
    fn drop(&mut self) {
        // Whoever comes after us replaces it.
        _ = fs::remove_file(&self.0);
    }
}
