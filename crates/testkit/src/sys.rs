//! The system calls that have no safe wrapper.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::ptrace;

/// Has the thread that will start the command trace it: the program stops before its first instruction.
pub(crate) fn trace_by_parent(command: &mut Command) {
    // SAFETY: between fork and exec only `ptrace` is called, a plain system call: nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
}
