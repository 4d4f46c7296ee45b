//! Questions to the kernel about sockets, by sock_diag(7): the part that every kind shares.

use std::io;

use rustix::net::AddressFamily;
use socket2::{Domain, Protocol, Socket, Type};

/// `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: i32 = 4;
/// `SOCK_DIAG_BY_FAMILY`, of a question and its answers.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 1;
/// `NLM_F_DUMP`: about all there are.
pub(crate) const DUMP: u16 = 0x300;
/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// A message of the kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// About one socket: a structure of its family, and attributes.
    Socket(&'a [u8]),
    /// The end of a dump.
    Done,
}

/// A socket to ask with, about the network namespace that it is made in. Neither asking nor reading
/// waits: the kernel answers before the write returns.
pub(crate) fn socket() -> io::Result<Socket> {
    let netlink = Domain::from(i32::from(AddressFamily::NETLINK.as_raw()));
    Socket::new(netlink, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::from(SOCK_DIAG)))
}

/// A question: its header, and the structure that its family has for one.
pub(crate) fn question(flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend([BY_FAMILY, flags].iter().flat_map(|word| word.to_ne_bytes()));
    // Sequence number and port of the sender: there is one question at a time.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Takes the next message from what was read; `None` at its end.
///
/// # Errors
/// The error that the kernel answers instead, or an answer that cannot be understood.
pub(crate) fn next<'a>(answer: &mut &'a [u8]) -> io::Result<Option<Message<'a>>> {
    if answer.is_empty() {
        return Ok(None);
    }
    let whole = *answer;
    let parts = u32_at(whole, 0).zip(u16_at(whole, 4)).and_then(|(length, kind)| {
        let length = usize::try_from(length).ok()?;
        Some((length, kind, whole.get(HEADER..length)?))
    });
    let Some((length, kind, body)) = parts else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    *answer = whole.get(length.next_multiple_of(4)..).unwrap_or_default();
    match (kind, u32_at(body, 0)) {
        (BY_FAMILY, _) => Ok(Some(Message::Socket(body))),
        (DONE, _) => Ok(Some(Message::Done)),
        (ERROR, Some(code)) => Err(io::Error::from_raw_os_error(code.cast_signed().wrapping_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The value of the `struct rtattr` of this type.
pub(crate) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        if u16_at(attributes, 2)? == wanted {
            return attributes.get(4..length);
        }
        // Each is aligned to four bytes; an attribute of no length would never end.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// The number at this offset, in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = question(0, body);
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes
    }

    #[test]
    fn messages_are_taken_one_after_the_other() {
        // Of five bytes, with its padding; and the last.
        let both =
            [&message(BY_FAMILY, &[1, 2, 3, 4, 5])[..], &[0; 3], &message(DONE, &[])].concat();
        let mut rest = &both[..];
        assert_eq!(next(&mut rest).unwrap(), Some(Message::Socket(&[1, 2, 3, 4, 5])));
        assert_eq!(next(&mut rest).unwrap(), Some(Message::Done));
        assert_eq!(next(&mut rest).unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        let refused = message(ERROR, &(-Errno::PERM.raw_os_error()).to_ne_bytes());
        assert_eq!(next(&mut &refused[..]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let (mut none, mut long) = (message(BY_FAMILY, &[]), message(BY_FAMILY, &[0; 4]));
        none[0] = 3;
        long[0] = 200;
        for nonsense in [&none[..], &long, &[0; 3], &message(99, &[0; 4]), &message(ERROR, &[])] {
            let error = next(&mut &nonsense[..]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{nonsense:?}");
        }
    }

    #[test]
    fn attributes_are_found_behind_others_and_nonsense_ends() {
        // An attribute of one byte and its padding, and one of two.
        let both = [5, 0, 1, 0, 7, 0, 0, 0, 6, 0, 2, 0, 8, 9];
        assert_eq!(attribute(&both, 1), Some(&[7][..]));
        assert_eq!(attribute(&both, 2), Some(&[8, 9][..]));
        assert_eq!(attribute(&both, 3), None);
        assert_eq!(attribute(&[0; 64], 3), None);
        assert_eq!(attribute(&[3, 0, 2, 0], 2), None);
        assert_eq!(attribute(&[200, 0, 2, 0, 1], 2), None);
    }
}
