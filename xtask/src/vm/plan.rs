//! The plan that the virtual machine is given.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The cases to run inside, and the files for them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Only cases with one of these in their name, if there are any.
    pub(super) filters: Vec<String>,
    /// The program as it is released.
    pub(super) ganger: PathBuf,
    /// The same, linked statically, when an image of it is to be made.
    pub(super) static_ganger: Option<PathBuf>,
    /// The Debian package, when it is to be installed.
    pub(super) package: Option<PathBuf>,
    /// Its systemd unit.
    pub(super) unit: PathBuf,
    /// The unit of a listening socket.
    pub(super) socket: PathBuf,
    /// The executable of the tests on real engines, when any is to run.
    pub(super) tests: Option<PathBuf>,
}
