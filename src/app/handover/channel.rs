//! A connection between two processes that passes on descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::app::instance;

/// The most descriptors of one message. The kernel takes 253.
pub(super) const DESCRIPTORS: usize = 64;
/// The longest message, in bytes.
const LONGEST: usize = 1 << 20;

/// An end of the connection.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
}

// === impl Channel ===

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Connects to the holder of an instance's lock; `None` when nobody has it.
    pub(super) fn to_holder(name: &str) -> io::Result<Option<Self>> {
        match instance::connect(name) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream).map(Self::new).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The user at the other end, if it is neither root nor our own.
    pub(super) fn foreigner(&self) -> io::Result<Option<u32>> {
        let uid = self.stream.peer_cred()?.uid();
        Ok(Some(uid).filter(|uid| *uid != 0 && *uid != geteuid().as_raw()))
    }

    /// The process at the other end.
    pub(super) fn pid(&self) -> Option<u32> {
        self.stream.peer_cred().ok()?.pid()?.try_into().ok()
    }

    /// Sends a message, and descriptors with it.
    pub(super) async fn say(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let (mut rest, mut descriptors) = (&line[..], descriptors);
        while !rest.is_empty() {
            let send = || send(&self.stream, rest, descriptors);
            let sent = self.stream.async_io(Interest::WRITABLE, send).await?;
            // The descriptors arrive with the first byte.
            (rest, descriptors) = (&rest[sent..], &[]);
        }
        Ok(())
    }

    /// Waits for a message, and what is passed on with it; `None` at the end.
    ///
    /// # Cancel safety
    /// The received part of a message is lost: the channel is of no use then.
    pub(super) async fn hear<T: DeserializeOwned>(
        &mut self,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let (mut line, mut passed) = (Vec::new(), Vec::new());
        while !line.ends_with(b"\n") {
            let receive = || receive(&self.stream, &mut line, &mut passed);
            if self.stream.async_io(Interest::READABLE, receive).await? == 0 {
                return if line.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            if line.len() > LONGEST {
                return Err(io::Error::other("a message is too long"));
            }
        }
        Ok(Some((serde_json::from_slice(&line)?, passed)))
    }

    /// The connection once all is said: it ends with the other process.
    pub(super) fn into_life(self) -> io::Result<OwnedFd> {
        self.stream.into_std().map(OwnedFd::from)
    }
}

fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let rights = SendAncillaryMessage::ScmRights(descriptors);
    if !descriptors.is_empty() && !ancillary.push(rights) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, flags)?)
}

fn receive(
    stream: &UnixStream,
    line: &mut Vec<u8>,
    passed: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16 << 10];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    // No child inherits the descriptors.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream.as_fd(), &mut slices, &mut ancillary, flags)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE.into());
    }
    line.extend(&bytes[..received.bytes]);
    Ok(received.bytes)
}
