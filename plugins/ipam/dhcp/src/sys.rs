//! The system calls that have no safe wrapper.
#![allow(unsafe_code)]

use crate::client::Mac;
use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// One instruction of a packet filter (`struct sock_filter`): code, jt, jf, k.
pub(crate) type Instruction = (u16, u8, u8, u32);

/// Attaches a packet filter to a socket.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn attach_filter(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
        .collect();
    let length = u16::try_from(filters.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog {
        len: length,
        filter: filters.as_mut_ptr(),
    };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Sets a socket option whose value is the plain structure `value`.
fn set_option<T>(socket: &impl AsFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes at the pointer, which is to a `T`, and
    // for a filter the instructions it points to, which the caller keeps.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const *value).cast::<c_void>(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    done(result).map(drop)
}

/// Returns the cookie of the network namespace of a socket, which no other namespace has
/// had or will have until the next boot; `None` before Linux 5.14.
pub(crate) fn netns_cookie(socket: impl AsFd) -> Option<u64> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, and their number.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast::<c_void>(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}

/// An address of a packet socket: the link `index`, a protocol of linux/if_ether.h, and for
/// sending a hardware address.
fn link_address(index: u32, protocol: u16, mac: Option<Mac>) -> libc::sockaddr_ll {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index.cast_signed();
    if let Some(mac) = mac {
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&mac);
    }
    address
}

/// Binds a packet socket to a link and a protocol.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn bind_packet(socket: impl AsFd, index: u32, protocol: u16) -> io::Result<()> {
    let address = link_address(index, protocol, None);
    // SAFETY: the pointer is to an address of the length given, which is only read.
    let result = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    done(result).map(drop)
}

/// Sends a packet to the station `mac` by a packet socket.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn send_packet(
    socket: impl AsFd,
    packet: &[u8],
    index: u32,
    protocol: u16,
    mac: Mac,
) -> io::Result<()> {
    let address = link_address(index, protocol, Some(mac));
    // SAFETY: both pointers are to memory of the lengths given, which is only read.
    let result = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Receives a packet: returns its length and the sender's hardware address.
///
/// # Errors
/// Those of the kernel; `WouldBlock` if there is none.
pub(crate) fn receive_packet(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<Mac>)> {
    let mut address = link_address(0, 0, None);
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel writes at most the lengths given to the buffer and the address.
    let result = unsafe {
        libc::recvfrom(
            socket.as_fd().as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    let received = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    let [a, b, c, d, e, f, ..] = address.sll_addr;
    let mac = (address.sll_halen == 6).then_some([a, b, c, d, e, f]);
    Ok((received, mac))
}

/// Takes over a descriptor that the service manager has opened for this process.
///
/// # Errors
/// When it is not open.
pub(crate) fn take_descriptor(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory.
    let flags = done(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: as before; children must not inherit the descriptor.
    done(unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and by the protocol of the service manager it is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn done(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
