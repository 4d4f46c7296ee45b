//! The instance: a name, a boot, and the lock that keeps a second process out.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use thiserror::Error;

/// Where random text comes from, without a random number generator of our own.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

/// The right to run as an instance. Released when dropped, whatever happens to
/// the process.
///
/// It is the abstract unix socket `ganger/instance/NAME`: one for all users and
/// environments of a network namespace, and nothing is left in a file system.
#[derive(Debug)]
pub struct Instance {
    name: String,
    boot: String,
    _lock: UnixListener,
}

/// Why a process may not run as an instance.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// Another process runs as it.
    #[error(
        "instance {name} is running already{}: stop it, or give this configuration an `instance` name of its own",
        holder.map(|pid| format!(" as process {pid}")).unwrap_or_default()
    )]
    Taken {
        /// The name.
        name: String,
        /// Its process id, if it can be read.
        holder: Option<i32>,
    },
    /// The lock cannot be had.
    #[error("cannot lock instance {name}: {source}")]
    Lock {
        /// The name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// No random number can be had.
    #[error("cannot read {RANDOM}: {0}")]
    Random(io::Error),
}

// === impl Instance ===

impl Instance {
    /// Takes the right to run as `name`.
    ///
    /// # Errors
    /// Another process in this network namespace has it, or the lock cannot be had.
    pub fn take(name: &str) -> Result<Self, InstanceError> {
        let failed = |source| InstanceError::Lock { name: name.to_owned(), source };
        let socket = format!("ganger/instance/{name}");
        let address = SocketAddr::from_abstract_name(&socket).map_err(failed)?;
        let lock = match UnixListener::bind_addr(&address) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = holder(&socket);
                return Err(InstanceError::Taken { name: name.to_owned(), holder });
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { name: name.to_owned(), boot: boot()?, _lock: lock })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This run of it: 8 hexadecimal digits.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }
}

fn boot() -> Result<String, InstanceError> {
    let uuid = fs::read_to_string(RANDOM).map_err(InstanceError::Random)?;
    Ok(uuid.chars().take(8).collect())
}

/// The process that listens at an address, as the kernel knows it. Nobody
/// accepts there: once as many have asked as it has room for, the kernel would
/// let the next one wait for ever.
fn holder(name: &str) -> Option<i32> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?;
    connect(&socket, &address).ok()?;
    let peer = socket_peercred(&socket).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_kept_out_until_the_first_ends() {
        let name = format!("test-{}", boot().unwrap());
        let first = Instance::take(&name).unwrap();
        let error = Instance::take(&name).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        let boot = first.boot().to_owned();
        // However often it is asked for: more than the kernel has room for.
        let mut holders: Vec<_> =
            (0..5000).map(|_| holder(&format!("ganger/instance/{name}"))).collect();
        holders.dedup();
        assert!(holders.contains(&None), "{holders:?}");
        assert!(Instance::take(&name).is_err());
        drop(first);
        assert_ne!(Instance::take(&name).unwrap().boot(), boot);
    }
}
