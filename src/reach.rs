//! How a container is reached: the data path's view of one.

pub mod capability;
mod connect;
pub(crate) mod hot;
mod listening;
mod memory;
pub mod neighbour;
pub mod netns;
mod peer;
pub mod process;
mod sock_diag;
mod tune;

use std::fmt;
use std::future::Future;
use std::io;

use rustix::io::Errno;
use tokio::net::TcpStream;

pub use connect::{Between, connect, socket};
pub use listening::Listens;
pub use peer::{Unacknowledged, unacknowledged};
pub use tune::{GIVEN_UP_AFTER, tune, unpaced, watched};

/// A running container, as the data path sees it.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The engine's id of the container, 64 hexadecimal digits.
    fn id(&self) -> &str;

    /// Opens a connection to the service in the container, with the options that [`socket`] sets.
    ///
    /// # Errors
    /// As for connect(2) and setsockopt(2). The caller sets the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    fn dial(&self) -> impl Future<Output = io::Result<TcpStream>> + Send;

    /// Whether its process still runs, as far as can be told; asked when a dial
    /// was refused. A daemon that cannot tell counts as yes. The caller sets the
    /// deadline.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn runs(&self) -> impl Future<Output = bool> + Send;

    /// The fate of the container, asked when its connection ended, so that a stream that was cut is
    /// not taken for one that ended. Answers within a bounded time. Where the process is on this
    /// machine, a daemon that cannot tell changes nothing: the process runs, or has ended somehow.
    /// Elsewhere the process may have gone with its daemon, and counts as `Died`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn fate(&self) -> impl Future<Output = Fate> + Send;

    /// The part of what was sent over `connection`, opened by [`Backend::dial`], that the
    /// container's kernel has not acknowledged; `None` where that is not known.
    ///
    /// # Errors
    /// The kernel cannot be asked about sockets.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn unacknowledged(
        &self,
        connection: &TcpStream,
    ) -> impl Future<Output = io::Result<Option<Unacknowledged>>> + Send {
        std::future::ready(unacknowledged(connection))
    }

    /// The container's last log lines, oldest first, fit to be shown; asked when its connection
    /// ended badly. Answers within a bounded time. None where nobody can tell.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn last_lines(&self) -> impl Future<Output = Vec<String>> + Send {
        std::future::ready(Vec::new())
    }

    /// The setting to look at, for people, when the container ended after these lines, or the
    /// kernel killed a process of it for memory. `None` where nothing is known.
    fn hint(&self, lines: &[String], out_of_memory: bool) -> Option<String> {
        _ = (lines, out_of_memory);
        None
    }
}

/// The fate of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The container runs.
    Running,
    /// Its process ended by itself with code 0.
    Finished,
    /// The process was killed, or ended with another code.
    Died {
        /// The cause, for the log.
        reason: String,
        /// The exit code of its process, where that is known.
        exit_code: Option<i64>,
        /// The kernel has killed it for memory.
        out_of_memory: bool,
    },
}

/// Whether a call failed for lack of descriptors, memory or local ports: this
/// machine's trouble, and no container's.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL)
    )
}
