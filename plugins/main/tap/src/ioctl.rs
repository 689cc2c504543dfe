//! System calls without a safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc::{self, c_int, c_short};
use std::fs::File;
use std::os::fd::AsRawFd;

/// The type and numbers of linux/if_tun.h.
const TUN: u8 = b'T';

nix::ioctl_write_ptr_bad!(
    tun_set_iff,
    nix::request_code_write!(TUN, 202, size_of::<c_int>()),
    libc::ifreq
);
nix::ioctl_write_int!(tun_set_persist, TUN, 203);
nix::ioctl_write_int!(tun_set_owner, TUN, 204);
nix::ioctl_write_int!(tun_set_group, TUN, 206);

/// `TUNSETIFF`: creates the link `name` for `tun`, an open `/dev/net/tun`. It is deleted
/// when `tun` is closed. `flags` are `IFF_*` of linux/if_tun.h.
///
/// `EINVAL` also when the kernel took the name for a pattern (`tap%d`) and chose another.
pub(crate) fn set_iff(tun: &File, name: &str, flags: c_int) -> Result<(), Errno> {
    // The name ends with a NUL.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(Errno::EINVAL);
    }
    // SAFETY: an ifreq of zeros is a valid one, it is plain integers and bytes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    let asked = request.ifr_name;
    // The flags are 16 bits, whatever their sign.
    request.ifr_ifru.ifru_flags = flags as c_short;
    // SAFETY: the kernel reads and writes one ifreq at this address, which lives
    // until the call returns, and whose name ends with a NUL.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw mut request) }?;
    match request.ifr_name == asked {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

/// `TUNSETOWNER`: sets the user that may open the link.
pub(crate) fn set_owner(tun: &File, uid: u32) -> Result<(), Errno> {
    // SAFETY: the argument is a number.
    unsafe { tun_set_owner(tun.as_raw_fd(), uid.into()) }.map(drop)
}

/// `TUNSETGROUP`: sets the group that may open the link.
pub(crate) fn set_group(tun: &File, gid: u32) -> Result<(), Errno> {
    // SAFETY: the argument is a number.
    unsafe { tun_set_group(tun.as_raw_fd(), gid.into()) }.map(drop)
}

/// `TUNSETPERSIST`: keeps the link when `tun` is closed.
pub(crate) fn set_persistent(tun: &File) -> Result<(), Errno> {
    // SAFETY: the argument is a number.
    unsafe { tun_set_persist(tun.as_raw_fd(), 1) }.map(drop)
}

/// Sets the close-on-exec flag of every inherited descriptor but the standard ones. The
/// process's own are opened with it.
pub(crate) fn close_inherited_on_exec() {
    for fd in 3..=255 {
        // SAFETY: sets a flag of the process's own table; the descriptor stays open
        // and no borrow of it is affected. Most of them do not exist, which
        // the call answers with EBADF.
        let _ = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
