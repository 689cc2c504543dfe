//! A `ptrace` for `linux.uml` on processors with a large register file.
//!
//! User Mode Linux (`arch/x86/os-Linux/registers.c`, Linux 6.1) saves the registers of a process in 2,696 bytes, enough for
//! AVX-512 and PKRU. With AMX they take 11,008. `PTRACE_GETREGSET` truncates them, but `PTRACE_SETREGSET` refuses fewer
//! bytes than all (`xstateregs_set`), and the kernel panics with "Segfault with no mm" before its first process runs. This
//! function fills in the remaining bytes.
//!
//! `cargo xtask` compiles this file to a shared library and loads it by `LD_PRELOAD`. It runs on the stacks of User Mode
//! Linux, which are small, hence the static buffer. User Mode Linux has one thread that calls it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_void};

const SYS_PTRACE: c_long = 101;
const PTRACE_PEEKTEXT: c_long = 1;
const PTRACE_PEEKUSER: c_long = 3;
const PTRACE_GETREGSET: c_long = 0x4204;
const PTRACE_SETREGSET: c_long = 0x4205;
const NT_X86_XSTATE: usize = 0x202;

/// `struct iovec` (`<sys/uio.h>`).
#[repr(C)]
struct IoVec {
    base: *mut u8,
    len: usize,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
}

static mut REGISTERS: [u64; 4096] = [0; 4096];

/// `ptrace(2)`, with register sets of any length.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(
    request: c_long,
    pid: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    let pid = c_long::from(pid);
    // SAFETY: the arguments are the caller's. The system call stores a word that was read where `data` points to; the C
    // library returns it.
    if (PTRACE_PEEKTEXT..=PTRACE_PEEKUSER).contains(&request) {
        let mut word: c_long = 0;
        let result = unsafe { syscall(SYS_PTRACE, request, pid, address, &raw mut word) };
        if result < 0 {
            return result;
        }
        unsafe { *__errno_location() = 0 };
        return word;
    }
    let is_register_set = matches!(request, PTRACE_GETREGSET | PTRACE_SETREGSET);
    if !is_register_set || address as usize != NT_X86_XSTATE {
        // SAFETY: the arguments are the caller's.
        return unsafe { syscall(SYS_PTRACE, request, pid, address, data) };
    }
    // SAFETY: for these requests `data` points to an iovec, see ptrace(2). Nothing else uses the static buffer, and no more
    // bytes are copied than either buffer has.
    unsafe {
        let part = &mut *data.cast::<IoVec>();
        let registers = (&raw mut REGISTERS).cast::<u8>();
        let mut all = IoVec {
            base: registers,
            len: size_of::<[u64; 4096]>(),
        };
        let result = syscall(SYS_PTRACE, PTRACE_GETREGSET, pid, address, &raw mut all);
        if result < 0 {
            return result;
        }
        let len = part.len.min(all.len);
        if request == PTRACE_GETREGSET {
            registers.copy_to_nonoverlapping(part.base, len);
            part.len = len;
            return result;
        }
        registers.copy_from_nonoverlapping(part.base, len);
        syscall(SYS_PTRACE, PTRACE_SETREGSET, pid, address, &raw mut all)
    }
}
