//! The instance: a name, a boot, and the lock that keeps a second process out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use thiserror::Error;

/// Where random text comes from, without a random number generator of our own.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

/// The right to run as an instance. Released when dropped, whatever happens to
/// the process.
#[derive(Debug)]
pub struct Instance {
    name: String,
    boot: String,
    _lock: File,
}

/// Why a process may not run as an instance.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// Another process runs as it.
    #[error(
        "instance {name} is running already{}: stop it, or give this configuration an `instance` name of its own",
        holder.as_deref().map(|pid| format!(" as process {pid}")).unwrap_or_default()
    )]
    Taken {
        /// The name.
        name: String,
        /// Its process id, if it can be read.
        holder: Option<String>,
    },
    /// The lock cannot be had.
    #[error("cannot lock instance {name} by {}: {source}", path.display())]
    Lock {
        /// The name.
        name: String,
        /// The lock file.
        path: PathBuf,
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
    /// Another process on this machine has it, or the lock cannot be had.
    pub fn take(name: &str) -> Result<Self, InstanceError> {
        let path = lock_path(name);
        let failed =
            |source| InstanceError::Lock { name: name.to_owned(), path: path.clone(), source };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder).is_ok();
                let holder = Some(holder.trim().to_owned()).filter(|pid| read && !pid.is_empty());
                return Err(InstanceError::Taken { name: name.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For people only: the lock is the file's, not its content's.
        let pid = std::process::id().to_string();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(failed)?;
        Ok(Self { name: name.to_owned(), boot: boot()?, _lock: file })
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

/// One place per machine for root, and one per user for others.
fn lock_path(name: &str) -> PathBuf {
    let root = rustix::process::geteuid().is_root();
    let dir = match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if root => PathBuf::from("/run/ganger"),
        Some(dir) => PathBuf::from(dir).join("ganger"),
        None => {
            std::env::temp_dir().join(format!("ganger-{}", rustix::process::geteuid().as_raw()))
        }
    };
    dir.join(format!("{name}.lock"))
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
        drop(first);
        assert_ne!(Instance::take(&name).unwrap().boot(), boot);
        fs::remove_file(lock_path(&name)).unwrap();
    }
}
