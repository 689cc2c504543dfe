//! Processes as file descriptors: the system calls that there is no safe wrapper for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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

/// A reference of our own to what a process has open as `fd` (`pidfd_getfd(2)`, Linux 5.6).
///
/// # Errors
/// `EBADF` if it has no such, `EPERM` if it may not be looked into, `ENOSYS` of older kernels.
pub(super) fn take(process: BorrowedFd<'_>, fd: RawFd) -> io::Result<OwnedFd> {
    let process = process.as_raw_fd();
    // SAFETY: takes three integers and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, fd, 0) };
    owned(result)
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made it, for nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
