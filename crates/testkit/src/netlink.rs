//! Netlink dumps, independent of the code under test and without processes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// The length of `nlmsghdr` (`linux/netlink.h`).
const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;

/// Returns the messages of a dump, without their netlink headers.
///
/// # Errors
///
/// The error of the kernel.
pub(crate) fn dump(protocol: SockProtocol, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    loop {
        let socket = request(protocol, kind, NLM_F_REQUEST | NLM_F_DUMP, body)?;
        // The table changed during the dump, which may be incomplete.
        if let Some(messages) = replies(&socket)? {
            return Ok(messages);
        }
    }
}

/// Sends a modifying request and waits for its acknowledgement.
///
/// # Errors
///
/// The error of the kernel.
pub(crate) fn change(kind: u16, body: &[u8]) -> io::Result<()> {
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    let socket = request(SockProtocol::NetlinkRoute, kind, flags, body)?;
    replies(&socket).map(drop)
}

fn request(protocol: SockProtocol, kind: u16, flags: u16, body: &[u8]) -> io::Result<OwnedFd> {
    let (family, flag) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let socket = socket(family, SockType::Raw, flag, protocol)?;
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence number and port are 0: there is one request per socket, and the kernel assigns the port.
    message.extend([0; 8]);
    message.extend(body);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    Ok(socket)
}

/// Returns all replies; `None` if the dump was interrupted.
fn replies(socket: &OwnedFd) -> io::Result<Option<Vec<Vec<u8>>>> {
    let mut messages = Vec::new();
    let mut is_complete = true;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let length = u32_at(rest, 0) as usize;
            let Some(message) = rest.get(HEADER..length) else {
                return Err(io::Error::other("a netlink message is cut short"));
            };
            is_complete &= u16_at(rest, 6) & NLM_F_DUMP_INTR == 0;
            match u16_at(rest, 4) {
                NLMSG_ERROR => {
                    return match u32_at(message, 0).cast_signed() {
                        0 => Ok(Some(messages)),
                        errno => Err(io::Error::from_raw_os_error(-errno)),
                    };
                }
                NLMSG_DONE => return Ok(is_complete.then_some(messages)),
                _ => messages.push(message.to_vec()),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Parses the attributes in `bytes` into type, without its flags, and content.
pub(crate) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while bytes.len() >= 4 {
        let (length, kind) = (usize::from(u16_at(bytes, 0)), u16_at(bytes, 2));
        let Some(content) = bytes.get(4..length) else {
            break;
        };
        // NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        all.push((kind & 0x3fff, content));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
