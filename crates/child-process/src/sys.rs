//! The system calls that have no safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel kill the child when the thread that spawns it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec only `prctl` and `getppid` are called, which are
    // plain system calls; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(move || request_death_signal(parent)) };
}

fn request_death_signal(parent: Pid) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    let current = getppid();
    // The parent may have ended before the request. 0: it is in another PID namespace,
    // where it cannot be told.
    if current != parent && current.as_raw() != 0 {
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// Opens a descriptor of a process that becomes readable when the process has exited
/// (`pidfd_open(2)`, Linux 5.3).
///
/// # Errors
/// `ENOSYS` of older kernels, `EPERM` where such calls are filtered.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, c_long::from(pid.cast_signed()), 0) };
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just created it, for nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
