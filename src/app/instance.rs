//! The instance: a name, a boot, and the lock that keeps a second process out.

mod lock;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use thiserror::Error;

pub use lock::Holder;
use lock::lock;
pub(super) use lock::{Lock, connect};

/// Where random text comes from, without a random number generator of our own.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

/// The right to run as an instance. Released when dropped, whatever happens to
/// the process.
///
/// See `docs/decisions/0038` for what it is.
#[derive(Debug)]
pub struct Instance {
    name: String,
    boot: String,
    lock: Option<Arc<Lock>>,
}

/// Why a process may not run as an instance.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// Another process runs as it.
    #[error(
        "instance {name} is running already{}: stop it, or give this configuration an `instance` name of its own",
        holder.as_ref().map(|holder| format!(" as {holder}")).unwrap_or_default()
    )]
    Taken {
        /// The name.
        name: String,
        /// The process, if it can be told.
        holder: Option<Holder>,
    },
    /// A process of another user has its name, and may run as it.
    #[error(
        "instance {name} may be running as {holder}, and what it has would be removed: stop it, or \
         whatever else holds the name"
    )]
    Doubtful {
        /// The name.
        name: String,
        /// The process.
        holder: Holder,
    },
    /// The lock cannot be taken.
    #[error("cannot lock instance {name}: {source}")]
    Lock {
        /// The name.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// No random number can be had.
    #[error("cannot read {RANDOM}: {0}")]
    Random(io::Error),
}

// === impl Instance ===

impl Instance {
    /// Takes the right to run as `name`. A process of another user, who is not root, cannot keep
    /// this one out: the log names it.
    ///
    /// # Errors
    /// Another process in this network namespace has it, or the lock cannot be had.
    pub fn take(name: &str) -> Result<Self, InstanceError> {
        match Self::take_surely(name) {
            Err(InstanceError::Doubtful { name, holder }) => {
                tracing::warn!(
                    instance = name,
                    holder = holder.to_string(),
                    "a process of another user holds our instance name: where it is no Ganger, end \
                     it; another process of ours would not be kept out"
                );
                Ok(Self { name, boot: Self::new_boot()?, lock: None })
            }
            taken => taken,
        }
    }

    /// The same, but a process of another user keeps this one out as well.
    ///
    /// # Errors
    /// As for [`Instance::take`], or another user's process may run as it.
    pub fn take_surely(name: &str) -> Result<Self, InstanceError> {
        let failed = |source| InstanceError::Lock { name: name.to_owned(), source };
        match lock(name).map_err(failed)? {
            Ok(lock) => {
                let (name, boot) = (name.to_owned(), Self::new_boot()?);
                Ok(Self { name, boot, lock: Some(Arc::new(lock)) })
            }
            Err(Some(holder)) if holder.is_foreign() => {
                Err(InstanceError::Doubtful { name: name.to_owned(), holder })
            }
            Err(holder) => Err(InstanceError::Taken { name: name.to_owned(), holder }),
        }
    }

    /// The right that another process has passed on, by its lock. Both have it until the other
    /// ends.
    pub(super) fn succeeding(name: &str, boot: String, lock: OwnedFd) -> Self {
        let lock = Some(Arc::new(Lock::from(lock)));
        Self { name: name.to_owned(), boot, lock }
    }

    /// The lock, unless a process of another user holds its name.
    pub(super) fn lock(&self) -> Option<&Arc<Lock>> {
        self.lock.as_ref()
    }

    /// The name of a run that begins.
    pub(super) fn new_boot() -> Result<String, InstanceError> {
        let uuid = fs::read_to_string(RANDOM).map_err(InstanceError::Random)?;
        Ok(uuid.chars().take(8).collect())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of this run: 8 hexadecimal digits.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }
}

#[cfg(test)]
mod tests;
