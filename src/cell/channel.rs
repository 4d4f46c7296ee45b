//! Messages between the process that wants cells and the keeper of them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
    recvmsg, sendmsg, shutdown, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

use crate::reactor;

/// The most bytes of a message. A specification of an engine has some 30,000.
const LARGEST: usize = 1 << 20;
/// The most descriptors that go with a message.
const DESCRIPTORS: usize = 2;

/// One end of a socket that keeps messages apart.
#[derive(Debug)]
pub(super) struct CellChannel {
    socket: AsyncFd<OwnedFd>,
}

// === impl CellChannel ===

impl CellChannel {
    /// Both ends, neither of which blocks.
    ///
    /// # Errors
    /// As for `socketpair(2)`.
    pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
    }

    /// Uses an end.
    ///
    /// # Errors
    /// As for `epoll_ctl(2)`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        // Without the right to it, a large specification is refused.
        _ = set_socket_send_buffer_size_force(&end, 2 * LARGEST);
        Ok(Self { socket: reactor::both_ways(end)? })
    }

    /// Ends it for both sides, whoever holds it.
    pub(super) fn close(&self) {
        // It is closed already, or else.
        _ = shutdown(self.socket.get_ref(), Shutdown::Both);
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// Nobody holds the other end, or the message is too large.
    ///
    /// # Cancel safety
    /// Dropping the future sends all of the message or nothing.
    pub(super) async fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        loop {
            let mut ready = self.socket.writable().await?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let flags = SendFlags::NOSIGNAL;
            match sendmsg(self.socket.get_ref(), &[IoSlice::new(&text)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message with its descriptors; `None` when nobody holds the other end.
    ///
    /// # Errors
    /// The message cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub(super) async fn receive<M: DeserializeOwned>(
        &self,
    ) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut descriptors = Vec::new();
            match receive(self.socket.get_ref().as_fd(), &mut descriptors) {
                Ok(text) if text.is_empty() => return Ok(None),
                Ok(text) => return Ok(Some((serde_json::from_slice(&text)?, descriptors))),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                // The other process has ended with messages of ours unread.
                Err(Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn receive(socket: BorrowedFd<'_>, descriptors: &mut Vec<OwnedFd>) -> Result<Vec<u8>, Errno> {
    // How long it is, without a buffer of the longest.
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    let (_, length) = rustix::net::recv(socket, &mut [0; 1][..], flags)?;
    let mut text = vec![0; length];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let got = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // Descriptors that this process has no room for are missing, and whoever wants them says so.
    if got.flags.intersects(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    text.truncate(got.bytes);
    Ok(text)
}
