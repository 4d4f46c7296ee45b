//! How many connections the process has file descriptors for.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

use super::relay::pipe;

/// Descriptors for all that is not a connection, a container or a daemon:
/// listeners, logs, the runtime's own; and the pipes of bulk flows.
const RESERVE: u64 = 128 + 2 * pipe::MOST as u64;
/// A daemon's event stream and calls: launches, removals, looks at containers.
const PER_DAEMON: u64 = 64;
/// A client's socket and a container's.
const PER_CONNECTION: u64 = 2;
/// A namespace and the socket that asks about it; a process, its state and the counter of its
/// memory; four sockets for dials, and a connection made ahead.
const PER_CONTAINER: u64 = 10;
/// The number that "unlimited" counts as.
const UNLIMITED: u64 = 1 << 20;

/// The limit on open files leaves no room for connections.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the limit on open files is {limit}, and {containers} containers on {daemons} daemons need at \
     least {needed}; raise it (`ulimit -n`, or LimitNOFILE= in a systemd unit) or lower the services' max"
)]
pub struct TooFewFiles {
    /// The limit.
    pub limit: u64,
    /// The most containers at a time.
    pub containers: u64,
    /// The daemons.
    pub daemons: u64,
    /// Descriptors for these and one connection.
    pub needed: u64,
}

/// Raises the soft limit on open files to the hard one. Answers with the limit
/// in force.
///
/// # Errors
/// As for setrlimit(2); the old limit is in force then.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(UNLIMITED))
}

/// The most connections at a time under a limit on open files, beside the most
/// containers at a time and the daemons.
///
/// # Errors
/// Not even one connection fits.
pub fn connection_cap(limit: u64, containers: u64, daemons: u64) -> Result<usize, TooFewFiles> {
    let reserve = RESERVE
        .saturating_add(containers.saturating_mul(PER_CONTAINER))
        .saturating_add(daemons.saturating_mul(PER_DAEMON));
    match limit.saturating_sub(reserve) / PER_CONNECTION {
        0 => {
            let needed = reserve.saturating_add(PER_CONNECTION);
            Err(TooFewFiles { limit, containers, daemons, needed })
        }
        cap => Ok(usize::try_from(cap).unwrap_or(usize::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_containers_daemons_and_the_reserve_leave() {
        assert_eq!(connection_cap(1024, 16, 2), Ok((1024 - 256 - 160 - 128) / 2));
        assert_eq!(connection_cap(1 << 20, 1000, 1), Ok(((1 << 20) - 256 - 10_000 - 64) / 2));
        assert_eq!(connection_cap(256 + 2, 0, 0), Ok(1));
        assert_eq!(connection_cap(256 + 3, 0, 0), Ok(1));
    }

    #[test]
    fn too_few_is_an_error_that_says_how_many_are_needed() {
        let error = connection_cap(256 + 64 + 10 * 10 + 1, 10, 1).unwrap_err();
        assert_eq!(error, TooFewFiles { limit: 421, containers: 10, daemons: 1, needed: 422 });
        assert_eq!(connection_cap(error.needed, 10, 1), Ok(1));
        assert!(connection_cap(u64::MAX, u64::MAX, u64::MAX).is_err());
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_open_files().unwrap();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit, now.maximum.unwrap_or(UNLIMITED));
    }
}
