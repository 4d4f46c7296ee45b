//! The unix socket, and the address, that the admin server listens on.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use crate::config::BESIDE;

/// Its user and its group may ask.
const MODE: u32 = 0o660;

/// A socket that is listened on. Its path is removed with it.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: UnixListener,
    /// None where the path belongs to another process.
    pub(super) place: Option<SocketPlace>,
    /// Where it is, and where it is to be.
    beside: Option<SocketMove>,
}

/// A socket that listens beside another one, whose path it is to have.
#[derive(Debug, Clone)]
pub struct SocketMove {
    from: PathBuf,
    to: PathBuf,
}

/// An address that is listened on.
#[derive(Debug)]
pub struct AdminListener(pub(super) TcpListener);

/// The paths that a socket may have, which are removed when this is dropped, as far as they are
/// still its own: another process may have taken them over.
#[derive(Debug)]
pub(super) struct SocketPlace {
    paths: Vec<PathBuf>,
    /// The device and the number of its file.
    file: (u64, u64),
}

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
        /// The system's error.
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
        /// The system's error.
        source: io::Error,
    },
}

// === impl AdminSocket ===

impl AdminSocket {
    /// Listens at a path, whose directory is made if it is absent. A socket that nobody listens on any
    /// more is replaced.
    ///
    /// # Errors
    /// The path is taken, or the socket cannot be made.
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
        let (listener, place) = listen(path, &[]).map_err(failed)?;
        Ok(Self { listener, place: Some(place), beside: None })
    }

    /// Listens beside the path of the process that is taken over from, and can be
    /// [moved](AdminSocket::beside) there. A socket that was left beside it is replaced: only one
    /// process at a time takes over.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind_beside(path: &Path) -> Result<Self, SocketError> {
        let mut from = path.as_os_str().to_owned();
        from.push(BESIDE);
        let from = PathBuf::from(from);
        let failed = |source| SocketError::Made { path: from.clone(), source };
        if fs::symlink_metadata(&from).is_ok_and(|there| there.file_type().is_socket()) {
            fs::remove_file(&from).map_err(failed)?;
        }
        let (listener, place) = listen(&from, &[path]).map_err(failed)?;
        let beside = Some(SocketMove { from, to: path.to_owned() });
        Ok(Self { listener, place: Some(place), beside })
    }

    /// The move to its path, if it is not there.
    #[must_use]
    pub fn beside(&self) -> Option<SocketMove> {
        self.beside.clone()
    }

    /// Takes over a socket at a path. The path is left to the process that made it.
    ///
    /// # Errors
    /// The socket listens elsewhere, or cannot be used.
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
        Ok(Self { listener, place: None, beside: None })
    }
}

/// Listens at a path; returns the paths to remove, with `others` that it may be moved to.
fn listen(path: &Path, others: &[&Path]) -> io::Result<(UnixListener, SocketPlace)> {
    let listener = UnixListener::bind(path)?;
    let paths = others.iter().copied().chain([path]).map(Path::to_owned).collect();
    let file = file(path)?;
    let place = SocketPlace { paths, file };
    // Until now nobody but its user could write to it, unless the umask is a very open one.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok((listener, place))
}

/// Which file a path names.
fn file(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
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
    /// The address is taken, or not of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, SocketError> {
        let listener = TcpListener::bind(address).await;
        listener.map(Self).map_err(|source| SocketError::Listen { address, source })
    }

    /// Takes over a socket at an address.
    ///
    /// # Errors
    /// The socket listens elsewhere, or cannot be used.
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

    /// Its descriptor, for another process.
    ///
    /// # Errors
    /// As for dup(2).
    pub fn to_pass_on(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// The address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }
}

// === impl SocketMove ===

impl SocketMove {
    /// Takes the path over: whoever connects there from now on comes to this socket.
    ///
    /// # Errors
    /// As for rename(2).
    pub fn carry_out(&self) -> io::Result<()> {
        fs::rename(&self.from, &self.to)
    }
}

// === impl SocketPlace ===

impl Drop for SocketPlace {
    fn drop(&mut self) {
        // The next process replaces a leftover.
        for path in self.paths.iter().filter(|path| file(path).is_ok_and(|file| file == self.file))
        {
            _ = fs::remove_file(path);
        }
    }
}
