//! How a container is reached: the data path's view of one.

pub mod capability;
mod listening;
pub mod netns;
pub mod process;

use std::fmt;
use std::future::Future;
use std::io;

use tokio::net::TcpStream;

/// A running container, as the data path sees it.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The engine's id of the container, 64 hexadecimal digits.
    fn id(&self) -> &str;

    /// Opens a connection to the service in the container.
    ///
    /// # Errors
    /// As for connect(2). The caller sets the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    fn dial(&self) -> impl Future<Output = io::Result<TcpStream>> + Send;

    /// What has become of the container, asked when its connection ended, so
    /// that a stream that was cut is not taken for one that ended. Answers
    /// within a bounded time; a daemon that cannot tell counts as `Running`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn fate(&self) -> impl Future<Output = Fate> + Send;
}

/// What has become of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Running,
    /// Its process ended by itself with code 0.
    Finished,
    /// It was killed, or ended with another code.
    Died {
        /// What happened, for the log.
        reason: String,
    },
}
