//! Processes as file descriptors: the system calls that there is no safe wrapper for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::libc::{self, c_long};

/// A process, readable once it has ended (`pidfd_open(2)`, Linux 5.3).
///
/// # Errors
/// `ENOSYS` of older kernels, `EPERM` where such calls are filtered.
pub(super) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, c_long::from(pid), 0) };
    owned(result)
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made it, for nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
