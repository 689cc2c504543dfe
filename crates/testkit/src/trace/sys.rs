//! The calls of ptrace(2) that have no safe wrapper.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc::c_long;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// Has the program stop before its first instruction, traced by the thread that starts it.
pub(super) fn trace_by_parent(command: &mut Command) {
    // SAFETY: between fork and exec only `ptrace` is called, a plain system call: nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
}

/// A system call: its number and arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemCall {
    pub(super) number: c_long,
    pub(super) arguments: [u64; 6],
}

/// Returns the system call at whose entry a process has stopped.
///
/// By registers, since User Mode Linux has no `PTRACE_GET_SYSCALL_INFO`.
#[cfg(target_arch = "x86_64")]
pub(super) fn entry(pid: Pid) -> nix::Result<SystemCall> {
    let registers = ptrace::getregs(pid)?;
    Ok(SystemCall {
        number: registers.orig_rax.cast_signed(),
        arguments: [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ],
    })
}

/// Returns the result of the system call at whose exit a process has stopped.
#[cfg(target_arch = "x86_64")]
pub(super) fn result(pid: Pid) -> nix::Result<i64> {
    Ok(ptrace::getregs(pid)?.rax.cast_signed())
}

/// Returns the system call at whose entry a process has stopped.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn entry(pid: Pid) -> nix::Result<SystemCall> {
    let info = ptrace::syscall_info(pid)?;
    // SAFETY: at the entry of a system call the kernel fills in this member of the union.
    let entry = unsafe { info.u.entry };
    Ok(SystemCall {
        number: c_long::try_from(entry.nr).unwrap_or(-1),
        arguments: entry.args,
    })
}

/// Returns the result of the system call at whose exit a process has stopped.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn result(pid: Pid) -> nix::Result<i64> {
    let info = ptrace::syscall_info(pid)?;
    // SAFETY: at the exit of a system call the kernel fills in this member of the union.
    Ok(unsafe { info.u.exit.sval })
}
