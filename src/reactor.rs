//! Descriptors of kinds that the runtime has no type for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor, which does not block, with the reactor of this runtime, for reading.
///
/// # Errors
/// As for `epoll_ctl(2)`.
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    registered(fd, Interest::READABLE)
}

/// The same for reading and writing.
///
/// # Errors
/// As for [`readable`].
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn both_ways(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    registered(fd, Interest::READABLE | Interest::WRITABLE)
}

fn registered(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "unsound only for types that change their descriptor, which OwnedFd does not; \
                  its successor needs unsafe code"
    )]
    AsyncFd::with_interest(fd, interest)
}
