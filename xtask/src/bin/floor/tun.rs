//! Creation of a tap device by ioctl, for which there is no safe wrapper.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::libc;

use crate::Outcome;

nix::ioctl_write_ptr_bad!(
    tun_set_iff,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);
nix::ioctl_write_int!(tun_set_persist, b'T', 203);

/// Creates the persistent tap device `name`.
pub(crate) fn create(name: &str) -> Outcome {
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq consists of integers and bytes, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = libc::IFNAMSIZ - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the pointer is valid for one ifreq until the call returns.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw mut request) }?;
    // SAFETY: the argument is a number, not a pointer.
    unsafe { tun_set_persist(tun.as_raw_fd(), 1) }?;
    Ok(())
}
